//! What peers ask of a feed and what it answers. How that is written in a frame is the envelope's matter: a
//! [`Codec`] comes from outside.

use crate::change::Timestamp;
use crate::error::Result;

/// The largest request, in bytes of all its frames.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Who are you? A welcome.
    Hello,
    /// The peer takes more bytes in an exchange.
    Credit,
    /// An exchange is over.
    Cancel,
    /// Still there? A pong.
    Ping,
    /// The next tick tells every head, and comes at once.
    Heads,
    /// Messages of one flow, by their sequences.
    Repair,
    /// Everything from now on.
    Feed,
    /// Something that is not served here; its name.
    Other(&'static str),
}

/// What a peer asks: the fields of the envelope's request that a feed looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub ask: Ask,
    /// The exchange, by the peer's own number.
    pub id: u64,
    /// Bytes of message frames that the peer takes in this exchange, from its beginning.
    pub credit: u64,
    /// Which output of the relay a flow goes through.
    pub output: u16,
    /// Beginnings of topics; of a repair, the flow's own.
    pub topics: Vec<String>,
    /// Names the stream; none: whatever it is.
    pub stream: Option<[u8; 16]>,
    /// The relay process of a flow.
    pub incarnation: u64,
    /// The partition of a flow.
    pub partition: Option<[u8; 16]>,
    /// The epoch of a flow.
    pub epoch: u64,
    /// The first message of a flow that is asked for.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Who we are, or: the exchange begins.
    Welcome,
    /// A message, in the frames behind.
    Message,
    /// The exchange is over: all was sent.
    Done,
    /// It is over, or never began.
    Refused(Reason),
    /// To a ping.
    Pong,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What.
    pub answer: Answer,
    /// The exchange.
    pub id: u64,
    /// Names the stream.
    pub stream: Option<[u8; 16]>,
    /// The oldest commit timestamp that can still be had here.
    pub oldest: Option<Timestamp>,
    /// A refusal in words.
    pub text: String,
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not a request, or one that says what cannot be.
    Malformed,
    /// Not served here.
    UnknownKind,
    /// Another output's flow.
    UnknownOutput,
    /// It cannot be had any more.
    Gone,
    /// This relay reads another stream.
    OtherStream,
    /// Too many peers or exchanges.
    TooMany,
    /// Not now.
    Busy,
    /// Of an exchange that never began.
    NeverSent,
    /// Something else had to come first.
    OutOfOrder,
    /// Too large.
    TooLarge,
}

impl Reason {
    /// All, in the order of their declaration, with their names in the schema.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Malformed, "malformed"),
        (Self::UnknownKind, "unknownKind"),
        (Self::UnknownOutput, "unknownOutput"),
        (Self::Gone, "gone"),
        (Self::OtherStream, "otherStream"),
        (Self::TooMany, "tooMany"),
        (Self::Busy, "busy"),
        (Self::NeverSent, "neverSent"),
        (Self::OutOfOrder, "outOfOrder"),
        (Self::TooLarge, "tooLarge"),
    ];
}

/// Reads and writes frames.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// Reads a request's frame.
    pub request: fn(frame: &[u8]) -> Result<Request>,
    /// Writes a reply's.
    pub reply: fn(reply: &Reply) -> Vec<u8>,
}
