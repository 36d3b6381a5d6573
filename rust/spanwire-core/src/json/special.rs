//! Finds the end of a run of plain text in a JSON string: where most of the time of reading and
//! writing strings goes.

/// Where the next quote, backslash or control character is from `at` on, or the end.
#[inline]
#[cfg(target_arch = "x86_64")]
pub fn special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let hits = hits(block);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    // The last block overlaps what was looked at before: shorter than byte after byte.
    if let Some(block) = bytes.last_chunk() {
        let seen = at + BLOCK - bytes.len();
        let hits = hits(block) >> seen;
        return if hits == 0 { bytes.len() } else { at + hits.trailing_zeros() as usize };
    }
    by_bytes(bytes, at)
}

#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 16;

/// A bit for each byte.
#[inline]
#[cfg(target_arch = "x86_64")]
fn hits(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86-64, and 16 bytes are read from an array of 16, by the load that
    // needs no alignment.
    #[allow(clippy::cast_ptr_alignment)]
    unsafe {
        let block = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
        let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x22));
        let backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x5c));
        // Below 0x20, unsigned: the smaller of the two is the byte itself.
        let control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)).cast_unsigned()
    }
}

/// Where the next quote, backslash or control character is from `at` on, or the end.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub fn special(bytes: &[u8], at: usize) -> usize {
    by_words(bytes, at)
}

/// Eight bytes at a time, on any machine.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn by_words(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest high bit that these set is exact; those above it may be wrong.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let control = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*block);
        let hits = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control(word);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    by_bytes(bytes, at)
}

fn by_bytes(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..=0x1f) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_ways_find_the_same_place(
            mut bytes in proptest::collection::vec(prop_oneof![8 => 0x20..=0x7f_u8, 8 => 0x80..=0xff_u8, 1 => any::<u8>()], 0..70),
            at in any::<prop::sample::Index>(),
            special_byte in proptest::option::of(prop::sample::select(vec![b'"', b'\\', 0, 0x1f])),
        ) {
            let from = at.index(bytes.len() + 1);
            if let (Some(byte), false) = (special_byte, bytes.is_empty()) {
                let place = at.index(bytes.len());
                bytes[place] = byte;
            }
            prop_assert_eq!(special(&bytes, from), by_bytes(&bytes, from));
            prop_assert_eq!(by_words(&bytes, from), by_bytes(&bytes, from));
        }
    }
}
