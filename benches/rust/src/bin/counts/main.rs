//! Does the core's work once, so that valgrind can count its instructions: `counts` lists the cases,
//! `counts CASE` runs one and prints how many changes it took. `benches/counts.py` runs them all.
//!
//! All that counts happens inside [`measured`], on this thread: what comes before it fills caches and
//! grows buffers, as in a relay that has been running for a while.

mod consumer;
mod core;
mod dedup;

use std::process::ExitCode;

use spanwire_core::envelope::Values::{Json, Typed};
use spanwire_core::wire::Shape::{ChangeStreamRecord, GoogleSql, PostgreSql};

use self::core::Feed;

/// What is left to be done of a case: how many changes it takes, and the work.
type Prepared = (u64, Box<dyn FnMut()>);
/// A name, and what must be done beforehand.
type Case = (&'static str, fn() -> Prepared);

/// 20 changes a record in messages of 64 KiB, if nothing else is said; a change is a mod, in "dedup" a record.
const CASES: [Case; 12] = [
    ("googlesql json", || core::prepare(GoogleSql, Json, Feed::Full)),
    ("googlesql typed", || core::prepare(GoogleSql, Typed, Feed::Full)),
    ("googlesql json, one change a message", || core::prepare(GoogleSql, Json, Feed::Single)),
    ("googlesql typed, one change a message", || core::prepare(GoogleSql, Typed, Feed::Single)),
    ("postgresql json", || core::prepare(PostgreSql, Json, Feed::Full)),
    ("postgresql typed", || core::prepare(PostgreSql, Typed, Feed::Full)),
    ("mutable json", || core::prepare(ChangeStreamRecord, Json, Feed::Full)),
    ("mutable typed", || core::prepare(ChangeStreamRecord, Typed, Feed::Full)),
    ("dedup, one record a timestamp", || dedup::prepare(1)),
    ("dedup, 100 records a timestamp", || dedup::prepare(100)),
    ("consumer, every value read", || consumer::prepare(Typed)),
    ("consumer, json made typed", || consumer::prepare(Json)),
];

/// The one function whose instructions are counted; no closure of its own may have its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        for (name, _) in CASES {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, prepare)) = CASES.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("no case is called {wanted:?}: without an argument, counts lists them");
        return ExitCode::from(2);
    };
    let (changes, mut work) = prepare();
    measured(&mut *work);
    println!("{changes}");
    ExitCode::SUCCESS
}
