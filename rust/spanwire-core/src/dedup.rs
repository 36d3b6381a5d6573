//! Which record versions of a partition were handed over already.
//!
//! A partition returns its records in commit timestamp order, and a re-read starts at a
//! timestamp. So two things decide exactly whether a record came before: the newest commit
//! timestamp taken, and the identities taken at it. Everything older came before; everything
//! newer did not. The memory is that of one timestamp's records.
//!
//! A consumer may stop in the middle of a record: so each is known by how far its mods were taken,
//! which come by their numbers.
//!
//! Asking and admitting are two steps, and only a record that is on its way out is admitted:
//! a record that could not be written is not taken for a duplicate when it is tried again.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::change::Timestamp;

/// Up to so many records of a timestamp are looked through one by one.
const FEW: usize = 4;
/// Room for so many records, and for so many bytes of their identities, is kept for the next timestamp.
const KEPT: (usize, usize) = (1 << 10, 1 << 16);

/// The record versions taken so far, as far as a repetition could bring them back.
#[derive(Debug, Default)]
pub struct Window {
    at: Option<Timestamp>,
    /// The records taken at it.
    records: Vec<Record>,
    /// Their identities, transaction and sequence, one after the other.
    identities: String,
    /// Where they are many: by the hash of an identity, the place of the last record that has it.
    places: HashMap<u64, usize, FixedState>,
}

/// A record of the newest timestamp.
#[derive(Debug)]
struct Record {
    /// Where its identity starts, where in it the sequence does, and where it ends.
    start: usize,
    sequence: usize,
    end: usize,
    /// The highest number of its mods that was taken.
    last: u32,
    /// The place of another record whose identity has the same hash.
    alike: Option<usize>,
}

/// How far a record was taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing of it.
    New,
    /// Its mods up to this number.
    UpTo(u32),
}

impl Taken {
    /// Whether the mod of this number was not taken.
    pub fn is_new(self, number: u32) -> bool {
        match self {
            Self::New => true,
            Self::UpTo(last) => number > last,
        }
    }
}

/// What a window said of a record, to admit it by.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How far it was taken before.
    pub taken: Taken,
    /// See [`Window::key`].
    key: Option<u64>,
}

impl Window {
    /// A window in which nothing up to and including `position` is new: all of it was handed over.
    pub fn after(position: Timestamp) -> Self {
        // The next instant with nothing taken at it yet says just that.
        let next = if position.nanos == 999_999_999 {
            Timestamp { seconds: position.seconds + 1, nanos: 0 }
        } else {
            Timestamp { nanos: position.nanos + 1, ..position }
        };
        Self { at: Some(next), ..Self::default() }
    }

    /// Whether this record came before.
    pub fn contains(&self, commit: Timestamp, transaction: &str, sequence: &str) -> bool {
        self.taken(commit, transaction, sequence) != Taken::New
    }

    /// How far this record was taken before.
    pub fn taken(&self, commit: Timestamp, transaction: &str, sequence: &str) -> Taken {
        self.ask(commit, transaction, sequence).taken
    }

    /// How far this record was taken before, for who will admit it.
    pub fn ask(&self, commit: Timestamp, transaction: &str, sequence: &str) -> Asked {
        let (key, found) = match self.at {
            None => (None, None),
            Some(at) if commit != at => (None, (commit < at).then_some(u32::MAX)),
            Some(_) => {
                let key = self.key(transaction, sequence);
                (key, self.find(key, transaction, sequence).map(|place| self.records[place].last))
            }
        };
        Asked { taken: found.map_or(Taken::New, Taken::UpTo), key }
    }

    /// What an identity is found by, or will be with one record more; none while there are few.
    fn key(&self, transaction: &str, sequence: &str) -> Option<u64> {
        (self.records.len() >= FEW).then(|| hash(transaction, sequence))
    }

