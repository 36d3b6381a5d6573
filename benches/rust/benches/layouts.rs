//! Two layouts of a typed value, measured before the wire format was frozen; `docs/envelope.md`
//! says what came of it.
//!
//! - `union24`: Cap'n Proto's union, 16 bytes of data and a pointer, as `envelope.capnp` has it.
//! - `heap16`: 16 bytes of data without a pointer; texts lie in one heap per change, and a cell
//!   holds offset and length.
//!
//! Both are written from the same decoded values and read with the same checks (bounds, UTF-8), so
//! that the layout is all that differs. A third row, `through_capnp`, reads `union24` with the
//! generated readers, as consumers in other languages do.

// Sizes here are small and known.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_precision_loss)]
#![allow(clippy::cast_sign_loss)]
#![allow(clippy::similar_names)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use spanwire_benches::sample::{CHANGES, Sample};
use spanwire_core::envelope::envelope_capnp as schema;

fn main() {
    let mods = decoded();
    let bytes = |len: usize| len as f64 / CHANGES as f64;
    let text: usize =
        mods.iter().flatten().map(|value| if let Decoded::Text(text) = value { text.len() } else { 0 }).sum();
    println!(
        "bytes a change: union24 {:.0}, heap16 {:.0}; of which text {:.0}; {} values",
        bytes(union24(&mods, Vec::new()).len()),
        bytes(heap16(&mods, Vec::new()).len()),
        bytes(text),
        mods[0].len()
    );
    divan::main();
}

#[derive(Clone, Copy)]
enum Decoded<'a> {
    Bool(bool),
    Int64(i64),
    Float64(f64),
    Text(&'a str),
    Timestamp(i64, u32),
}

