//! Prints changes in canonical form (docs/canonical.md):
//!
//!     consume TOPIC COUNT ENDPOINT...
//!
//! ends after COUNT changes. A line `joined` on stderr says that ticks came from every endpoint:
//! nothing that is sent from then on is missed.

mod canonical;
mod json_text;

use std::collections::HashSet;
use std::error::Error;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::{BufferSegments, read_message_from_flat_slice};
use envelope_capnp::{columns, data_change_record, header};

#[allow(clippy::all)]
mod envelope_capnp {
    include!(concat!(env!("OUT_DIR"), "/envelope_capnp.rs"));
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FORMAT_MAJOR: u16 = 1;
/// The bits of requiredFeatures that this reader knows.
const FEATURES: u64 = 0;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("consume: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [topic, count, endpoints @ ..] = arguments else { return Err("TOPIC COUNT ENDPOINT...".into()) };
    let mut left: usize = count.parse()?;
    let socket = zmq::Context::new().socket(zmq::SUB)?;
    socket.set_rcvhwm(0)?;
    for endpoint in endpoints {
        socket.connect(endpoint)?;
    }
    socket.set_subscribe(topic.as_bytes())?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut senders = HashSet::new();
    while left > 0 {
        let frames = socket.recv_multipart(0)?;
        let [_topic, header, columns, body] = frames.as_slice() else { return Err("not four frames".into()) };
        let header = message(&mut header.as_slice())?;
        let header = header.get_root::<header::Reader>()?;
        accept(header)?;
        match header.get_kind() {
            Ok(header::Kind::Tick) => {
                let is_new = senders.insert(header.get_partition()?.to_vec());
                if is_new && senders.len() == endpoints.len() {
                    eprintln!("joined");
                }
            }
            Ok(header::Kind::Changes) => {
                let columns = message(&mut columns.as_slice())?;
                let shape = canonical::Shape::new(columns.get_root::<columns::Reader>()?)?;
                let mut body = body.as_slice();
                while !body.is_empty() {
                    let record = message(&mut body)?;
                    let record = record.get_root::<data_change_record::Reader>()?;
                    for change in record.get_mods()?.iter().take(left) {
                        writeln!(out, "{}", canonical::line(record, change, &shape)?)?;
                        left -= 1;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(out.flush()?)
}

/// The message that the bytes begin with; they go on behind it.
fn message<'a>(bytes: &mut &'a [u8]) -> Result<Reader<BufferSegments<&'a [u8]>>> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(bytes.len()));
    Ok(read_message_from_flat_slice(bytes, options)?)
}

/// Refuses a message that takes a newer reader.
fn accept(header: header::Reader) -> Result<()> {
    let (major, unknown) = (header.get_format_major(), header.get_required_features() & !FEATURES);
    if major > FORMAT_MAJOR {
        let what = format!("formatMajor {major}, and this reader knows {FORMAT_MAJOR}");
        return Err(format!("refused: {what}: get a newer one").into());
    }
    if unknown != 0 {
        let what = format!("requiredFeatures {unknown:#x}, which this reader does not know");
        return Err(format!("refused: {what}: get a newer one").into());
    }
    if header.get_body_encoding() != Ok(header::BodyEncoding::None) {
        return Err("refused: a bodyEncoding that this reader does not know: get a newer one".into());
    }
    Ok(())
}
