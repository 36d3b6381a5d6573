//! Which bucket a row belongs to: a hash of its primary key's values that any language can compute.
//!
//! For each column of the key, in the order of their names' bytes: a byte 1, the length of its bytes
//! (see [`super::plain`]) in four bytes, big-endian, and the bytes; or a byte 0 where it is NULL. The
//! first eight bytes of the SHA-256 of all that, a big-endian number, modulo the number of buckets.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::plain;
use crate::change::Type;

/// The bucket, of so many, of the row with these values: JSON texts, or none where missing.
pub(super) fn bucket<'a>(
    values: impl Iterator<Item = (Option<&'a str>, &'a Type)>,
    buckets: u32,
    scratch: &mut Vec<u8>,
) -> u32 {
    scratch.clear();
    for (value, of) in values {
        match value {
            None | Some("null") => scratch.push(0),
            Some(value) => {
                scratch.push(1);
                let start = scratch.len();
                scratch.extend_from_slice(&[0; 4]);
                plain::write(value, Some(of), scratch);
                let length = u32::try_from(scratch.len() - start - 4).unwrap_or(u32::MAX);
                scratch[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
    }
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(&scratch)[..8]);
    u32::try_from(u64::from_be_bytes(first) % u64::from(buckets.max(1))).unwrap_or(0)
}

/// Where in the text of a mod's keys a value stands.
pub(super) type Slot = Option<Range<usize>>;