/// The values of the sample's record, decoded.
fn decoded() -> Vec<Vec<Decoded<'static>>> {
    let leak = |text: String| Decoded::Text(Box::leak(text.into_boxed_str()));
    assert_eq!(Sample::new().columns().columns().len(), 10);
    (0..CHANGES)
        .map(|number| {
            vec![
                Decoded::Int64(7_000_000_000 + number as i64),
                leak("eu-west".into()),
                leak(format!("{}.25", 100 + number)),
                leak(format!("customer-{number:08}")),
                leak(format!(r#"{{"items":[{{"sku":"A-{number:05}","count":3}}]}}"#)),
                leak("left at the door of the neighbour, who was told by telephone; call again before the next delivery, please".into()),
                Decoded::Bool(true),
                Decoded::Timestamp(1_795_456_232, 669_400_000),
                Decoded::Int64(number as i64),
                Decoded::Float64(12.5),
            ]
        })
        .collect()
}

fn push(out: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn pad(out: &mut Vec<u8>) {
    let end = out.len().next_multiple_of(8);
    out.extend_from_slice(&[0; 8]);
    out.truncate(end);
}

fn set(out: &mut [u8], word: usize, value: u64) {
    out[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
}

fn offset(from: usize, to: usize) -> u64 {
    u64::from((to as i64 - from as i64 - 1) as u32) << 2 & 0xFFFF_FFFF
}

/// A whole message: a record without its texts, mods with one list each.
fn begin(mods: usize, mut out: Vec<u8>) -> (Vec<u8>, usize) {
    out.clear();
    push(&mut out, &[5 << 32 | 4 << 48]);
    push(&mut out, &[0; 8]);
    let tag = out.len() / 8 + 1;
    push(
        &mut out,
        &[offset(9, tag) | 1 | 7 << 32 | (mods as u64 * 5) << 35, (mods as u64) << 2 | 1 << 32 | 4 << 48],
    );
    let first = out.len() / 8;
    out.resize(out.len() + mods * 40, 0);
    (out, first)
}

fn union24(mods: &[Vec<Decoded<'_>>], out: Vec<u8>) -> Vec<u8> {
    let (mut out, first) = begin(mods.len(), out);
    let mut cells = [[0_u64; 3]; 16];
    for (number, values) in mods.iter().enumerate() {
        for (cell, value) in cells.iter_mut().zip(values) {
            *cell = match *value {
                Decoded::Bool(value) => [2 | u64::from(value) << 16, 0, 0],
                Decoded::Int64(value) => [3, value.cast_unsigned(), 0],
                Decoded::Float64(value) => [4, value.to_bits(), 0],
                Decoded::Timestamp(seconds, nanos) => {
                    [7 | u64::from(nanos) << 32, seconds.cast_unsigned(), 0]
                }
                Decoded::Text(text) => {
                    let at = out.len() / 8;
                    out.extend_from_slice(text.as_bytes());
                    out.push(0);
                    pad(&mut out);
                    [5, 0, (at as u64) << 2 | 1 | 2 << 32 | (text.len() as u64 + 1) << 35]
                }
            };
        }
        let tag = out.len() / 8;
        push(&mut out, &[(values.len() as u64) << 2 | 2 << 32 | 1 << 48]);
        for (place, [head, word, pointer]) in cells[..values.len()].iter().enumerate() {
            let at = tag + 1 + place * 3 + 2;
            let low = (*pointer as u32).wrapping_sub((at as u32 + 1) << 2);
            let pointer = if *pointer == 0 { 0 } else { *pointer & !0xFFFF_FFFF | u64::from(low) };
            push(&mut out, &[*head, *word, pointer]);
        }
        let at = first + number * 5;
        set(&mut out, at, number as u64);
        set(&mut out, at + 1, offset(at + 1, tag) | 1 | 7 << 32 | (values.len() as u64 * 3) << 35);
    }
    out
}

fn heap16(mods: &[Vec<Decoded<'_>>], out: Vec<u8>) -> Vec<u8> {
    let (mut out, first) = begin(mods.len(), out);
    let mut cells = [[0_u64; 2]; 16];
    for (number, values) in mods.iter().enumerate() {
        let heap = out.len();
        for (cell, value) in cells.iter_mut().zip(values) {
            *cell = match *value {
                Decoded::Bool(value) => [2 | u64::from(value) << 16, 0],
                Decoded::Int64(value) => [3, value.cast_unsigned()],
                Decoded::Float64(value) => [4, value.to_bits()],
                Decoded::Timestamp(seconds, nanos) => [7 | u64::from(nanos) << 32, seconds.cast_unsigned()],
                Decoded::Text(text) => {
                    let at = out.len() - heap;
                    out.extend_from_slice(text.as_bytes());
                    [5 | (text.len() as u64) << 32, at as u64]
                }
            };
        }
        let length = out.len() - heap;
        pad(&mut out);
        let tag = out.len() / 8;
        push(&mut out, &[(values.len() as u64) << 2 | 2 << 32]);
        for cell in &cells[..values.len()] {
            push(&mut out, cell);
        }
        let at = first + number * 5;
        set(&mut out, at, number as u64);
        set(&mut out, at + 1, offset(at + 1, tag) | 1 | 7 << 32 | (values.len() as u64 * 2) << 35);
        set(&mut out, at + 4, offset(at + 4, heap / 8) | 1 | 2 << 32 | (length as u64) << 35);
    }
    out
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at * 8..)?.first_chunk()?))
}

/// Where a pointer points, and the count in it.
fn follow(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let pointer = word(bytes, at)?;
    let target = (at + 1).checked_add_signed(((pointer as u32).cast_signed() >> 2) as isize)?;
    Some((target, (pointer >> 35) as usize))
}

fn mods_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let (tag, _) = follow(bytes, 9)?;
    Some((tag + 1, (word(bytes, tag)? as u32 >> 2) as usize))
}

fn use_text(text: &[u8]) -> Option<u64> {
    black_box(std::str::from_utf8(text).ok()?);
    Some(text.len() as u64)
}

fn read_union24(bytes: &[u8]) -> Option<u64> {
    let mut sum = 0_u64;
    let (first, mods) = mods_of(bytes)?;
    for number in 0..mods {
        let (tag, _) = follow(bytes, first + number * 5 + 1)?;
        for cell in 0..word(bytes, tag)? as u32 as usize >> 2 {
            let at = tag + 1 + cell * 3;
            let head = word(bytes, at)?;
            sum = sum.wrapping_add(match head as u16 {
                2 => head >> 16,
                3 | 4 => word(bytes, at + 1)?,
                5 => {
                    let (target, count) = follow(bytes, at + 2)?;
                    use_text(bytes.get(target * 8..target * 8 + count - 1)?)?
                }
                7 => (head >> 32).wrapping_add(word(bytes, at + 1)?),
                _ => return None,
            });
        }
    }
    Some(sum)
}

fn read_heap16(bytes: &[u8]) -> Option<u64> {
    let mut sum = 0_u64;
    let (first, mods) = mods_of(bytes)?;
    for number in 0..mods {
        let (tag, _) = follow(bytes, first + number * 5 + 1)?;
        let (heap, length) = follow(bytes, first + number * 5 + 4)?;
        let heap = bytes.get(heap * 8..heap * 8 + length)?;
        for cell in 0..word(bytes, tag)? as u32 as usize >> 2 {
            let at = tag + 1 + cell * 2;
            let head = word(bytes, at)?;
            sum = sum.wrapping_add(match head as u16 {
                2 => head >> 16,
                3 | 4 => word(bytes, at + 1)?,
                5 => {
                    let start = word(bytes, at + 1)? as usize;
                    use_text(heap.get(start..)?.get(..(head >> 32) as usize)?)?
                }
                7 => (head >> 32).wrapping_add(word(bytes, at + 1)?),
                _ => return None,
            });
        }
    }
    Some(sum)
}

fn read_through_capnp(segment: &[u8]) -> capnp::Result<u64> {
    use schema::value::Which;
    let segments = [segment];
    let message = capnp::message::Reader::new(
        capnp::message::SegmentArray::new(&segments),
        capnp::message::ReaderOptions::new(),
    );
    let record = message.get_root::<schema::data_change_record::Reader<'_>>()?;
    let mut sum = 0_u64;
    for each in record.get_mods()? {
        let schema::mod_::Which::Typed(typed) = each.which()? else { continue };
        for value in typed.get_keys()? {
            sum = sum.wrapping_add(match value.which()? {
                Which::Bool(value) => u64::from(value),
                Which::Int64(value) => value.cast_unsigned(),
                Which::Float64(value) => value.to_bits(),
                Which::Text(text) => {
                    let text = text?.to_str()?;
                    black_box(text).len() as u64
                }
                Which::Timestamp(value) => {
                    u64::from(value.get_nanos()).wrapping_add(value.get_seconds().cast_unsigned())
                }
                _ => 0,
            });
        }
    }
    Ok(sum)
}

fn write(bencher: divan::Bencher<'_, '_>, layout: fn(&[Vec<Decoded<'_>>], Vec<u8>) -> Vec<u8>) {
    let mods = decoded();
    let mut out = Vec::with_capacity(1 << 16);
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| {
        out = layout(black_box(&mods), std::mem::take(&mut out));
        black_box(out.len())
    });
}

#[divan::bench(sample_size = 100)]
fn write_union24(bencher: divan::Bencher<'_, '_>) {
    write(bencher, union24);
}

#[divan::bench(sample_size = 100)]
fn write_heap16(bencher: divan::Bencher<'_, '_>) {
    write(bencher, heap16);
}

fn read(bencher: divan::Bencher<'_, '_>, bytes: &[u8], reader: impl Fn(&[u8]) -> Option<u64>) {
    let expected = read_union24(&union24(&decoded(), Vec::new())).unwrap();
    assert_eq!(reader(bytes), Some(expected), "all readers find the same");
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| reader(black_box(bytes)));
}

#[divan::bench(sample_size = 100)]
fn read_union24_by_hand(bencher: divan::Bencher<'_, '_>) {
    read(bencher, &union24(&decoded(), Vec::new()), read_union24);
}

#[divan::bench(sample_size = 100)]
fn read_heap16_by_hand(bencher: divan::Bencher<'_, '_>) {
    read(bencher, &heap16(&decoded(), Vec::new()), read_heap16);
}

#[divan::bench(sample_size = 100)]
fn read_union24_through_capnp(bencher: divan::Bencher<'_, '_>) {
    read(bencher, &union24(&decoded(), Vec::new()), |bytes| read_through_capnp(bytes).ok());
}
