//! Conditions, ready for a column's type: constants are read once, values when they come.

use std::cmp::Ordering;

use super::condition::{Condition, Constant, Operator};
use super::decimal::Decimal;
use super::plain::{self, Scalar};
use crate::change::{Timestamp, Type, TypeCode};

/// A condition for values of one type.
#[derive(Debug, Clone)]
pub(super) struct Test {
    operator: Operator,
    constants: Vec<Typed>,
}

/// A constant of the column's type.
#[derive(Debug, Clone)]
enum Typed {
    Integer(i64),
    Decimal(Decimal),
    Float(f64),
    Float32(f32),
    /// Ordered by code points.
    Text(String),
    /// Equal or not; of no order that texts have.
    Opaque(String),
    Bool(bool),
    Timestamp(Timestamp),
    /// Not of the column's type, or of one whose values are not compared.
    Unfit,
}

impl Test {
    pub(super) fn new(condition: &Condition, of: Option<&Type>) -> Self {
        let constants = condition.constants.iter().map(|constant| Typed::new(constant, of)).collect();
        Self { operator: condition.operator, constants }
    }

    /// Whether a value, a JSON text, meets the condition; none where that cannot be told. As in SQL,
    /// NULL meets none but `is null`.
    pub(super) fn is_met_by(&self, value: &str) -> Option<bool> {
        let is_null = value == "null";
        match self.operator {
            Operator::IsNull => return Some(is_null),
            Operator::IsNotNull => return Some(!is_null),
            _ if is_null => return Some(false),
            _ => {}
        }
        let scalar = plain::scalar(value)?;
        if matches!(self.operator, Operator::In | Operator::NotIn) {
            let mut undecided = false;
            for constant in &self.constants {
                match constant.order_of(scalar) {
                    Some(Order::Is(Ordering::Equal)) => return Some(self.operator == Operator::In),
                    None => undecided = true,
                    Some(_) => {}
                }
            }
            return (!undecided).then_some(self.operator == Operator::NotIn);
        }
        let order = self.constants.first()?.order_of(scalar)?;
        let is = |wanted: &[Ordering]| matches!(order, Order::Is(order) if wanted.contains(&order));
        match self.operator {
            Operator::Equal => Some(is(&[Ordering::Equal])),
            Operator::NotEqual => Some(!is(&[Ordering::Equal])),
            _ if order == Order::Different => None,
            Operator::Less => Some(is(&[Ordering::Less])),
            Operator::LessOrEqual => Some(is(&[Ordering::Less, Ordering::Equal])),
            Operator::Greater => Some(is(&[Ordering::Greater])),
            Operator::GreaterOrEqual => Some(is(&[Ordering::Greater, Ordering::Equal])),
            _ => None,
        }
    }
}

/// How a value stands to a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Is(Ordering),
    /// NaN: neither less, nor equal, nor greater.
    Unordered,
    /// Not equal, and of a type without an order.
    Different,
}

impl Typed {
    fn new(constant: &Constant, of: Option<&Type>) -> Self {
        let Some(of) = of else { return Self::Unfit };
        let typed = match (of.code, constant) {
            (TypeCode::Int64 | TypeCode::Enum | TypeCode::Numeric, Constant::Number(text)) => {
                match text.parse() {
                    Ok(integer) => Some(Self::Integer(integer)),
                    Err(_) => Decimal::parse(text).map(Self::Decimal),
                }
            }
            (TypeCode::Numeric, Constant::Text(text)) => Decimal::parse(text).map(Self::Decimal),
            (TypeCode::Float64, constant) => float(constant).map(Self::Float),
            // As the column holds it: 0.1 is the FLOAT32 that is nearest to it.
            #[allow(clippy::cast_possible_truncation)]
            (TypeCode::Float32, constant) => float(constant).map(|value| Self::Float32(value as f32)),
            (TypeCode::Bool, Constant::Bool(truth)) => Some(Self::Bool(*truth)),
            (TypeCode::String | TypeCode::Date, Constant::Text(text)) => Some(Self::Text(text.clone())),
            (TypeCode::Uuid, Constant::Text(text)) => Some(Self::Text(text.to_ascii_lowercase())),
            (TypeCode::Interval, Constant::Text(text)) => Some(Self::Opaque(text.clone())),
            (TypeCode::Timestamp, Constant::Text(text)) => {
                Timestamp::from_rfc3339(text.as_bytes()).map(Self::Timestamp)
            }
            _ => None,
        };
        typed.unwrap_or(Self::Unfit)
    }

