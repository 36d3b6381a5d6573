//! What an output's settings say about what goes out through it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::condition::Condition;
use super::names::Pattern;
use super::transform::Action;
use crate::change::ModType;
use crate::error::{Error, Result};

/// The most buckets that an output has.
pub const MAX_BUCKETS: u32 = 4_096;
/// The fewest bytes of a key for hashes.
const MIN_KEY: usize = 16;

/// What goes out through one output. The default leaves nothing out and changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    tables: Vec<Pattern>,
    exclude_tables: Vec<Pattern>,
    mod_types: Vec<ModType>,
    rules: Vec<(Pattern, TableChoice)>,
    pub(super) key: Option<HashKey>,
    pub(super) buckets: Option<u32>,
}

/// What goes out of one table; names as they are given.
#[derive(Debug, Clone, Default)]
pub struct TableChoice {
    /// If any are given: these columns, and the primary key's.
    pub columns: Vec<String>,
    /// Not these, were it the primary key's.
    pub exclude_columns: Vec<String>,
    /// Rows that meet all of these.
    pub conditions: Vec<Condition>,
    /// A row of which a condition cannot be decided is left out, and not sent.
    pub leave_out_undecided: bool,
    /// Columns whose values are replaced by [`MASK`](super::MASK).
    pub mask: Vec<String>,
    /// Columns whose values are cut to so many characters or bytes.
    pub truncate: Vec<(String, usize)>,
    /// Columns whose values are replaced by their keyed hash.
    pub hash: Vec<String>,
}

/// A secret key, ready for HMAC-SHA-256.
#[derive(Clone)]
pub struct HashKey(pub(super) Hmac<Sha256>);

impl HashKey {
    /// None where the key is empty.
    pub fn new(key: &[u8]) -> Option<Self> {
        (!key.is_empty()).then(|| Hmac::new_from_slice(key).ok().map(Self)).flatten()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl Choice {
    /// Checks what the settings say. Tables and names of tables are patterns: `orders`, `sales.*`.
    pub fn new(
        tables: &[String],
        exclude_tables: &[String],
        mod_types: Vec<ModType>,
        rules: Vec<(String, TableChoice)>,
        key: Option<&[u8]>,
        buckets: Option<u32>,
    ) -> Result<Self> {
        let patterns = |setting: &'static str, names: &[String]| {
            names.iter().map(|name| pattern(setting, name)).collect::<Result<Vec<_>>>()
        };
        if let Some(key) = key.filter(|key| key.len() < MIN_KEY) {
            let what = format!("a key of {} bytes is guessed too easily: at least {MIN_KEY}", key.len());
            return Err(Error::Config { setting: "hash_key_file", what });
        }
        let needs_key = rules.iter().any(|(_, rule)| !rule.hash.is_empty());
        if needs_key && key.is_none() {
            return Err(Error::Config { setting: "hash_key_file", what: "hash needs a key".into() });
        }
        if let Some(buckets) = buckets.filter(|buckets| !(1..=MAX_BUCKETS).contains(buckets)) {
            let what = format!("must be 1 to {MAX_BUCKETS}, is {buckets}");
            return Err(Error::Config { setting: "buckets", what });
        }
        Ok(Self {
            tables: patterns("tables", tables)?,
            exclude_tables: patterns("exclude_tables", exclude_tables)?,
            mod_types,
            rules: rules
                .into_iter()
                .map(|(name, rule)| Ok((pattern("table.name", &name)?, rule)))
                .collect::<Result<_>>()?,
            key: key.and_then(HashKey::new),
            buckets,
        })
    }

    /// Whether all goes out as it is.
    pub fn is_all(&self) -> bool {
        self.tables.is_empty()
            && self.exclude_tables.is_empty()
            && self.mod_types.is_empty()
            && self.rules.is_empty()
            && self.buckets.is_none()
    }

    /// How many buckets rows are spread over, if they are.
    pub fn buckets(&self) -> Option<u32> {
        self.buckets
    }

    /// Whether changes of this table go out.
    pub fn takes_table(&self, table: &str) -> bool {
        (self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches(table)))
            && !self.exclude_tables.iter().any(|pattern| pattern.matches(table))
    }

    /// Whether changes of this type go out.
    pub(super) fn takes(&self, mod_type: ModType) -> bool {
        self.mod_types.is_empty() || self.mod_types.contains(&mod_type)
    }

    /// Whether a record of this table may go out as it came from Spanner, with all that it holds.
    /// `table` is empty where it could not be read.
    pub fn allows_raw(&self, table: &str) -> bool {
        if table.is_empty() {
            return self.rules.is_empty() && self.tables.is_empty() && self.exclude_tables.is_empty();
        }
        self.takes_table(table) && !self.rules.iter().any(|(pattern, _)| pattern.matches(table))
    }

    /// All that is said of one table, taken together.
    pub(super) fn rules_of(&self, table: &str) -> Rules {
        let mut rules = Rules::default();
        for (_, rule) in self.rules.iter().filter(|(pattern, _)| pattern.matches(table)) {
            rules.add(rule);
        }
        rules
    }
}

fn pattern(setting: &'static str, name: &str) -> Result<Pattern> {
    Pattern::new(name).ok_or_else(|| Error::Config {
        setting,
        what: format!(
            "\"{name}\" is no table: write its name, or the beginning of names and *, such as sales.*"
        ),
    })
}

/// What is said of one table by all that matches its name: whatever leaves more out wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    include: Vec<HashSet<String>>,
    exclude: HashSet<String>,
    mask: HashSet<String>,
    hash: HashSet<String>,
    truncate: HashMap<String, usize>,
    /// Each with whether a row is left out of which it cannot be decided.
    pub(super) conditions: Vec<(Condition, bool)>,
}

impl Rules {
    fn add(&mut self, rule: &TableChoice) {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<HashSet<_>>();
        if !rule.columns.is_empty() {
            self.include.push(lower(&rule.columns));
        }
        self.exclude.extend(lower(&rule.exclude_columns));
        self.mask.extend(lower(&rule.mask));
        self.hash.extend(lower(&rule.hash));
        for (name, most) in &rule.truncate {
            let least = self.truncate.entry(name.to_lowercase()).or_insert(*most);
            *least = (*least).min(*most);
        }
        self.conditions.extend(rule.conditions.iter().map(|one| (one.clone(), rule.leave_out_undecided)));
    }

    /// What becomes of a column.
    pub(super) fn action(&self, name: &str, is_key: bool) -> Action {
        let name = name.to_lowercase();
        let is_in = |names: &HashSet<String>| names.contains(&name);
        if is_in(&self.exclude) || !(is_key || self.include.iter().all(is_in)) {
            Action::Drop
        } else if is_in(&self.mask) {
            Action::Mask
        } else if is_in(&self.hash) {
            Action::Hash
        } else if let Some(most) = self.truncate.get(&name) {
            Action::Truncate(*most)
        } else {
            Action::Keep
        }
    }

    /// Whether anything is said about columns.
    pub(super) fn choose_columns(&self) -> bool {
        !(self.include.is_empty()
            && self.exclude.is_empty()
            && self.mask.is_empty()
            && self.hash.is_empty()
            && self.truncate.is_empty())
    }
}
