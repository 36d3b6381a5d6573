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
    // To a String: cannot fail.
    let _ = match number {
        _ if number.is_nan() => write!(out, "\"NaN\""),
        _ if number.is_infinite() => write!(out, "\"{}Infinity\"", if number < 0.0 { "-" } else { "" }),
        _ if number == 0.0 || PLAIN.contains(&number.abs()) => write!(out, "{number}"),
        _ => write!(out, "{number:e}"),
    };
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
