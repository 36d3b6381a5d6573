//! Bytes as messages and as rows of a `PostgreSql` query: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::change::Record;
use spanwire_core::wire::{self, Shape, RecordReader, ResultSetReader};

fn read(records: &mut RecordReader, row: &[u8]) {
    let _ = records.read_each(row, &mut |read| {
        if let Ok(Record::Data(data)) = read {
            let _ = wire::columns_of(&data);
        }
        Ok(())
    });
}

fuzz_target!(|bytes: &[u8]| {
    let mut records = RecordReader::new(Shape::PostgreSql);
    let _ = ResultSetReader::new(1 << 20).message(bytes, &mut |row| {
        read(&mut records, row);
        Ok(())
    });
    read(&mut records, bytes);
    // As the text of a row, which is where almost everything is.
    let mut row = vec![0x1a];
    let mut length = bytes.len();
    while length >= 0x80 {
        row.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    row.push(length.to_le_bytes()[0]);
    row.extend_from_slice(bytes);
    read(&mut records, &row);
});
