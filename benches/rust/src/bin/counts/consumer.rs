//! What a consumer does with a body: each record checked, every value looked at.

use std::hint::black_box;

use spanwire_benches::sample::Sample;
use spanwire_core::envelope::{Body, Columns, Values, read};

use crate::Prepared;

const RECORDS: usize = 50;

/// JSON is made typed first, as a consumer does that looks at values by column.
pub fn prepare(values: Values) -> Prepared {
    let sample = Sample::new();
    let columns = sample.columns();
    let mods = sample.mods();
    let mut body = Body::default();
    for _ in 0..RECORDS {
        body.append(&sample.record(&mods), &columns, values).expect("the sample is well formed");
    }
    let changes = body.count().into();
    let body = body.into_buffer();
    let pass = move || match values {
        Values::Typed => look(&body, &columns),
        Values::Json => look(&read::typed(&body, &columns).expect("it was written here"), &columns),
    };
    pass();
    (changes, Box::new(pass))
}

fn look(body: &[u8], columns: &Columns) {
    for record in read::records(black_box(body)) {
        for each in record.and_then(|record| record.mods()).expect("it was written here") {
            for list in [each.keys(columns), each.new_values(columns), each.old_values(columns)] {
                for cell in list.expect("it was written here") {
                    black_box(cell.expect("it was written here"));
                }
            }
        }
    }
}
