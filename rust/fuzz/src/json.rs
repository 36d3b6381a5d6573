//! JSON text as `serde_json` takes it.

/// A text of the same length without the two liberties that the core's scanner takes inside of
/// strings: control characters, and a backslash before what is no escape, are spaces instead.
pub fn strict(text: &str) -> String {
    let mut strict = text.as_bytes().to_vec();
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = strict.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string && is_escape(&strict[at + 1..]) => at += 1,
            b'\\' | 0..0x20 if in_string => strict[at] = b' ',
            _ => {}
        }
        at += 1;
    }
    String::from_utf8(strict).expect("ASCII was put in place of ASCII")
}

fn is_escape(behind: &[u8]) -> bool {
    match behind {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [b'u', digits @ ..] => digits.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}
