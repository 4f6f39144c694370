//! Any message as a tree of named values, read by its table alone: for debugging, and for tests that print what failed.
//!
//! Rules this folder keeps:
//! - nothing here uses the generated codecs or their reader, so that a tree is a second opinion about the same bytes;
//! - a fault ends the reading and loses nothing: what was read before it stays, and the fault says where it was;
//! - every byte of a body belongs to exactly one place of the tree, in order;
//! - a value whose rule says `secret` never enters a tree;
//! - a tree has at most [`MAX_NODES`] nodes and is as deep as its table, whatever the bytes say.

mod embedded;
mod frame;
mod print;
mod read;
mod records;
mod words;

use std::{fmt, ops::Range};

use bytes::Bytes;

use super::{DecodeFault, Kind, Str, Table, Uuid};

pub use embedded::embedded;
pub use frame::{Direction, FrameTree, Guess, guess_response};
pub use print::{Print, SHOWN_BYTES};
pub use records::{BatchTree, BatchTrees, MAX_BATCH_BYTES, RecordTrees, batches};
pub use words::{utc, words};

/// The most nodes of one tree, some 200 MB of memory. What is beyond is a fault.
pub const MAX_NODES: usize = 2_000_000;

/// What could be read of a body.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The name of the message in Kafka's specifications.
    pub name: &'static str,
    /// The version it was read in.
    pub version: i16,
    /// The body; with a fault, what stands before it.
    pub root: Node,
    /// Why the reading ended early, if it did.
    pub fault: Option<Fault>,
}

impl Tree {
    /// Reads `body` as `version` of the message that `table` describes.
    pub fn read(table: &Table, version: i16, body: Bytes) -> Self {
        Self::read_at(table, version, &body, 0)
    }

    /// Reads what is behind the first `start` bytes of a frame; offsets count from the frame's first byte.
    pub fn read_at(table: &Table, version: i16, frame: &Bytes, start: usize) -> Self {
        read::read(table, version, frame, start, read::Leftover::Fault)
    }
}

impl fmt::Display for Tree {
    /// The tree as [`Print`] writes it, with the fault at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        Print::default().tree(self, &mut out).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// One value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The field's name; empty for elements of an array and for the tree's root.
    pub name: &'static str,
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// Its type.
    pub kind: &'static Kind,
    /// Its value.
    pub value: Value,
    /// Where it stands in the frame, with what is in front of it: tag, length, count, mark of presence.
    pub bytes: Range<usize>,
    /// How many bytes are in front of the value itself.
    pub head: usize,
}

impl Node {
    /// The nodes inside, if this one has any.
    pub fn children(&self) -> &[Node] {
        match &self.value {
            Value::Array(nodes) | Value::Struct(nodes) | Value::Tags(nodes) => nodes,
            _ => &[],
        }
    }
}

/// What a node holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, where the version allows that.
    Null,
    /// A truth value: any byte but zero is true.
    Bool(bool),
    /// A number of any width.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(Str),
    /// An id.
    Uuid(Uuid),
    /// Bytes; [`embedded`] knows what is in some of them.
    Bytes(Bytes),
    /// Record batches; [`batches`] reads them.
    Records(Bytes),
    /// Something that must not be seen, of so many bytes.
    Secret(usize),
    /// The elements of an array.
    Array(Vec<Node>),
    /// The fields of a structure; the last is [`Tags`](Value::Tags) in versions with tagged fields.
    Struct(Vec<Node>),
    /// The tagged fields of a structure; those the table does not know are bytes without a name.
    Tags(Vec<Node>),
}

/// Where a body is not what its table says, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How many bytes into the frame.
    pub at: usize,
    /// The field, such as `topics[2].name`; empty where it is the message as a whole.
    pub path: String,
    /// What should have been there.
    pub expected: &'static str,
    /// What was wrong; `None` where there is no table to say what should be there.
    pub fault: Option<DecodeFault>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, path, expected, fault } = self;
        let Some(fault) = *fault else { return write!(f, "at byte {at}: there is no table for {expected}") };
        // The error's own text has the place in front, too.
        let error = super::DecodeError { at: *at, fault };
        if matches!(fault, DecodeFault::Version(_)) {
            return write!(f, "{error}");
        }
        let error = error.to_string();
        let why = error.split_once(": ").map_or(error.as_str(), |(_, why)| why);
        match path.as_str() {
            "" => write!(f, "at byte {at}, where {expected} should be: {why}"),
            path => write!(f, "at byte {at}, in {path}, where {expected} should be: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;
