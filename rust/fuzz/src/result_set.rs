//! `PartialResultSet`s as `prost` reads them.

use prost::Message;
use spanwire_core::wire::ResultSetReader;

use crate::proto::PartialResultSet;
use crate::seen::is_refused_on_purpose;

/// The complete values of one message, which protobuf must find too.
pub fn values(message: &[u8]) -> Vec<Vec<u8>> {
    let mut ours = Vec::new();
    let mut reader = ResultSetReader::new(1 << 20);
    let outcome = reader.message(message, &mut |row| {
        ours.push(row.to_vec());
        Ok(())
    });
    match (outcome, PartialResultSet::decode(message)) {
        (Ok(()), Ok(set)) => {
            let complete = set.values.len() - usize::from(set.chunked_value && !set.values.is_empty());
            assert_eq!(ours, set.values[..complete]);
            assert_eq!(reader.resume().unwrap_or_default(), set.resume_token);
        }
        // Of a varint of ten bytes prost refuses bits above the 64th, which Google's drop.
        (Ok(()), Err(error)) => assert!(error.to_string().contains("invalid varint"), "{error}"),
        (Err(error), Ok(_)) => {
            let is_large = error.to_string().contains("raise max_record_bytes");
            assert!(is_large || is_refused_on_purpose(&error.to_string()), "{error}");
        }
        (Err(_), Err(_)) => {}
    }
    ours
}
