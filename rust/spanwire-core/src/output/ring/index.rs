//! Where in a ring the messages of each flow are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::super::format::Origin;

/// What a flow is known by to who asks for its messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    origin: Origin,
    topic: Arc<[u8]>,
}

/// Places by flow and sequence: no more of them than messages in the ring.
#[derive(Debug, Default)]
pub struct Index {
    flows: HashMap<u64, Flow, FixedState>,
    by_name: HashMap<Name, u64, FixedState>,
}

#[derive(Debug)]
struct Flow {
    /// None where the header does not tell: nobody can ask for it then.
    name: Option<Name>,
    /// Sequence and place, in order.
    places: VecDeque<(u64, u64)>,
}

impl Index {
    /// A message of a flow has come to a place behind all others. `origin` is asked for the first one only.
    pub fn push(
        &mut self,
        flow: u64,
        topic: &Arc<[u8]>,
        sequence: u64,
        place: u64,
        origin: impl FnOnce() -> Option<Origin>,
    ) {
        let known = self.flows.entry(flow).or_insert_with(|| {
            let name = origin().map(|origin| Name { origin, topic: Arc::clone(topic) });
            if let Some(name) = &name {
                self.by_name.insert(name.clone(), flow);
            }
            Flow { name, places: VecDeque::new() }
        });
        known.places.push_back((sequence, place));
    }

    /// The oldest message of a flow has left.
    pub fn pop(&mut self, flow: u64) {
        let Some(known) = self.flows.get_mut(&flow) else { return };
        known.places.pop_front();
        if !known.places.is_empty() {
            return;
        }
        let name = self.flows.remove(&flow).and_then(|known| known.name);
        // A later flow may have taken the name over.
        if let Some(name) = name.filter(|name| self.by_name.get(name) == Some(&flow)) {
            self.by_name.remove(&name);
        }
    }

    /// The places of a flow's messages `first` to `last`; `None` where any of them is not here.
    pub fn find(
        &self,
        origin: Origin,
        topic: &[u8],
        first: u64,
        last: u64,
    ) -> Option<impl Iterator<Item = u64> + '_> {
        let flow = self.by_name.get(&Name { origin, topic: Arc::from(topic) })?;
        let places = &self.flows.get(flow)?.places;
        let from = places.partition_point(|(sequence, _)| *sequence < first);
        // Numbers may be missing in between: what was left out while an output was set aside.
        let count = usize::try_from(last.checked_sub(first)?).ok()?;
        let to = from.checked_add(count)?;
        let is =
            |place: usize, wanted: u64| places.get(place).is_some_and(|(sequence, _)| *sequence == wanted);
        (is(from, first) && is(to, last)).then(|| places.range(from..=to).map(|(_, place)| *place))
    }

    /// Flows with a message in the ring.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }
}
