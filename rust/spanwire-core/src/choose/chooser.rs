//! Applies plans to records: which mods go out, where to, and with what text.

use std::ops::Range;

use super::bucket::{Slot, bucket};
use super::plan::Plan;
use super::settings::Choice;
use super::transform::{self, Action};
use crate::change::{DataChangeRecord, Mod, ModType};
use crate::error::{Error, Result};
use crate::json::{JsonError, Scanner};

/// A buffer that a large record has blown up is given back beyond this.
const KEPT: usize = 1 << 20;

/// Chooses mods, record by record. Its buffers stay, so that a change allocates nothing.
#[derive(Debug, Default)]
pub struct Chooser {
    /// The mods of the last record that go out.
    chosen: Vec<Chosen>,
    /// Their buckets, each once, in order.
    buckets: Vec<u32>,
    /// Their rewritten objects, one behind the other.
    text: String,
    bytes: Vec<u8>,
    key: Vec<Slot>,
    met: Vec<Option<bool>>,
}

/// A mod that goes out.
#[derive(Debug)]
struct Chosen {
    number: u32,
    bucket: u32,
    /// Where its keys, new and old values are in the text; none where they stay as they are.
    rewritten: Option<[Range<usize>; 3]>,
}

/// How many mods of a record do not go out, or go out because nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Left out.
    pub filtered: u64,
    /// A condition could not be decided: its column is missing, or of a type that it does not fit.
    pub undecided: u64,
}

impl Chooser {
    /// Chooses among the mods of a record, by the plan for its table and columns.
    ///
    /// [`Error::Undecodable`] where an object that has to be looked into is not JSON.
    pub fn choose(&mut self, choice: &Choice, plan: &Plan, record: &DataChangeRecord<'_>) -> Result<LeftOut> {
        self.chosen.clear();
        self.buckets.clear();
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        let mut left_out = LeftOut::default();
        if !choice.takes(record.mod_type) {
            left_out.filtered = record.mods.len() as u64;
            return Ok(left_out);
        }
        for (number, each) in (0..).zip(record.mods) {
            let broken = |(name, error): (&'static str, JsonError)| Error::Undecodable {
                version: record.version(number).to_string(),
                table: record.table_name.clone().into_owned(),
                what: format!("{name} is {error}"),
            };
            if !plan.tests.is_empty()
                && !self.is_chosen(plan, record.mod_type, each, &mut left_out).map_err(broken)?
            {
                left_out.filtered += 1;
                continue;
            }
            let bucket = match choice.buckets {
                None => 0,
                Some(buckets) => {
                    self.bucket_of(plan, each, buckets).map_err(|error| broken(("keys", error)))?
                }
            };
            let rewritten =
                if plan.rewrites { Some(self.rewrite(choice, plan, each).map_err(broken)?) } else { None };
            self.chosen.push(Chosen { number, bucket, rewritten });
            if let Err(place) = self.buckets.binary_search(&bucket) {
                self.buckets.insert(place, bucket);
            }
        }
        Ok(left_out)
    }

    /// The buckets that the chosen mods fall into; bucket 0 where there are none to fall into.
    pub fn buckets(&self) -> &[u32] {
        &self.buckets
    }

