//! The envelope stage alone: records of 20 changes with about 400 bytes of JSON each become a
//! body; and a received body is walked over and read.

use std::hint::black_box;

use divan::counter::{BytesCount, ItemsCount};
use spanwire_benches::sample::Sample;
use spanwire_core::envelope::{Body, Values, read};

fn main() {
    divan::main();
}

/// Records a round: bodies of about 64 KiB and more.
const RECORDS: usize = 10;

fn write(bencher: divan::Bencher<'_, '_>, values: Values) {
    let sample = Sample::new();
    let mods = sample.mods();
    let record = sample.record(&mods);
    let columns = sample.columns();
    let mut body = Body::default();
    let mut buffer = Vec::with_capacity(1 << 18);
    bencher
        .counter(ItemsCount::new(RECORDS * record.mods.len()))
        .counter(BytesCount::new(RECORDS * sample.json_bytes()))
        .bench_local(|| {
            body.replace_buffer(std::mem::take(&mut buffer));
            for _ in 0..RECORDS {
                body.append(black_box(&record), &columns, values).unwrap();
            }
            buffer = body.replace_buffer(Vec::new());
            black_box(buffer.len())
        });
}

#[divan::bench]
fn write_json(bencher: divan::Bencher<'_, '_>) {
    write(bencher, Values::Json);
}

#[divan::bench]
fn write_typed(bencher: divan::Bencher<'_, '_>) {
    write(bencher, Values::Typed);
}

fn bodies(values: Values) -> (Vec<u8>, usize, Sample) {
    let sample = Sample::new();
    let mut body = Body::default();
    let (mods, columns) = (sample.mods(), sample.columns());
    for _ in 0..RECORDS {
        body.append(&sample.record(&mods), &columns, values).unwrap();
    }
    drop(mods);
    let count = body.count() as usize;
    (body.into_buffer(), count, sample)
}

/// What who counts or skips pays: each record is checked, each mod visited.
#[divan::bench]
fn read_and_count(bencher: divan::Bencher<'_, '_>) {
    let (body, count, _) = bodies(Values::Typed);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut numbers = 0;
        for record in read::records(black_box(&body)) {
            for each in record.unwrap().mods().unwrap() {
                numbers += each.number();
            }
        }
        numbers
    });
}

/// Every value looked at.
#[divan::bench]
fn read_every_value(bencher: divan::Bencher<'_, '_>) {
    let (body, count, sample) = bodies(Values::Typed);
    let columns = sample.columns();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for record in read::records(black_box(&body)) {
            for each in record.unwrap().mods().unwrap() {
                for list in [each.keys(&columns), each.new_values(&columns), each.old_values(&columns)] {
                    for cell in list.unwrap() {
                        black_box(cell.unwrap());
                    }
                }
            }
        }
    });
}

/// JSON values made typed at the consumer.
#[divan::bench]
fn read_json_as_typed(bencher: divan::Bencher<'_, '_>) {
    let (body, count, sample) = bodies(Values::Json);
    let columns = sample.columns();
    bencher.counter(ItemsCount::new(count)).bench_local(|| read::typed(black_box(&body), &columns).unwrap());
}
