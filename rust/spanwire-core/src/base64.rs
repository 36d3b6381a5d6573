//! Base64 as Spanner writes bytes: the standard alphabet, padded (RFC 4648, section 4).
//!
//! Strict: what it accepts encodes back to the same text, so nothing is lost by decoding.

#[cfg(target_arch = "x86_64")]
mod ssse3;

/// Marks what is not in the alphabet.
const NONE: u32 = 1 << 31;

/// For each of four letters of a group, its bits where they belong in the group's 24.
static GROUP: [[u32; 256]; 4] = [table(18), table(12), table(6), table(0)];

const fn table(shift: u32) -> [u32; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value << shift;
        value += 1;
    }
    table
}

fn letter(place: usize, letter: u8) -> u32 {
    GROUP[place][usize::from(letter)]
}

/// Appends the bytes that `text` means. On false, `out` may have grown by some of them.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (groups, []) = text.as_chunks::<4>() else { return false };
    let Some((last, groups)) = groups.split_last() else { return true };
    let start = out.len();
    out.reserve(text.len() / 4 * 3);
    out.resize(start + groups.len() * 3, 0);
    let (places, _) = out[start..].as_chunks_mut::<3>();
    let done = by_blocks(groups, places);
    if !by_groups(&groups[done..], &mut places[done..]) {
        return false;
    }
    let (bits, length) = match *last {
        [a, b, b'=', b'='] => (letter(0, a) | letter(1, b), 1),
        [a, b, c, b'='] => (letter(0, a) | letter(1, b) | letter(2, c), 2),
        [a, b, c, d] => (letter(0, a) | letter(1, b) | letter(2, c) | letter(3, d), 3),
    };
    let bytes = bits.to_be_bytes();
    // What is left over behind the last byte has to be zero, or another text would mean the same.
    if bits & NONE != 0 || bytes[1 + length..].iter().any(|&left| left != 0) {
        return false;
    }
    out.extend_from_slice(&bytes[1..=length]);
    true
}

/// Decodes groups many at a time, and says how many.
#[inline]
fn by_blocks(groups: &[[u8; 4]], places: &mut [[u8; 3]]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has what it needs.
        return unsafe { ssse3::decode(groups, places) };
    }
    let _ = (groups, places);
    0
}

/// Decodes groups, one after the other; false where a letter is none.
fn by_groups(groups: &[[u8; 4]], places: &mut [[u8; 3]]) -> bool {
    let mut all = 0;
    for (&[a, b, c, d], place) in groups.iter().zip(places) {
        let bits = letter(0, a) | letter(1, b) | letter(2, c) | letter(3, d);
        all |= bits; // looked at once, behind the loop: that is what makes it fast
        let [_, bytes @ ..] = bits.to_be_bytes();
        *place = bytes;
    }
    all & NONE == 0
}

/// Appends the text of `bytes`.
pub fn encode_into(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0, |bits, (place, &byte)| bits | u32::from(byte) << (16 - 8 * place));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode_into(bytes, &mut text);
        text
    }

    #[test]
    fn the_vectors_of_rfc_4648_decode() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmFy", "foobar"),
        ] {
            let mut out = Vec::new();
            assert!(decode(text.as_bytes(), &mut out), "{text}");
            assert_eq!(out, bytes.as_bytes());
        }
    }

    #[test]
    fn what_would_not_encode_back_to_itself_is_refused() {
        for text in
            ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm-_", "Zm9v\n", "Zm 9", "=Zm9"]
        {
            assert!(!decode(text.as_bytes(), &mut Vec::new()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive_their_text(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            prop_assert!(decode(encode(&bytes).as_bytes(), &mut out));
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn blocks_mean_what_their_groups_mean(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            wrong in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut text = encode(&bytes).into_bytes();
            if let (Some((at, letter)), false) = (wrong, text.is_empty()) {
                let at = at.index(text.len());
                text[at] = letter;
            }
            let (groups, _) = text.as_chunks::<4>();
            let (mut blocks, mut single) = (vec![[0; 3]; groups.len()], vec![[0; 3]; groups.len()]);
            let done = by_blocks(groups, &mut blocks);
            prop_assert!(by_groups(&groups[..done], &mut single[..done]));
            prop_assert_eq!(&blocks[..done], &single[..done]);
            // Where it stopped early there is a letter that is none.
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("ssse3") && groups.len() >= done + 6 {
                prop_assert!(!by_groups(&groups[done..done + 4], &mut single[..4]));
            }
        }

        #[test]
        fn a_text_that_decodes_is_the_only_one_for_its_bytes(text in "[A-Da-d0-3+/=]{0,12}") {
            let mut out = Vec::new();
            if decode(text.as_bytes(), &mut out) {
                prop_assert_eq!(encode(&out), text);
            }
        }
    }
}
