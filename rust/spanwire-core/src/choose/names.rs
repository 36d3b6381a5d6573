//! Names of tables and columns as settings give them. Spanner takes two names that differ in case
//! only for the same, so a wrong case must not let a column out.

/// A table's name, or a beginning of one with `*` behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    start: String,
    is_open: bool,
}

impl Pattern {
    /// Reads `orders`, `sales.orders`, `sales.*` or `*`; none where a `*` is not at the end.
    pub fn new(text: &str) -> Option<Self> {
        let (start, is_open) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let is_name = !start.contains('*') && (is_open || !start.is_empty());
        is_name.then(|| Self { start: start.to_lowercase(), is_open })
    }

    /// Whether it means the table of this name.
    pub fn matches(&self, table: &str) -> bool {
        let table = table.to_lowercase();
        if self.is_open { table.starts_with(&self.start) } else { table == self.start }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        let matches = |pattern: &str, table: &str| Pattern::new(pattern).unwrap().matches(table);
        assert!(matches("orders", "orders") && matches("orders", "Orders") && matches("*", "x"));
        assert!(!matches("orders", "orders2") && !matches("orders", "sales.orders"));
        assert!(matches("sales.*", "sales.orders") && !matches("sales.*", "salesorders"));
        for wrong in ["", "a*b", "*b", "a**"] {
            assert_eq!(Pattern::new(wrong), None, "{wrong}");
        }
    }
}
