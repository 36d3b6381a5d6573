//! Bytes as messages and as rows of a `GoogleSql` query: read or refused.
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
    let mut records = RecordReader::new(Shape::GoogleSql);
    let _ = ResultSetReader::new(1 << 20).message(bytes, &mut |row| {
        read(&mut records, row);
        Ok(())
    });
    read(&mut records, bytes);
});
