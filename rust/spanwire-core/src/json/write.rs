//! Writes strings and numbers as JSON text.

use std::fmt::Write;

use super::special;

/// Appends a string with its quotes, and with the escapes that JSON demands and no others.
pub fn write_string(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut start = 0;
    loop {
        let at = special(text.as_bytes(), start);
        // What was found is ASCII, so both ends are character boundaries.
        out.push_str(&text[start..at]);
        let Some(&byte) = text.as_bytes().get(at) else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => _ = write!(out, "\\u{control:04x}"), // to a String: cannot fail
        }
        start = at + 1;
    }
    out.push('"');
}

/// Appends a number with as few digits as read back as the same one. What JSON has no number for
/// is a string, as Spanner writes it: `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub fn write_number(number: f64, out: &mut String) {
    /// Outside of these an exponent is shorter than zeros.
    const PLAIN: std::ops::Range<f64> = 1e-5..1e17;
    if write_short(number, out) {
        return;
    }
    // To a String: cannot fail.
    let _ = match number {
        _ if number.is_nan() => write!(out, "\"NaN\""),
        _ if number.is_infinite() => write!(out, "\"{}Infinity\"", if number < 0.0 { "-" } else { "" }),
        _ if number == 0.0 || PLAIN.contains(&number.abs()) => write!(out, "{number}"),
        _ => write!(out, "{number:e}"),
    };
}

/// Writes a number that has at most five digits behind the point and fifteen in all; false where it has more.
///
/// No two such decimals are the same double: where one of them reads back as the number, no other text that
/// does is shorter.
fn write_short(number: f64, out: &mut String) -> bool {
    const POWERS: [f64; 6] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5];
    let magnitude = number.abs();
    if magnitude.is_nan() || magnitude >= 1e15 {
        return false;
    }
    for (places, power) in POWERS.into_iter().enumerate() {
        // Rounded: the product may be a little off its whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is between 0 and 1e20
        let digits = (magnitude * power + 0.5) as u64;
        #[allow(clippy::cast_precision_loss, clippy::float_cmp)] // below 2^53; the very same double
        if digits < 1_000_000_000_000_000 && digits as f64 / power == magnitude {
            write_decimal(number.is_sign_negative(), digits, places, out);
            return true;
        }
    }
    false
}

/// Writes digits, so many of them behind the point.
fn write_decimal(is_negative: bool, mut digits: u64, places: usize, out: &mut String) {
    let mut text = [0; 24];
    let mut start = text.len();
    let mut put = |byte| {
        start -= 1;
        text[start] = byte;
    };
    let mut place = 0;
    while digits > 0 || place <= places {
        if place == places && places > 0 {
            put(b'.');
        }
        put(b'0' + (digits % 10) as u8);
        digits /= 10;
        place += 1;
    }
    if is_negative {
        put(b'-');
    }
    // Digits are UTF-8.
    out.push_str(std::str::from_utf8(&text[start..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Scanner;
    use super::*;

    #[test]
    fn what_json_has_no_number_for_is_a_string() {
        for (number, text) in [
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e300, "1e300"),
            (-5e-324, "-5e-324"),
        ] {
            let mut out = String::new();
            write_number(number, &mut out);
            assert_eq!(out, text);
        }
    }

    proptest! {
        #[test]
        fn a_string_survives_its_text(text in any::<String>(), more in "[\\x00-\\x7f]{0,40}") {
            let text = text + &more;
            let mut out = String::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.as_str());
            let mut scanner = Scanner::new(&out);
            prop_assert_eq!(scanner.string().unwrap().to_cow().unwrap(), text.as_str());
            scanner.end().unwrap();
        }

        #[test]
        fn a_short_number_is_written_as_the_standard_library_writes_it(
            digits in -10_000_000_000_000_000_i64..10_000_000_000_000_000,
            cut in 0_u32..17,
            places in 0_i32..9,
        ) {
            #[allow(clippy::cast_precision_loss)]
            let number = (digits / 10_i64.pow(cut)) as f64 / 10_f64.powi(places);
            let mut out = String::new();
            if write_short(number, &mut out) {
                prop_assert_eq!(out, format!("{number}"));
            } else {
                prop_assert!(number.abs() >= 1e9 || places > 5);
            }
        }

        #[test]
        fn a_number_survives_its_text(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let mut out = String::new();
            write_number(number, &mut out);
            let mut scanner = Scanner::new(&out);
            let read: f64 = scanner.number().unwrap().parse().unwrap();
            scanner.end().unwrap();
            prop_assert_eq!(read.to_bits(), bits);
        }
    }
}
