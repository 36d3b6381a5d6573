//! Decimal numbers of any length, by value: `1.50` is `1.5`, and `1e2` is `100`.

use std::cmp::Ordering;

/// Places of an exponent beyond which no Spanner type has values.
const MOST: i64 = 200_000;

/// A number, or `PostgreSQL`'s NaN: equal to itself and greater than every number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decimal {
    Number {
        negative: bool,
        /// Digits without zeros at either end: the value is 0.`digits` × 10^`point`.
        digits: Vec<u8>,
        point: i64,
    },
    Nan,
}

impl Decimal {
    /// Reads `-12.50`, `1e3` or `NaN`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "NaN" {
            return Some(Self::Nan);
        }
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = !(whole.is_empty() && fraction.is_empty())
            && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
            && exponent.abs() <= MOST;
        if !is_number {
            return None;
        }
        let all = whole.bytes().chain(fraction.bytes());
        let zeros = all.clone().take_while(|&byte| byte == b'0').count();
        let mut digits: Vec<u8> = all.skip(zeros).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()? + exponent;
        let is_zero = digits.is_empty();
        Some(Self::Number { negative: negative && !is_zero, digits, point: if is_zero { 0 } else { point } })
    }

    /// Appends the shortest text without an exponent: `-12.5`, `0.001`, `100`, `0`, `NaN`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self::Number { negative, digits, point } = self else {
            out.extend_from_slice(b"NaN");
            return;
        };
        if *negative {
            out.push(b'-');
        }
        let zeros = |out: &mut Vec<u8>, count: i64| out.extend((0..count.max(0)).map(|_| b'0'));
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        if *point <= 0 {
            out.push(b'0');
            if !digits.is_empty() {
                out.push(b'.');
                zeros(out, -point);
                out.extend_from_slice(digits);
            }
        } else if *point >= length {
            out.extend_from_slice(digits);
            zeros(out, point - length);
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(*point).unwrap_or(digits.len()));
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (
            Self::Number { negative, digits, point },
            Self::Number { negative: others_sign, digits: others, point: others_point },
        ) = (self, other)
        else {
            return matches!(self, Self::Nan).cmp(&matches!(other, Self::Nan));
        };
        let sign = |negative: bool, digits: &[u8]| match (digits.is_empty(), negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let signs = sign(*negative, digits).cmp(&sign(*others_sign, others));
        let magnitude = point.cmp(others_point).then_with(|| digits.cmp(others));
        signs.then(if *negative { magnitude.reverse() } else { magnitude })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn text(of: &Decimal) -> String {
        let mut out = Vec::new();
        of.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value_and_have_one_text() {
        for (one, other, shortest) in [
            ("1.50", "1.5", "1.5"),
            ("1e2", "100.00", "100"),
            ("-0", "0.00", "0"),
            ("0.0010", "1E-3", "0.001"),
            ("+7", "007", "7"),
            ("-12.5e1", "-125", "-125"),
            ("NaN", "NaN", "NaN"),
        ] {
            assert_eq!(decimal(one), decimal(other), "{one}");
            assert_eq!(text(&decimal(one)), shortest);
        }
        for wrong in ["", "-", ".", "1.2.3", "1e", "abc", "0x1", "1e999999999", "--1", "1 "] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        assert!(decimal("NaN") > decimal("99999999999999999999999999999"));
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_numbers(a in any::<i64>(), b in any::<i64>(), scale in 0_u32..12) {
            let with_point = |value: i64| {
                let digits = format!("{:0>13}", value.unsigned_abs());
                let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
                format!("{}{whole}.{fraction}0", if value < 0 { "-" } else { "" })
            };
            let (one, other) = (decimal(&with_point(a)), decimal(&with_point(b)));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            prop_assert_eq!(&decimal(&text(&one)), &one);
        }
    }
}
