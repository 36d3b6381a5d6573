//! The types that travel as text of a certain form. Text of another form does not fit its column.

use crate::change::{Type, TypeAnnotation, TypeCode};

/// What a text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A decimal number.
    Numeric,
    /// A decimal number or `NaN`.
    PgNumeric,
    /// A day of the years 1 to 9999.
    Date,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// ISO 8601, parts of either sign: `P1Y2M-3DT4H5M6.5S`.
    Interval,
}

impl Form {
    pub(super) fn of(column_type: &Type) -> Option<Self> {
        Some(match column_type.code {
            TypeCode::Numeric if column_type.annotation == TypeAnnotation::PgNumeric => Self::PgNumeric,
            TypeCode::Numeric => Self::Numeric,
            TypeCode::Date => Self::Date,
            TypeCode::Uuid => Self::Uuid,
            TypeCode::Interval => Self::Interval,
            _ => return None,
        })
    }

    /// Whether values of this form may stand as a JSON number.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Numeric | Self::PgNumeric)
    }

    pub(super) fn fits(self, text: &[u8]) -> bool {
        match self {
            Self::Numeric => is_decimal(text),
            Self::PgNumeric => is_decimal(text) || text == b"NaN",
            Self::Date => is_date(text),
            Self::Uuid => is_uuid(text),
            Self::Interval => is_interval(text),
        }
    }
}

/// Digits from the start of the text, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// `-12.5`, and with an exponent `1e-7`.
fn is_decimal(text: &[u8]) -> bool {
    let (whole, mut rest) = digits(text.strip_prefix(b"-").unwrap_or(text));
    if whole.is_empty() {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (fraction, behind) = digits(fraction);
        if fraction.is_empty() {
            return false;
        }
        rest = behind;
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent).1.is_empty()
        }
        _ => false,
    }
}

/// The emulator writes the year without leading zeros; Spanner writes four digits.
fn is_date(text: &[u8]) -> bool {
    let number = |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (year, rest) = digits(text);
    let ([b'-', month @ .., b'-', _, _], 6) = (rest, rest.len()) else { return false };
    let day = &rest[4..];
    if !(1..=4).contains(&year.len()) || !month.iter().chain(day).all(u8::is_ascii_digit) {
        return false;
    }
    let (year, month, day) = (number(year), number(month), number(day));
    year >= 1 && (1..=12).contains(&month) && (1..=crate::change::days_in_month(year, month)).contains(&day)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_interval(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"P") else { return false };
    let mut parts = 0;
    let mut units: &[u8] = b"YMWD";
    let mut in_time = false;
    while !rest.is_empty() {
        if let (Some(time), false) = (rest.strip_prefix(b"T"), in_time) {
            (rest, units, in_time) = (time, b"HMS", true);
            if rest.is_empty() {
                return false;
            }
        }
        let (whole, behind) = digits(rest.strip_prefix(b"-").unwrap_or(rest));
        let (is_fraction, behind) = match behind {
            [b'.', fraction @ ..] => {
                let (fraction, behind) = digits(fraction);
                if fraction.is_empty() {
                    return false;
                }
                (true, behind)
            }
            _ => (false, behind),
        };
        let [unit, behind @ ..] = behind else { return false };
        // Each unit once, from the greatest down; only seconds have fractions.
        let Some(place) = units.iter().position(|known| known == unit) else { return false };
        if whole.is_empty() || (is_fraction && *unit != b'S') {
            return false;
        }
        units = &units[place + 1..];
        rest = behind;
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_or_does_not() {
        let cases: [(Form, &[&str], &[&str]); 5] = [
            (
                Form::Numeric,
                &["0", "-0", "123.45", "-99999999999999999999999999999.999999999", "007", "1e9", "1.5E-7"],
                &[
                    "", "-", ".5", "5.", "+5", "1e", "1e+", "NaN", "Infinity", " 1", "1_0", "0x1", "1,5",
                    "--1",
                ],
            ),
            (Form::PgNumeric, &["NaN", "1.50", "-1e131072"], &["nan", "-NaN", "Infinity", "sNaN", "twelve"]),
            (
                Form::Date,
                &["0001-01-01", "1-01-01", "2024-02-29", "9999-12-31"],
                &[
                    "",
                    "2023-02-29",
                    "0000-01-01",
                    "2024-13-01",
                    "2024-1-01",
                    "2024-01-1",
                    "10000-01-01",
                    "2024-01-01T",
                    "2024/01/01",
                    "-001-01-01",
                    "2024-01--1",
                    "2024--1-01",
                    "today",
                ],
            ),
            (
                Form::Uuid,
                &["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"],
                &[
                    "",
                    "f81d4fae7dec11d0a76500a0c91e6bf6",
                    "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
                    "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                    "f81d4fae-7dec-11d0-a765-00a0c91e6bf",
                    "f81d4fae-7dec-11d0-a76-500a0c91e6bf6",
                ],
            ),
            (
                Form::Interval,
                &["P0Y", "P1Y2M3DT4H5M6.5S", "P-1Y-2M-3DT-4H-5M-6.000000001S", "PT0S", "P1M", "PT1M", "P2W"],
                &[
                    "", "P", "PT", "P1YT", "1Y", "P1", "P1H", "PT1D", "P1.5Y", "P1Y1Y", "P1M1Y", "PT1.S",
                    "P+1Y", "-P1Y", "PTT1S",
                ],
            ),
        ];
        for (form, fitting, others) in cases {
            for text in fitting {
                assert!(form.fits(text.as_bytes()), "{form:?} {text}");
            }
            for text in others {
                assert!(!form.fits(text.as_bytes()), "{form:?} {text}");
            }
        }
    }
}
