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

use foldhash::fast::FixedState;

use crate::change::Timestamp;

/// A record's identity within its commit timestamp: transaction and sequence.
type Identity = (Box<str>, Box<str>);

/// The record versions taken so far, as far as a repetition could bring them back.
#[derive(Debug, Default)]
pub struct Window {
    at: Option<Timestamp>,
    /// The common case, one record a timestamp, without a map. With each, the highest number of its mods that
    /// was taken.
    one: Option<(Identity, u32)>,
    more: HashMap<Identity, u32, FixedState>,
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
        let found = match self.at {
            None => None,
            Some(at) if commit != at => (commit < at).then_some(u32::MAX),
            Some(_) => match &self.one {
                Some((identity, last)) if *identity.0 == *transaction && *identity.1 == *sequence => {
                    Some(*last)
                }
                _ if self.more.is_empty() => None,
                _ => self.more.get(&(transaction.into(), sequence.into())).copied(),
            },
        };
        found.map_or(Taken::New, Taken::UpTo)
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
        if self.at != Some(commit) {
            self.at = Some(commit);
            self.one = None;
            self.more.clear();
        }
        let identity = (transaction.into(), sequence.into());
        match &mut self.one {
            None => self.one = Some((identity, number)),
            Some((one, last)) if *one == identity => *last = number.max(*last),
            Some(_) => {
                let last = self.more.entry(identity).or_insert(number);
                *last = number.max(*last);
            }
        }
    }

    /// The newest commit timestamp taken.
    pub fn newest(&self) -> Option<Timestamp> {
        self.at
    }

    /// The records taken at the newest commit timestamp: transaction, sequence, the last of its mods.
    pub fn at_newest(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        let one = self.one.iter().map(|(identity, last)| (identity, last));
        one.chain(&self.more).map(|((transaction, sequence), last)| (&**transaction, &**sequence, *last))
    }

    /// A window with this newest commit timestamp, and no record at it.
    pub fn at(newest: Timestamp) -> Self {
        Self { at: Some(newest), ..Self::default() }
    }
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

    proptest! {
        /// Records arrive in commit order; any suffix of them may be repeated from a timestamp on.
        #[test]
        fn repetitions_are_found_exactly(
            records in prop::collection::btree_set((0_i64..6, 0_u8..3, 0_u8..4), 0..40),
            restarts in prop::collection::vec((0_usize..40, 0_i64..6), 0..4),
        ) {
            let records: Vec<_> = records.into_iter().collect();
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut feed = |from: i64, upto: usize| {
                for &(second, transaction, sequence) in records.iter().take(upto) {
                    if second < from { continue; }
                    let (t, s) = (transaction.to_string(), sequence.to_string());
                    let known = window.contains(at(second), &t, &s);
                    assert_eq!(known, taken.contains(&(second, transaction, sequence)));
                    if !known {
                        window.admit(at(second), &t, &s);
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
