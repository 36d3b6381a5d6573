//! What a paused partition holds: the rows that were read behind the record it pauses at.
//!
//! A partition start or event record asks something of the partition's owner, and what follows it
//! must not be handed over before that is done. But messages come as they come, so the rows behind
//! are kept here, copied, until the owner says to proceed. At the most it is what one push brought.
//!
//! After a break the query goes on behind the message that carried the last resume token. Rows of
//! the messages up to it stay, those that came later come again and are dropped.

/// Rows that wait, first come first served.
#[derive(Debug, Default)]
pub struct Held {
    /// Encoded `google.protobuf.Value`s, one after the other, and where each ends.
    rows: Vec<u8>,
    ends: Vec<usize>,
    /// So many have been taken.
    taken: usize,
    /// So many there were when the last resume token came.
    at_token: usize,
}

impl Held {
    /// Keeps a row.
    pub fn push(&mut self, row: &[u8]) {
        self.rows.extend_from_slice(row);
        self.ends.push(self.rows.len());
    }

    /// The next row.
    pub fn take(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.taken)?;
        let start = if self.taken == 0 { 0 } else { self.ends[self.taken - 1] };
        self.taken += 1;
        Some(&self.rows[start..end])
    }

    /// A resume token came with the message whose rows were pushed last.
    pub fn token(&mut self) {
        self.at_token = self.ends.len();
    }

    /// The query goes on behind the last resume token: what came behind it comes again.
    pub fn resume(&mut self) {
        self.ends.truncate(self.at_token.max(self.taken));
        self.rows.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Forgets everything, and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
