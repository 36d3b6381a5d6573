//! Requests and replies of feeds, between the words of the output and those of the envelope.

use crate::envelope::{self, ReplyKind, RequestKind};
use crate::error::Result;
use crate::output::{Answer, Ask, Codec, Reason, Reply, Request};

/// Reads requests and writes replies.
pub const CODEC: Codec = Codec { request, reply };

fn request(frame: &[u8]) -> Result<Request> {
    let request = envelope::Request::decode(frame)?;
    let ask = match request.kind {
        RequestKind::Hello => Ask::Hello,
        RequestKind::Credit => Ask::Credit,
        RequestKind::Cancel => Ask::Cancel,
        RequestKind::Ping => Ask::Ping,
        RequestKind::Heads => Ask::Heads,
        RequestKind::Repair => Ask::Repair,
        RequestKind::Feed => Ask::Feed,
        other => Ask::Other(other.name()),
    };
    Ok(Request {
        ask,
        id: request.id,
        credit: request.credit,
        output: request.output,
        topics: request.topics,
        stream: request.stream,
        incarnation: request.incarnation,
        partition: request.partition,
        epoch: request.epoch,
        first: request.first,
        last: request.last,
    })
}

fn reply(reply: &Reply) -> Vec<u8> {
    let (kind, reason) = match reply.answer {
        Answer::Welcome => (ReplyKind::Welcome, envelope::Reason::Unspecified),
        Answer::Message => (ReplyKind::Message, envelope::Reason::Unspecified),
        Answer::Done => (ReplyKind::Done, envelope::Reason::Unspecified),
        Answer::Pong => (ReplyKind::Pong, envelope::Reason::Unspecified),
        Answer::Refused(reason) => (ReplyKind::Refused, of_reason(reason)),
    };
    let reply = envelope::Reply {
        kind,
        id: reply.id,
        stream: reply.stream,
        oldest: reply.oldest,
        reason,
        text: reply.text.clone(),
        ..envelope::Reply::default()
    };
    reply.encode()
}

fn of_reason(reason: Reason) -> envelope::Reason {
    match reason {
        Reason::Malformed => envelope::Reason::Malformed,
        Reason::UnknownKind => envelope::Reason::UnknownKind,
        Reason::UnknownOutput => envelope::Reason::UnknownOutput,
        Reason::Gone => envelope::Reason::Gone,
        Reason::OtherStream => envelope::Reason::OtherStream,
        Reason::TooMany => envelope::Reason::TooMany,
        Reason::Busy => envelope::Reason::Busy,
        Reason::NeverSent => envelope::Reason::NeverSent,
        Reason::OutOfOrder => envelope::Reason::OutOfOrder,
        Reason::TooLarge => envelope::Reason::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_of_the_schema() {
        for (reason, name) in Reason::ALL {
            assert_eq!(of_reason(reason).name(), name);
        }
    }

    #[test]
    fn what_a_feed_does_not_serve_keeps_its_name() {
        let frame = envelope::Request { kind: RequestKind::Snapshot, id: 7, ..Default::default() }.encode();
        let read = request(&frame.unwrap()).unwrap();
        assert_eq!((read.ask, read.id), (Ask::Other("snapshot"), 7));
        assert!(request(b"garbage").is_err());
    }
}