    /// How `value` stands to this; none where they cannot be compared.
    fn order_of(&self, value: Scalar<'_>) -> Option<Order> {
        let is = |order| Some(Order::Is(order));
        match self {
            Self::Integer(constant) => {
                let text = number(value)?;
                match text.parse::<i64>() {
                    Ok(value) => is(value.cmp(constant)),
                    Err(_) => is(Decimal::parse(text)?.cmp(&Decimal::parse(&constant.to_string())?)),
                }
            }
            Self::Decimal(constant) => is(Decimal::parse(number(value)?)?.cmp(constant)),
            Self::Float(constant) => Some(partial(plain::float(value)?.partial_cmp(constant))),
            #[allow(clippy::cast_possible_truncation)]
            Self::Float32(constant) => Some(partial((plain::float(value)? as f32).partial_cmp(constant))),
            Self::Text(constant) => is((*text(value)?).cmp(constant)),
            Self::Opaque(constant) if text(value)? == constant.as_str() => is(Ordering::Equal),
            Self::Opaque(_) => Some(Order::Different),
            Self::Bool(constant) => match value {
                Scalar::Bool(value) => is(value.cmp(constant)),
                _ => None,
            },
            Self::Timestamp(constant) => match value {
                Scalar::Text(raw) => is(Timestamp::from_rfc3339(raw.text.as_bytes())?.cmp(constant)),
                _ => None,
            },
            Self::Unfit => None,
        }
    }
}

fn float(constant: &Constant) -> Option<f64> {
    match constant {
        Constant::Number(text) => text.parse().ok(),
        Constant::Text(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
            text.parse().ok()
        }
        _ => None,
    }
}

fn partial(order: Option<Ordering>) -> Order {
    order.map_or(Order::Unordered, Order::Is)
}

fn number(value: Scalar<'_>) -> Option<&str> {
    match value {
        Scalar::Text(raw) => Some(raw.text),
        Scalar::Number(text) => Some(text),
        Scalar::Bool(_) => None,
    }
}

fn text(value: Scalar<'_>) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Scalar::Text(raw) => raw.to_cow().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TypeAnnotation;

    fn met(condition: &str, code: TypeCode, value: &str) -> Option<bool> {
        let of = Type {
            code,
            annotation: TypeAnnotation::None,
            array_element: None,
            proto_type_fqn: String::new(),
            unknown: String::new(),
        };
        Test::new(&Condition::parse(condition).unwrap(), Some(&of)).is_met_by(value)
    }

    #[test]
    fn values_are_compared_as_their_type_is() {
        use TypeCode::{Bool, Date, Float32, Float64, Int64, Interval, Numeric, String, Timestamp, Uuid};
        for (condition, code, value, expected) in [
            ("a >= 100", Int64, r#""99""#, false),
            ("a >= 100", Int64, r#""100""#, true),
            ("a < 9223372036854775808", Int64, r#""9223372036854775807""#, true),
            ("a > 1.5", Int64, r#""2""#, true),
            ("a = 1.5", Numeric, r#""1.50""#, true),
            ("a in (2, 3.0)", Numeric, r#""3""#, true),
            ("a > 1e30", Numeric, r#""NaN""#, true),
            ("a = 'NaN'", Numeric, r#""NaN""#, true),
            ("a != 10", Numeric, r#""10.000""#, false),
            ("a <= 0.1", Float64, "0.1", true),
            ("a = 0.1", Float32, "0.10000000149011612", true),
            ("a < 'Infinity'", Float64, "1e300", true),
            ("a = 'NaN'", Float64, r#""NaN""#, false),
            ("a != 1", Float64, r#""NaN""#, true),
            ("a >= 1", Float64, r#""NaN""#, false),
            ("a = 'é'", String, r#""\u00e9""#, true),
            ("a > 'b'", String, r#""abc""#, false),
            ("a not in ('x', 'y')", String, r#""z""#, true),
            ("a = true", Bool, "true", true),
            ("a != true", Bool, "false", true),
            ("a >= '2026-01-01'", Date, r#""2025-12-31""#, false),
            ("a = '2026-01-01T00:00:00.000Z'", Timestamp, r#""2026-01-01T00:00:00Z""#, true),
            ("a < '2026-01-01T00:00:00Z'", Timestamp, r#""2025-12-31T23:59:59.999999999Z""#, true),
            (
                "a = 'ABCDEF00-0000-0000-0000-000000000000'",
                Uuid,
                r#""abcdef00-0000-0000-0000-000000000000""#,
                true,
            ),
            ("a != 'P1Y'", Interval, r#""P2Y""#, true),
            ("a is null", String, "null", true),
            ("a is not null", String, r#""""#, true),
            ("a != 1", Int64, "null", false),
            ("a not in (1)", Int64, "null", false),
        ] {
            assert_eq!(met(condition, code, value), Some(expected), "{condition} for {value}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_decided() {
        use TypeCode::{Array, Bytes, Int64, Interval, Json, String, Timestamp};
        for (condition, code, value) in [
            ("a = 'x'", Int64, r#""1""#),
            ("a = 1", String, r#""1""#),
            ("a = 1", Int64, "[1]"),
            ("a = 1", Int64, r#""x""#),
            ("a = 'x'", Json, r#""x""#),
            ("a = 'x'", Bytes, r#""x""#),
            ("a = 'x'", Array, r#"["x"]"#),
            ("a < 'P1Y'", Interval, r#""P2Y""#),
            ("a < 'yesterday'", Timestamp, r#""2026-01-01T00:00:00Z""#),
            ("a in (1, 'x')", Int64, r#""2""#),
        ] {
            assert_eq!(met(condition, code, value), None, "{condition} for {value}");
        }
        assert_eq!(met("a in (1, 'x')", Int64, r#""1""#), Some(true));
        assert_eq!(met("a is not null", Json, r#""x""#), Some(true));
    }
}
