//! JSON text: what the scanner takes as a value is one on its own, and its strings unescape.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::json::{Kind, Result, Scanner};

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

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut scanner) = Scanner::from_bytes(bytes) else { return };
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
