//! Sixteen letters of base64 at a time.
//!
//! Source: Muła and Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions" (2018), section 5,
//! with half as wide registers.

use std::arch::x86_64::{
    __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_madd_epi16,
    _mm_maddubs_epi16, _mm_movemask_epi8, _mm_set1_epi8, _mm_set1_epi32, _mm_setr_epi8, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_srli_epi32, _mm_storeu_si128,
};

/// Decodes groups of four letters into three bytes each, and says how many: it stops before a letter that is
/// none, and before so few are left that its stores of sixteen bytes would not fit. `places` has one for each
/// group.
#[target_feature(enable = "ssse3")]
pub fn decode(groups: &[[u8; 4]], places: &mut [[u8; 3]]) -> usize {
    let mut done = 0;
    // Sixteen bytes are written, of which twelve count: six groups have room for them.
    while let (Some(letters), Some(bytes)) = (groups.get(done..done + 6), places.get_mut(done..done + 6)) {
        // SAFETY: six groups are 24 bytes, of which the load, which needs no alignment, reads 16.
        #[allow(clippy::cast_ptr_alignment)]
        let letters = unsafe { _mm_loadu_si128(letters.as_ptr().cast::<__m128i>()) };
        let Some(decoded) = block(letters) else { break };
        // SAFETY: six places are 18 bytes, of which the store, which needs no alignment, writes 16.
        #[allow(clippy::cast_ptr_alignment)]
        unsafe {
            _mm_storeu_si128(bytes.as_mut_ptr().cast::<__m128i>(), decoded);
        }
        done += 4;
    }
    done
}

/// The twelve bytes that sixteen letters mean, zeros behind them; none where one is no letter.
#[inline]
#[target_feature(enable = "ssse3")]
fn block(letters: __m128i) -> Option<__m128i> {
    // By the halves of a letter: it is one of the alphabet where these two have no bit in common.
    let low_classes = _mm_setr_epi8(
        0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a,
    );
    let high_classes = _mm_setr_epi8(
        0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
    );
    // By the upper half: how far a letter is from its value. The slash takes the place below its own.
    let steps = _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    let half = _mm_set1_epi8(0x0f);
    let high = _mm_and_si128(_mm_srli_epi32::<4>(letters), half);
    let low = _mm_and_si128(letters, half);
    let wrong = _mm_and_si128(_mm_shuffle_epi8(low_classes, low), _mm_shuffle_epi8(high_classes, high));
    if _mm_movemask_epi8(_mm_cmpgt_epi8(wrong, _mm_setzero_si128())) != 0 {
        return None;
    }
    let slash = _mm_cmpeq_epi8(letters, _mm_set1_epi8(0x2f));
    let values = _mm_add_epi8(letters, _mm_shuffle_epi8(steps, _mm_add_epi8(slash, high)));
    // Six bits each: two, then four of them side by side, then their bytes in order.
    let pairs = _mm_maddubs_epi16(values, _mm_set1_epi32(0x0140_0140));
    let groups = _mm_madd_epi16(pairs, _mm_set1_epi32(0x0001_1000));
    let order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    Some(_mm_shuffle_epi8(groups, order))
}
