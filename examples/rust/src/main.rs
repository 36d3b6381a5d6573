//! Prints the version, table and keys of each change:
//!
//!     cargo run -- tcp://127.0.0.1:5560 shop/all_tables/

use std::error::Error;

use capnp::message::ReaderOptions;
use capnp::serialize::read_message_from_flat_slice as read;
use envelope_capnp::{columns, data_change_record, header, mod_, value};

#[allow(clippy::all)]
mod envelope_capnp {
    include!(concat!(env!("OUT_DIR"), "/envelope_capnp.rs"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, endpoint, topic] = arguments.as_slice() else {
        return Err("usage: example ENDPOINT TOPIC".into());
    };
    let socket = zmq::Context::new().socket(zmq::SUB)?;
    socket.connect(endpoint)?;
    socket.set_subscribe(topic.as_bytes())?;
    loop {
        let frames = socket.recv_multipart(0)?; // topic, header, columns, body
        let message = read(&mut frames[1].as_slice(), ReaderOptions::new())?;
        let header = message.get_root::<header::Reader>()?;
        if header.get_format_major() > 1
            || header.get_required_features() != 0
            || header.get_body_encoding() != Ok(header::BodyEncoding::None)
        {
            return Err("this message needs a newer reader".into());
        }
        if header.get_kind() != Ok(header::Kind::Changes) {
            continue; // a tick, a notice
        }
        let columns = read(&mut frames[2].as_slice(), ReaderOptions::new())?;
        let mut body = frames[3].as_slice();
        let mut options = ReaderOptions::new();
        options.traversal_limit_in_words(Some(body.len()));
        while !body.is_empty() {
            let record = read(&mut body, options)?;
            print(columns.get_root()?, record.get_root()?)?;
        }
    }
}

fn print(columns: columns::Reader, record: data_change_record::Reader) -> Result<(), Box<dyn Error>> {
    let table = columns.get_table()?.to_str()?;
    let keys: Vec<_> = columns.get_columns()?.iter().filter(|column| column.get_is_primary_key()).collect();
    let committed = record.get_commit_timestamp();
    let transaction = record.get_server_transaction_id()?.to_str()?;
    let sequence = record.get_record_sequence()?.to_str()?;
    for change in record.get_mods()? {
        let (seconds, nanos) = (committed.get_seconds(), committed.get_nanos());
        print!("{seconds}.{nanos:09}/{transaction}/{sequence}/{} {table}", change.get_number());
        match change.which()? {
            mod_::Json(text) => print!(" {}", text.get_keys()?.to_str()?),
            // A list may be shorter than its columns: what is not there is missing.
            mod_::Typed(typed) => {
                for (column, cell) in keys.iter().zip(typed.get_keys()?) {
                    print!(" {}=", column.get_name()?.to_str()?);
                    match cell.which()? {
                        value::Int64(number) => print!("{number}"),
                        value::Text(text) => print!("{}", text?.to_str()?),
                        value::Null(()) => print!("NULL"),
                        _ => print!("..."),
                    }
                }
            }
        }
        println!();
    }
    Ok(())
}
