//! A ring beside a plain list, at random: whatever is put in, it finds what it still has and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::support::{FORMAT, PARTITION, message, named, topic};
use spanwire_core::output::{Kept, Origin, Pages, Policy, Pool, Ring};

#[derive(Debug, Clone)]
enum Step {
    /// The next message of a flow, with a body of this size; numbers in between may be missing.
    Put {
        flow: u64,
        size: usize,
        left_out: u64,
    },
    Tick,
    Find {
        flow: u64,
        back: u64,
        count: u64,
    },
    Read {
        max_bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let left_out = prop_oneof![9 => Just(0_u64), 1 => 1..3_u64];
    prop_oneof![
        4 => (0..4_u64, 0..9_000_usize, left_out)
            .prop_map(|(flow, size, left_out)| Step::Put { flow, size, left_out }),
        1 => Just(Step::Tick),
        4 => (0..4_u64, 0..12_u64, 0..12_u64).prop_map(|(flow, back, count)| Step::Find { flow, back, count }),
        2 => (0..30_000_usize).prop_map(|max_bytes| Step::Read { max_bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn it_has_the_newest_messages_and_finds_exactly_those(steps in proptest::collection::vec(step(), 1..120)) {
        const BYTES: usize = 40_000;
        let mut pages = Pages::new(Arc::new(Pool::default()));
        let ring = Arc::new(Ring::new(Policy::Overwrite, BYTES, FORMAT));
        let mut reader = ring.reader(vec![topic(1).to_vec()], false).unwrap();
        // Everything that was ever put in, in order, with its memory.
        let mut all: Vec<(Option<(u64, u64)>, usize)> = Vec::new();
        let mut next: HashMap<u64, u64> = HashMap::new();
        let mut place = 0;
        let mut missed = 0;
        let kept_from = |all: &[(Option<(u64, u64)>, usize)]| {
            let mut memory = 0;
            let fits = |(_, bytes): &&(_, usize)| { memory += bytes; memory <= BYTES };
            all.len() - all.iter().rev().take_while(fits).count().max(1).min(all.len())
        };
        for step in steps {
            match step {
                Step::Put { flow, size, left_out } => {
                    let sequence = next.entry(flow).or_default();
                    *sequence += left_out;
                    let kept = Kept::new(message(flow, *sequence, &vec![0; size]), false, &mut pages);
                    all.push((Some((flow, *sequence)), kept.memory()));
                    *sequence += 1;
                    prop_assert!(ring.try_push(&Arc::new(kept)).unwrap());
                }
                Step::Tick => {
                    let mut tick = message(u64::MAX, 0, b"");
                    tick.topic = Arc::from(super::support::TICK_TOPIC);
                    let kept = Kept::new(tick, true, &mut pages);
                    all.push((None, kept.memory()));
                    prop_assert!(ring.try_push(&Arc::new(kept)).unwrap());
                }
                Step::Find { flow, back, count } => {
                    let first = next.get(&flow).copied().unwrap_or(0).saturating_sub(back);
                    let wanted: Vec<_> = (first..=first + count).map(|sequence| Some((flow, sequence))).collect();
                    let here = &all[kept_from(&all)..];
                    let whole = wanted.iter().all(|name| here.iter().any(|(kept, _)| kept == name));
                    let origin = Origin { partition: PARTITION, epoch: flow };
                    let found = ring.find(origin, &topic(flow), first, first + count);
                    prop_assert_eq!(found.map(|found| named(&found)), whole.then_some(wanted));
                }
                Step::Read { max_bytes } => {
                    let from = kept_from(&all).max(place);
                    missed += from - place;
                    let read = reader.read(std::time::Duration::ZERO, max_bytes).unwrap();
                    let mut mine = all[from..].iter().filter(|(name, _)| name.is_none_or(|(flow, _)| flow == 1));
                    for name in named(&read) {
                        prop_assert_eq!(mine.next().map(|(name, _)| *name), Some(name));
                    }
                    // It has come to the next one for it, or to the end.
                    place = match mine.next() {
                        Some(next) => all.iter().position(|one| std::ptr::eq(one, next)).unwrap(),
                        None => all.len(),
                    };
                    prop_assert!(!read.is_empty() || place == all.len());
                    prop_assert_eq!(reader.missed(), missed as u64);
                }
            }
            prop_assert_eq!(ring.stats().messages, all.len() - kept_from(&all));
        }
    }
}
