//! Reading records allocates nothing per change: counted, not assumed.

mod support {
    pub mod change_streams;
    pub mod rows;
    pub mod values;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use spanwire_core::change::Record;
use spanwire_core::wire::{RecordReader, ResultSetReader, Shape};

use support::change_streams;
use support::rows::{data_fields, data_row, postgresql_data};
use support::values::{field, list, text};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn once_the_scratch_space_has_grown_nothing_is_allocated() {
    let mut fields = data_fields();
    fields[6] = list(vec![list([text("{}"), text("{}"), text("{}")]); 100]);
    let mods = format!("[{}]", vec![r#"{"keys":{},"new_values":{},"old_values":{}}"#; 100].join(","));
    let mut messages = change_streams::data_fields();
    messages[6] = messages[6].repeat(100);
    for (shape, row) in [
        (Shape::GoogleSql, data_row(&fields)),
        (Shape::PostgreSql, postgresql_data("mods", Some(&mods))),
        (Shape::ChangeStreamRecord, change_streams::row(&change_streams::data(&messages)).encode()),
    ] {
        let message: Vec<u8> = (0..50).flat_map(|_| field(2, &row)).collect();
        let mut chunks = ResultSetReader::new(1 << 20);
        let mut records = RecordReader::new(shape);
        let mut changes = 0;
        let mut pass = || {
            let before = COUNT.get();
            let mut take = |record: Record<'_>| {
                if let Record::Data(data) = record {
                    changes += data.mods.len();
                }
                Ok(())
            };
            chunks.message(&message, &mut |row| records.read(row, &mut take)).unwrap();
            COUNT.get() - before
        };
        assert!(pass() > 0, "the counter counts");
        assert_eq!(pass(), 0);
        assert_eq!(changes, 2 * 50 * 100);
    }
}