    /// The chosen mods of one bucket, each with its number in the record.
    pub fn mods<'m>(
        &'m self,
        record: &'m DataChangeRecord<'_>,
        bucket: u32,
    ) -> impl Iterator<Item = (u32, Mod<'m>)> + Clone {
        self.chosen.iter().filter(move |one| one.bucket == bucket).map(move |one| {
            let each = match &one.rewritten {
                None => record.mods[one.number as usize],
                Some([keys, new_values, old_values]) => Mod {
                    keys: &self.text[keys.clone()],
                    new_values: &self.text[new_values.clone()],
                    old_values: &self.text[old_values.clone()],
                },
            };
            (one.number, each)
        })
    }

    /// Whether a mod meets the conditions: looked at are its new values, of a delete its old ones, and
    /// for what is missing there its keys.
    fn is_chosen(
        &mut self,
        plan: &Plan,
        mod_type: ModType,
        each: &Mod<'_>,
        left_out: &mut LeftOut,
    ) -> std::result::Result<bool, (&'static str, JsonError)> {
        self.met.clear();
        self.met.resize(plan.tests.len(), None);
        let image = match mod_type {
            ModType::Delete => ("old_values", each.old_values),
            ModType::Insert | ModType::Update => ("new_values", each.new_values),
        };
        for (name, text) in [image, ("keys", each.keys)] {
            test(plan, text, &mut self.met).map_err(|error| (name, error))?;
        }
        let mut undecided = false;
        for (met, (_, leave_out)) in self.met.iter().zip(&plan.tests) {
            match met {
                Some(false) => return Ok(false),
                None if *leave_out => return Ok(false),
                None => undecided = true,
                Some(true) => {}
            }
        }
        left_out.undecided += u64::from(undecided);
        Ok(true)
    }

    fn bucket_of(
        &mut self,
        plan: &Plan,
        each: &Mod<'_>,
        buckets: u32,
    ) -> std::result::Result<u32, JsonError> {
        self.key.clear();
        self.key.resize(plan.key.len(), None);
        let mut scanner = Scanner::new(each.keys);
        scanner.object_start()?;
        while let Some(name) = scanner.next_key()? {
            let value = scanner.raw_value()?;
            if let Some(place) = plan.entry(&name).and_then(|entry| entry.key)
                && let slot @ None = &mut self.key[place]
            {
                *slot = Some(scanner.position() - value.len()..scanner.position());
            }
        }
        scanner.end()?;
        let values = self.key.iter().map(|slot| slot.clone().map(|range| &each.keys[range]));
        Ok(bucket(values.zip(&plan.key), buckets, &mut self.bytes))
    }

    fn rewrite(
        &mut self,
        choice: &Choice,
        plan: &Plan,
        each: &Mod<'_>,
    ) -> std::result::Result<[Range<usize>; 3], (&'static str, JsonError)> {
        let mut object = |name, text| {
            let start = self.text.len();
            rewrite(choice, plan, text, &mut self.bytes, &mut self.text).map_err(|error| (name, error))?;
            Ok(start..self.text.len())
        };
        Ok([
            object("keys", each.keys)?,
            object("new_values", each.new_values)?,
            object("old_values", each.old_values)?,
        ])
    }
}

/// Decides the tests on the columns of an object that are not decided yet.
fn test(plan: &Plan, text: &str, met: &mut [Option<bool>]) -> std::result::Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.object_start()?;
    while let Some(name) = scanner.next_key()? {
        let value = scanner.raw_value()?;
        for &place in plan.entry(&name).map_or(&[][..], |entry| &entry.tests) {
            if met[place].is_none() {
                met[place] = plan.tests[place].0.is_met_by(value);
            }
        }
    }
    scanner.end()
}

/// Appends an object as it goes out.
fn rewrite(
    choice: &Choice,
    plan: &Plan,
    text: &str,
    bytes: &mut Vec<u8>,
    out: &mut String,
) -> std::result::Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.object_start()?;
    out.push('{');
    let mut is_first = true;
    while let Some(name) = scanner.next_key()? {
        let value = scanner.raw_value()?;
        let (action, of) = match plan.entry(&name) {
            Some(entry) => (entry.action, entry.column_type.as_ref()),
            None => (plan.action_of_stranger(&name), None),
        };
        if action == Action::Drop {
            continue;
        }
        if !std::mem::replace(&mut is_first, false) {
            out.push(',');
        }
        out.push('"');
        out.push_str(name.text);
        out.push_str("\":");
        transform::write(action, value, of, choice.key.as_ref(), bytes, out);
    }
    scanner.end()?;
    out.push('}');
    Ok(())
}
