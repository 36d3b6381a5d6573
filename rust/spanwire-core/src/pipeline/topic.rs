//! Topics: where a change is published.
//!
//! A topic ends in `/`, so that a subscription to `…/orders/` never matches `orders_archive`.

use std::fmt::Write;

use crate::error::{Error, Result};

/// The default template.
pub const DEFAULT: &str = "{database}/{stream}/{table}/";

/// A topic template with everything filled in but the table and the bucket.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    /// Digits of a bucket: as many as the last one takes.
    width: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Table,
    Bucket,
}

impl Template {
    /// Reads a template such as [`DEFAULT`]; with `{bucket}` in it where there are `buckets`.
    pub fn new(template: &str, database: &str, stream: &str, buckets: Option<u32>) -> Result<Self> {
        let wrong = |what: String| Error::Config { setting: "topic", what };
        if !template.ends_with('/') {
            return Err(wrong(format!(
                "{template:?} must end in \"/\", so that one topic is never the beginning of another's name"
            )));
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(open);
            parts.push(Part::Text(before.into()));
            let close = after.find('}').filter(|_| after.starts_with('{'));
            let Some(close) = close else {
                return Err(wrong(format!("{template:?} has a brace without its partner")));
            };
            parts.push(match &after[1..close] {
                "database" => Part::Text(database.into()),
                "stream" => Part::Text(stream.into()),
                "table" => Part::Table,
                "bucket" => Part::Bucket,
                other => {
                    return Err(wrong(format!(
                        "{template:?} names {{{other}}}; known are {{database}}, {{stream}}, {{table}} and \
                         {{bucket}}"
                    )));
                }
            });
            rest = &after[close + 1..];
        }
        parts.push(Part::Text(rest.into()));
        if !parts.contains(&Part::Table) {
            return Err(wrong(format!(
                "{template:?} must name {{table}}: a topic is the changes of one table"
            )));
        }
        if parts.contains(&Part::Bucket) != buckets.is_some() {
            return Err(wrong(format!(
                "{template:?}: {{bucket}} and the setting buckets go together; write both or neither"
            )));
        }
        let width = buckets.map_or(0, |buckets| (buckets.max(1) - 1).to_string().len());
        Ok(Self { parts, width })
    }

    /// The topic of a table's changes, or of those in one bucket.
    pub fn topic(&self, table: &str, bucket: u32) -> Box<[u8]> {
        let mut topic = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Table => topic.push_str(table),
                Part::Bucket => {
                    let _ = write!(topic, "{bucket:0width$}", width = self.width); // a String takes all
                }
            }
        }
        topic.into_bytes().into()
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

    fn topic_of(template: &str, buckets: Option<u32>, bucket: u32) -> Result<String> {
        let template = Template::new(template, "shop", "all", buckets)?;
        Ok(String::from_utf8(template.topic("sales.orders", bucket).into()).unwrap())
    }

    fn topic(template: &str) -> Result<String> {
        topic_of(template, None, 0)
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(topic(DEFAULT).unwrap(), "shop/all/sales.orders/");
        assert_eq!(topic("cdc/{table}/").unwrap(), "cdc/sales.orders/");
        assert_eq!(topic("{table}/{table}/").unwrap(), "sales.orders/sales.orders/");
    }

    #[test]
    fn buckets_have_as_many_digits_as_the_last_one() {
        for (buckets, bucket, expected) in [(1, 0, "0"), (10, 9, "9"), (11, 9, "09"), (4096, 7, "0007")] {
            let topic = topic_of("{table}/{bucket}/", Some(buckets), bucket).unwrap();
            assert_eq!(topic, format!("sales.orders/{expected}/"));
        }
    }

    #[test]
    fn a_wrong_template_is_refused_with_what_to_write() {
        for wrong in ["", "cdc/", "{table}", "{tabel}/", "{table/", "table}/", "{table}/{bucket}/"] {
            assert!(matches!(topic(wrong), Err(Error::Config { setting: "topic", .. })), "{wrong}");
        }
        assert!(topic_of(DEFAULT, Some(4), 0).is_err());
        assert!(topic("{tabel}/").unwrap_err().to_string().contains("{table}"));
    }
}
