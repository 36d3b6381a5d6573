//! Topics: where a change is published.
//!
//! A topic ends in `/`, so that a subscription to `…/orders/` never matches `orders_archive`.

use crate::error::{Error, Result};

/// The default template.
pub const DEFAULT: &str = "{database}/{stream}/{table}/";

/// A topic template with everything filled in but the table.
#[derive(Debug, Clone)]
pub struct Template {
    /// What stands between the places where the table goes: at least two parts.
    parts: Vec<String>,
}

impl Template {
    /// Reads a template such as [`DEFAULT`].
    pub fn new(template: &str, database: &str, stream: &str) -> Result<Self> {
        let wrong = |what: String| Error::Config { setting: "topic", what };
        if !template.ends_with('/') {
            return Err(wrong(format!(
                "{template:?} must end in \"/\", so that one topic is never the beginning of another's name"
            )));
        }
        let mut parts = vec![String::new()];
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(open);
            parts.last_mut().expect("never empty").push_str(before);
            let close = after.find('}').filter(|_| after.starts_with('{'));
            let Some(close) = close else {
                return Err(wrong(format!("{template:?} has a brace without its partner")));
            };
            match &after[1..close] {
                "database" => parts.last_mut().expect("never empty").push_str(database),
                "stream" => parts.last_mut().expect("never empty").push_str(stream),
                "table" => parts.push(String::new()),
                other => {
                    return Err(wrong(format!(
                        "{template:?} names {{{other}}}; known are {{database}}, {{stream}} and {{table}}"
                    )));
                }
            }
            rest = &after[close + 1..];
        }
        parts.last_mut().expect("never empty").push_str(rest);
        if parts.len() < 2 {
            return Err(wrong(format!(
                "{template:?} must name {{table}}: a topic is the changes of one table"
            )));
        }
        Ok(Self { parts })
    }

    /// The topic of a table's changes.
    pub fn topic(&self, table: &str) -> Box<[u8]> {
        self.parts.join(table).into_bytes().into()
    }
}

/// The topic of ticks. It does not follow the template: who knows database and stream finds it.
pub fn tick(database: &str, stream: &str) -> Box<[u8]> {
    format!("{database}/{stream}/_tick/").into_bytes().into()
}

/// The topic of changes that could not be decoded.
pub fn dead_letters(database: &str, stream: &str) -> Box<[u8]> {
    format!("{database}/{stream}/_dead/").into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(template: &str) -> Result<String> {
        let template = Template::new(template, "shop", "all")?;
        Ok(String::from_utf8(template.topic("sales.orders").into()).unwrap())
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(topic(DEFAULT).unwrap(), "shop/all/sales.orders/");
        assert_eq!(topic("cdc/{table}/").unwrap(), "cdc/sales.orders/");
        assert_eq!(topic("{table}/{table}/").unwrap(), "sales.orders/sales.orders/");
    }

    #[test]
    fn a_wrong_template_is_refused_with_what_to_write() {
        for wrong in ["", "cdc/", "{table}", "{tabel}/", "{table/", "table}/"] {
            assert!(matches!(topic(wrong), Err(Error::Config { setting: "topic", .. })), "{wrong}");
        }
        assert!(topic("{tabel}/").unwrap_err().to_string().contains("{table}"));
    }
}
