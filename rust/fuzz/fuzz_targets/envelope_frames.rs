//! A received header, columns, tick, dead letter, request or reply, whatever its bytes: refused, or what was
//! read is what is read again once it is written anew.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire_core::envelope::{Columns, DeadLetter, Header, Reply, Request, Tick, set_sent_at};

fuzz_target!(|frame: &[u8]| {
    let mut stamped = frame.to_vec();
    set_sent_at(&mut stamped, 1);
    if let Ok(header) = Header::decode(frame) {
        let mut again = header.encode();
        assert_eq!(Header::decode(&again).expect("it was written so"), header);
        set_sent_at(&mut again, 1);
        assert_eq!(Header::decode(&again).expect("it was written so"), Header { sent_at: 1, ..header });
    }
    if let Ok(tick) = Tick::decode(frame) {
        assert_eq!(Tick::decode(&tick.encode()).expect("it was written so"), tick);
    }
    if let Ok(letter) = DeadLetter::decode(frame) {
        assert_eq!(DeadLetter::decode(&letter.encode()).expect("it was written so"), letter);
    }
    if let Ok(request) = Request::decode(frame) {
        // Many texts may lie in one place: written apart they can be more than a request may have.
        if let Ok(again) = request.encode() {
            assert_eq!(Request::decode(&again).expect("it was written so"), request);
        }
    }
    if let Ok(reply) = Reply::decode(frame) {
        assert_eq!(Reply::decode(&reply.encode()).expect("it was written so"), reply);
    }
    if let Ok(columns) = Columns::decode(frame) {
        let again = Columns::new(columns.table(), columns.columns().to_vec());
        let read = Columns::decode(&again.frame()).expect("it was written so");
        assert_eq!((read.table(), read.columns()), (columns.table(), columns.columns()));
    }
});
