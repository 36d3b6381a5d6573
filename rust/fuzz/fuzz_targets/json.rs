//! JSON text: what the scanner takes as a value is one on its own, and to `serde_json` too; its strings
//! are what `serde_json` reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use spanwire_core::json::{Kind, Result, Scanner};
use spanwire_fuzz::json::strict;

/// Reads a value by its parts.
fn walk(scanner: &mut Scanner<'_>) -> Result<()> {
    match scanner.kind()? {
        Kind::Object => {
            scanner.object_start()?;
            while let Some(key) = scanner.next_key()? {
                let _ = key.to_cow();
                walk(scanner)?;
            }
        }
        Kind::Array => {
            scanner.array_start()?;
            while scanner.next()? {
                walk(scanner)?;
            }
        }
        Kind::String => drop(scanner.string()?.to_cow()),
        Kind::Number => drop(scanner.number()?.parse::<f64>().expect("every JSON number is a float")),
        Kind::Bool => drop(scanner.boolean()?),
        Kind::Null => scanner.null()?,
    }
    Ok(())
}

/// All of a text as one value, by the scanner and by `serde_json`.
fn compare(text: &str) {
    let mut scanner = Scanner::new(text);
    let ours = scanner.raw_value().and_then(|value| scanner.end().map(|()| value));
    let strict = strict(text);
    match (ours, serde_json::from_str::<&RawValue>(&strict)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours.len(), theirs.get().len()),
        (Ok(ours), Err(error)) => panic!("taken, and refused by serde_json: {ours:?}: {error}"),
        (Err(error), Ok(_)) => assert_eq!(error.what, "nested too deep"),
        (Err(_), Err(_)) => return,
    }
    if let (Ok(string), true) = (Scanner::new(text).string(), text == strict) {
        // A half of a surrogate pair is no text to either.
        let theirs = serde_json::from_str::<String>(text).ok();
        assert_eq!(string.to_cow().ok().as_deref(), theirs.as_deref());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut scanner) = Scanner::from_bytes(bytes) else { return };
    compare(std::str::from_utf8(bytes).expect("the scanner takes no other bytes"));
    let mut parts = scanner.clone();
    let whole = scanner.raw_value();
    let walked = walk(&mut parts);
    assert_eq!(whole.is_ok(), walked.is_ok(), "skipping a value and walking it agree");
    if let Ok(value) = whole {
        assert_eq!(scanner.position(), parts.position());
        let mut again = Scanner::new(value);
        assert_eq!(again.raw_value(), Ok(value));
        again.end().expect("a value ends where it ends");
    }
});
