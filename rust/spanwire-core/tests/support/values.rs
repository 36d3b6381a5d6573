//! `google.protobuf.Value`s as trees: written, and cut as Spanner cuts them. Used by the tests and
//! by the fuzz targets. An encoder of its own, so that reader and writer share no mistake.

#![allow(dead_code)] // each user takes what it needs

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Tree>),
    /// Names are unique.
    Struct(Vec<(String, Tree)>),
}

/// Chooses a number below the one it is given, which is at least 1.
pub type Choose<'c> = dyn FnMut(usize) -> usize + 'c;

pub fn text(text: &str) -> Tree {
    Tree::Text(text.into())
}

pub fn list(elements: impl Into<Vec<Tree>>) -> Tree {
    Tree::List(elements.into())
}

impl Tree {
    /// The encoded `google.protobuf.Value`.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Null => vec![0x08, 0],
            Self::Bool(value) => vec![0x20, u8::from(*value)],
            Self::Number(value) => [&[0x11][..], &value.to_le_bytes()].concat(),
            Self::Text(text) => field(3, text.as_bytes()),
            Self::List(elements) => {
                let body: Vec<u8> = elements.iter().flat_map(|element| field(1, &element.encode())).collect();
                field(6, &body)
            }
            Self::Struct(fields) => {
                let entry = |(name, value): &(String, Self)| {
                    field(1, &[field(1, name.as_bytes()), field(2, &value.encode())].concat())
                };
                field(5, &fields.iter().flat_map(entry).collect::<Vec<_>>())
            }
        }
    }

    /// Cuts it into one piece more than there are cuts; a value that cannot be cut stays whole.
    pub fn cut(&self, cuts: usize, choose: &mut Choose<'_>) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut rest = self.clone();
        for _ in 0..cuts {
            let Some((head, tail)) = rest.split(choose) else { break };
            pieces.push(head);
            rest = tail;
        }
        pieces.push(rest);
        pieces
    }

    fn split(&self, choose: &mut Choose<'_>) -> Option<(Self, Self)> {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => None,
            Self::Text(text) => {
                let ends: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
                let (head, tail) = text.split_at(ends[choose(ends.len())]);
                Some((Self::Text(head.into()), Self::Text(tail.into())))
            }
            Self::List(elements) => {
                let at = choose(elements.len() + 1);
                let (mut head, mut tail) = (elements[..at].to_vec(), elements[at..].to_vec());
                if choose(2) == 0
                    && let Some((a, b)) = tail.first().and_then(|element| element.split(choose))
                {
                    head.push(a);
                    tail[0] = b;
                } else if let (Some(last), false) = (head.last(), tail.is_empty() && choose(2) == 0) {
                    // A cut behind a value that could be cut is a cut through it: its rest is empty.
                    tail.splice(0..0, last.rest());
                }
                Some((Self::List(head), Self::List(tail)))
            }
            Self::Struct(fields) => {
                let at = choose(fields.len() + 1);
                let (mut head, mut tail) = (fields[..at].to_vec(), fields[at..].to_vec());
                if choose(2) == 0
                    && let Some((name, value)) = tail.first()
                    && let Some((a, b)) = value.split(choose)
                {
                    head.push((name.clone(), a));
                    tail[0].1 = b;
                }
                Some((Self::Struct(head), Self::Struct(tail)))
            }
        }
    }

    /// The empty value of its kind, where values of its kind can be cut.
    fn rest(&self) -> Option<Self> {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => None,
            Self::Text(_) => Some(Self::Text(String::new())),
            Self::List(_) => Some(Self::List(Vec::new())),
            Self::Struct(_) => Some(Self::Struct(Vec::new())),
        }
    }
}

/// A length-delimited field.
pub fn field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number << 3 | 2));
    out.extend(varint(payload.len() as u64));
    out.extend_from_slice(payload);
    out
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

/// A `google.spanner.v1.PartialResultSet`.
pub fn message(values: &[Tree], chunked: bool, token: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = values.iter().flat_map(|value| field(2, &value.encode())).collect();
    if chunked {
        out.extend([0x18, 1]);
    }
    if !token.is_empty() {
        out.extend(field(4, token));
    }
    out
}

/// Messages that carry the values, cut and grouped as `choose` says, with fillers and resume
/// tokens between. A token is the number of its message, in text.
pub fn messages(values: &[Tree], choose: &mut Choose<'_>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut open: Vec<Tree> = Vec::new();
    let mut send = |values: &mut Vec<Tree>, chunked: bool, choose: &mut Choose<'_>| {
        let token = if choose(3) == 0 { (out.len() + 1).to_string() } else { String::new() };
        out.push(message(values, chunked, token.as_bytes()));
        values.clear();
    };
    for value in values {
        let cuts = choose(4);
        let mut pieces = value.cut(cuts, choose);
        let last = pieces.pop().expect("at least one piece");
        for piece in pieces {
            open.push(piece);
            send(&mut open, true, choose);
            if choose(4) == 0 {
                send(&mut Vec::new(), false, choose); // nothing in it: the value stays half read
            }
        }
        open.push(last);
        if choose(2) == 0 {
            send(&mut open, false, choose);
        }
    }
    send(&mut open, false, choose);
    out
}

/// Choices out of bytes, from the start again when they run out.
pub fn choices(bytes: &[u8]) -> impl FnMut(usize) -> usize {
    let mut index = 0;
    move |bound| {
        let byte = bytes.get(index % bytes.len().max(1)).copied().unwrap_or(0);
        index += 1;
        // A second byte, so that long texts are cut anywhere.
        let high = bytes.get((index * 7) % bytes.len().max(1)).copied().unwrap_or(0);
        (usize::from(byte) | usize::from(high) << 8) % bound
    }
}
