//! Conditions on a column as settings write them: `amount >= 100`, `region in ('eu', 'us')`,
//! `deleted_at is null`.

use crate::error::{Error, Result};

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    IsNull,
    IsNotNull,
}

/// A constant, not yet of a column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Constant {
    Number(String),
    Text(String),
    Bool(bool),
}

/// One comparison of a column with constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The column's name, in lower case.
    pub(super) column: String,
    pub(super) operator: Operator,
    pub(super) constants: Vec<Constant>,
}

impl Condition {
    /// Reads a condition. [`Error::Config`] with what is wrong in it otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text.trim_start() };
        parser.condition().map_err(|what| Error::Config {
            setting: "where",
            what: format!(
                "\"{text}\": {what}; write a condition such as amount >= 100, region in ('eu', 'us') or \
                 note is not null"
            ),
        })
    }
}

type Parsed<T> = std::result::Result<T, String>;

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn condition(&mut self) -> Parsed<Condition> {
        let column = self.column()?.to_lowercase();
        let operator = self.operator()?;
        let constants = match operator {
            Operator::IsNull | Operator::IsNotNull => Vec::new(),
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.constant()?],
        };
        if self.rest.is_empty() {
            Ok(Condition { column, operator, constants })
        } else {
            Err(format!("\"{}\" is too much", self.rest))
        }
    }

    fn step(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        let is_next = self.rest.starts_with(text);
        if is_next {
            self.step(text.len());
        }
        is_next
    }

    /// A letter, digit or `_`.
    fn word_length(&self) -> usize {
        self.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(self.rest.len())
    }

    fn take_word(&mut self, word: &str) -> bool {
        let length = self.word_length();
        let is_next = self.rest[..length].eq_ignore_ascii_case(word);
        if is_next {
            self.step(length);
        }
        is_next
    }

    fn column(&mut self) -> Parsed<&'a str> {
        for quote in ['`', '"'] {
            if let Some(quoted) = self.rest.strip_prefix(quote) {
                let end = quoted.find(quote).filter(|&end| end > 0);
                let end = end.ok_or_else(|| format!("a column's name ends without {quote}"))?;
                self.step(end + 2);
                return Ok(&quoted[..end]);
            }
        }
        let name = &self.rest[..self.word_length()];
        if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
            return Err("it must begin with a column".into());
        }
        self.step(name.len());
        Ok(name)
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let signs = [
            ("!=", Operator::NotEqual),
            ("<>", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        if let Some((_, operator)) = signs.into_iter().find(|(sign, _)| self.take(sign)) {
            return Ok(operator);
        }
        if self.take_word("is") {
            let not = self.take_word("not");
            if !self.take_word("null") {
                return Err("behind \"is\" comes \"null\" or \"not null\"".into());
            }
            return Ok(if not { Operator::IsNotNull } else { Operator::IsNull });
        }
        let not = self.take_word("not");
        if self.take_word("in") {
            return Ok(if not { Operator::NotIn } else { Operator::In });
        }
        Err("behind the column comes =, !=, <, <=, >, >=, in, not in, is null or is not null".into())
    }

    fn list(&mut self) -> Parsed<Vec<Constant>> {
        if !self.take("(") {
            return Err("behind \"in\" comes a list in parentheses".into());
        }
        let mut constants = vec![self.constant()?];
        while self.take(",") {
            constants.push(self.constant()?);
        }
        if self.take(")") { Ok(constants) } else { Err("the list ends without \")\"".into()) }
    }

    fn constant(&mut self) -> Parsed<Constant> {
        if self.rest.starts_with('\'') {
            return self.text().map(Constant::Text);
        }
        for (word, value) in [("true", true), ("false", false)] {
            if self.take_word(word) {
                return Ok(Constant::Bool(value));
            }
        }
        let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '+' | '-' | '_');
        let number = &self.rest[..self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len())];
        if number.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter))
            && super::decimal::Decimal::parse(number).is_some()
        {
            self.step(number.len());
            return Ok(Constant::Number(number.into()));
        }
        let what = "a number, a text in single quotes, true or false was expected";
        let null =
            if self.take_word("null") { " (for NULL write \"is null\" or \"is not null\")" } else { "" };
        Err(format!("{what}{null}"))
    }

    /// A quote in a text is written twice.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let Some(end) = rest.find('\'') else { return Err("a text ends without its quote".into()) };
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(behind) => {
                    text.push('\'');
                    rest = behind;
                }
                None => break,
            }
        }
        self.rest = rest.trim_start();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Operator, Vec<Constant>) {
        let Condition { column, operator, constants } = Condition::parse(text).unwrap();
        (column, operator, constants)
    }

    #[test]
    fn conditions_are_read_as_sql_writes_them() {
        let number = |text: &str| Constant::Number(text.into());
        let text = |text: &str| Constant::Text(text.into());
        let cases = [
            ("amount >= 100", "amount", Operator::GreaterOrEqual, vec![number("100")]),
            (" Amount<-1.5e3 ", "amount", Operator::Less, vec![number("-1.5e3")]),
            ("a <> 'it''s'", "a", Operator::NotEqual, vec![text("it's")]),
            ("a=true", "a", Operator::Equal, vec![Constant::Bool(true)]),
            ("region IN ('eu','us')", "region", Operator::In, vec![text("eu"), text("us")]),
            ("n not in (1, 2)", "n", Operator::NotIn, vec![number("1"), number("2")]),
            ("`in` is null", "in", Operator::IsNull, vec![]),
            ("\"Größe\" is NOT null", "größe", Operator::IsNotNull, vec![]),
        ];
        for (condition, column, operator, constants) in cases {
            assert_eq!(parsed(condition), (column.into(), operator, constants), "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_to_write() {
        for wrong in [
            "",
            "amount",
            "= 3",
            "amount => 3",
            "amount = ",
            "amount = null",
            "amount in 3",
            "amount in (3",
            "amount in ()",
            "amount = 'x",
            "amount = 3 and b = 4",
            "amount is 3",
            "amount = 1.2.3",
            "`a = 3",
            "amount = eu",
            "3 = amount",
        ] {
            let error = Condition::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("where: ") && error.contains("write a condition such as"), "{error}");
        }
        let error = Condition::parse("a = null").unwrap_err().to_string();
        assert!(error.contains("is not null"), "{error}");
    }
}
