//! Each record version asked for and admitted, as a partition does it with each record.

use std::hint::black_box;

use spanwire_core::change::Timestamp;
use spanwire_core::dedup::{Taken, Window};

use crate::Prepared;

const VERSIONS: i64 = 10_000;

pub fn prepare(records_per_timestamp: i64) -> Prepared {
    let timestamps = VERSIONS / records_per_timestamp;
    let texts: Vec<(String, String)> = (0..records_per_timestamp)
        .map(|record| (format!("{:019}=", record / 2), format!("{record:08}")))
        .collect();
    let mut window = Window::default();
    let mut second = 0;
    let mut pass = move || {
        for _ in 0..timestamps {
            second += 1;
            let at = Timestamp { seconds: second, nanos: 669_475_000 };
            for (transaction, sequence) in &texts {
                let asked = window.ask(black_box(at), transaction, sequence);
                assert!(asked.taken == Taken::New, "no version comes twice");
                window.admit_new(at, transaction, sequence, asked);
            }
        }
    };
    pass();
    (VERSIONS.unsigned_abs(), Box::new(pass))
}
