//! What benches measure that a call from Python would drown.

use std::hint::black_box;
use std::time::Instant;

use pyo3::prelude::*;
use spanwire_core::change::Timestamp;
use spanwire_core::dedup::{Taken, Window};

/// Nanoseconds that the core takes to ask for a record version and to admit it, on average.
#[pyfunction]
#[pyo3(name = "_dedup_nanoseconds")]
pub fn dedup_nanoseconds(py: Python<'_>, timestamps: u32, records_a_timestamp: u32) -> f64 {
    py.detach(|| {
        let texts: Vec<(String, String)> = (0..records_a_timestamp)
            .map(|record| (format!("{:019}=", record / 2), format!("{record:08}")))
            .collect();
        let mut window = Window::default();
        let began = Instant::now();
        for second in 0..timestamps {
            let at = Timestamp { seconds: i64::from(second), nanos: 669_475_000 };
            for (transaction, sequence) in &texts {
                // A version that was there before would be no work: none is.
                let asked = black_box(window.ask(black_box(at), transaction, sequence));
                if asked.taken == Taken::New {
                    window.admit_new(at, transaction, sequence, asked);
                }
            }
        }
        let versions = f64::from(timestamps) * f64::from(records_a_timestamp);
        began.elapsed().as_secs_f64() * 1e9 / versions
    })
}