    /// The place of a record of the newest timestamp.
    fn find(&self, key: Option<u64>, transaction: &str, sequence: &str) -> Option<usize> {
        let is_it = |record: &Record| {
            self.identities[record.start..record.sequence] == *transaction
                && self.identities[record.sequence..record.end] == *sequence
        };
        let Some(key) = key.filter(|_| self.records.len() > FEW) else {
            return self.records.iter().position(is_it);
        };
        let mut place = *self.places.get(&key)?;
        while !is_it(&self.records[place]) {
            place = self.records[place].alike?;
        }
        Some(place)
    }

    /// Takes a record: from now on it came before. Of an older timestamp than the newest taken it
    /// did so already.
    pub fn admit(&mut self, commit: Timestamp, transaction: &str, sequence: &str) {
        self.admit_up_to(commit, transaction, sequence, u32::MAX);
    }

    /// Takes a record's mods up to this number.
    pub fn admit_up_to(&mut self, commit: Timestamp, transaction: &str, sequence: &str, number: u32) {
        if self.at.is_some_and(|at| commit < at) {
            return;
        }
        self.come_to(commit);
        let key = self.key(transaction, sequence);
        if let Some(place) = self.find(key, transaction, sequence) {
            let last = &mut self.records[place].last;
            *last = number.max(*last);
            return;
        }
        self.append(key, transaction, sequence, number);
    }

    /// Takes a record that was `asked` for and is new, all of its mods. Nothing was admitted since.
    pub fn admit_new(&mut self, commit: Timestamp, transaction: &str, sequence: &str, asked: Asked) {
        debug_assert_eq!(self.taken(commit, transaction, sequence), Taken::New);
        self.come_to(commit);
        debug_assert_eq!(self.key(transaction, sequence), asked.key);
        self.append(asked.key, transaction, sequence, u32::MAX);
    }

    fn come_to(&mut self, commit: Timestamp) {
        if self.at != Some(commit) {
            self.at = Some(commit);
            self.forget_records();
        }
    }

    fn append(&mut self, key: Option<u64>, transaction: &str, sequence: &str, number: u32) {
        let start = self.identities.len();
        self.identities.push_str(transaction);
        let middle = self.identities.len();
        self.identities.push_str(sequence);
        let end = self.identities.len();
        self.records.push(Record { start, sequence: middle, end, last: number, alike: None });
        let Some(key) = key else { return };
        if self.places.is_empty() {
            (0..FEW).for_each(|place| self.place(place));
        }
        let newest = self.records.len() - 1;
        self.records[newest].alike = self.places.insert(key, newest);
    }

    /// Makes one of the few found by its hash, too.
    fn place(&mut self, place: usize) {
        let record = &mut self.records[place];
        let (transaction, sequence) =
            (&self.identities[record.start..record.sequence], &self.identities[record.sequence..record.end]);
        record.alike = self.places.insert(hash(transaction, sequence), place);
    }

    /// Empties what belongs to one timestamp. Its memory stays for the next one's, unless it is much.
    fn forget_records(&mut self) {
        if self.records.capacity() > KEPT.0 || self.identities.capacity() > KEPT.1 {
            *self = Self { at: self.at, ..Self::default() };
        }
        self.records.clear();
        self.identities.clear();
        if !self.places.is_empty() {
            self.places.clear();
        }
    }

    /// The newest commit timestamp taken.
    pub fn newest(&self) -> Option<Timestamp> {
        self.at
    }

    /// The records taken at the newest commit timestamp: transaction, sequence, the last of its mods.
    pub fn at_newest(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.records.iter().map(|record| {
            let transaction = &self.identities[record.start..record.sequence];
            (transaction, &self.identities[record.sequence..record.end], record.last)
        })
    }

    /// A window with this newest commit timestamp, and no record at it.
    pub fn at(newest: Timestamp) -> Self {
        Self { at: Some(newest), ..Self::default() }
    }
}

/// Few in tests, so that those who share one are met.
fn hash(transaction: &str, sequence: &str) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(transaction.as_bytes());
    hasher.write(sequence.as_bytes());
    let hash = hasher.finish();
    if cfg!(test) { hash % 3 } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn a_record_that_was_not_admitted_is_not_a_duplicate() {
        let window = Window::default();
        assert!(!window.contains(at(1), "t", "0"));
        assert!(!window.contains(at(1), "t", "0"), "asking does not admit");
    }

    #[test]
    fn a_window_after_a_position_starts_right_behind_it() {
        let window = Window::after(Timestamp { seconds: 5, nanos: 999_999_999 });
        assert!(window.contains(Timestamp { seconds: 5, nanos: 999_999_999 }, "t", "0"));
        assert!(!window.contains(at(6), "t", "0"));
    }

    #[test]
    fn a_record_may_be_taken_in_parts() {
        let mut window = Window::default();
        for (transaction, last) in [("a", 3), ("b", 0), ("c", 7)] {
            window.admit_up_to(at(1), transaction, "0", last);
            window.admit_up_to(at(1), transaction, "0", 0); // never back
            assert_eq!(window.taken(at(1), transaction, "0"), Taken::UpTo(last));
        }
        assert_eq!(window.taken(at(1), "d", "0"), Taken::New);
        let mut again = Window::at(window.newest().unwrap());
        for (transaction, sequence, last) in window.at_newest() {
            again.admit_up_to(at(1), transaction, sequence, last);
        }
        for (transaction, number, new) in [("a", 3, false), ("a", 4, true), ("b", 1, true), ("d", 0, true)] {
            assert_eq!(again.taken(at(1), transaction, "0").is_new(number), new);
        }
        assert!(again.contains(at(0), "d", "0") && !again.contains(at(2), "a", "0"));
    }

    #[test]
    fn identities_are_told_apart_by_more_than_their_hash_and_by_where_the_sequence_begins() {
        let mut window = Window::default();
        let transactions: Vec<String> = (0..4 * FEW).map(|length| "a".repeat(length)).collect();
        for (transaction, number) in transactions.iter().zip(0..) {
            assert!(!window.contains(at(1), transaction, "a"));
            window.admit_up_to(at(1), transaction, "a", number);
        }
        for (transaction, number) in transactions.iter().zip(0..) {
            assert_eq!(window.taken(at(1), transaction, "a"), Taken::UpTo(number));
        }
        assert_eq!(window.taken(at(1), "", "aa"), Taken::New);
        assert_eq!(window.taken(at(1), "aa", ""), Taken::New);
    }

    #[test]
    fn what_a_large_timestamp_needed_is_given_back() {
        let mut window = Window::default();
        for number in 0..2 * KEPT.0 {
            window.admit(at(1), "transaction", &number.to_string());
        }
        window.admit(at(2), "transaction", "0");
        assert!(window.records.capacity() <= KEPT.0 && window.identities.capacity() <= KEPT.1);
        assert!(window.places.capacity() == 0);
        assert!(window.contains(at(1), "transaction", "0") && window.contains(at(2), "transaction", "0"));
        assert!(!window.contains(at(2), "transaction", "1"));
    }

    proptest! {
        /// Records arrive in commit order; any suffix of them may be repeated from a timestamp on.
        #[test]
        fn repetitions_are_found_exactly(
            records in prop::collection::btree_set((0_i64..4, 0_u8..4, 0_u8..5), 0..60),
            restarts in prop::collection::vec((0_usize..60, 0_i64..4), 0..4),
        ) {
            let records: Vec<_> = records.into_iter().collect();
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut feed = |from: i64, upto: usize| {
                for &(second, transaction, sequence) in records.iter().take(upto) {
                    if second < from { continue; }
                    let (t, s) = (transaction.to_string(), sequence.to_string());
                    let asked = window.ask(at(second), &t, &s);
                    let known = asked.taken != Taken::New;
                    assert_eq!(known, taken.contains(&(second, transaction, sequence)));
                    if !known {
                        window.admit_new(at(second), &t, &s, asked);
                        taken.insert((second, transaction, sequence));
                    }
                }
                window.newest().map_or(0, |newest| newest.seconds)
            };
            let mut newest = 0;
            for (upto, from) in restarts {
                newest = feed(from.min(newest), upto);
            }
            feed(newest, records.len());
            prop_assert_eq!(taken.len(), records.len());
        }
    }
}
