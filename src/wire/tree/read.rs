//! The reader of any table: a cursor over a frame, and a walk through the table's lines.
//!
//! Rules this file keeps: it shares no code with `buf.rs` and `field.rs`, and refuses what they refuse.

use std::fmt::Write;

use bytes::Bytes;

use super::{Fault, MAX_NODES, Node, Tree, Value};
use crate::wire::{At, DecodeFault, FieldSpec, Kind, MAX_ARRAY, MAX_TAGS, Place, Str, Table, Uuid};

/// What bytes behind the last field mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// The body is not what the table says.
    Fault,
    /// Something else follows: a header is followed by its body, a newer structure by fields of its own.
    Allowed,
}

/// Reads the body behind the first `start` bytes of `frame`.
pub(super) fn read(table: &Table, version: i16, frame: &Bytes, start: usize, leftover: Leftover) -> Tree {
    let start = start.min(frame.len());
    let mut walk = Walk { frame, at: start, end: frame.len(), path: Vec::new(), nodes: MAX_NODES, fault: None };
    let at = At { version, flexible: version >= table.flexible_from, nullable: false };
    let mut fields = Vec::new();
    if table.versions.contains(&version) {
        fields = walk.structure(table.fields, at);
        if walk.fault.is_none() && walk.left() > 0 && leftover == Leftover::Fault {
            walk.fail::<()>(walk.at, "the end", DecodeFault::Leftover(walk.left()));
        }
    } else {
        walk.fail::<()>(start, "a version of the table", DecodeFault::Version(version));
    }
    let bytes = start..walk.at;
    let root = walk.close(Node { name: "", tag: None, kind: &BODY, value: Value::Struct(fields), bytes, head: 0 });
    Tree { name: table.name, version, root, fault: walk.fault }
}

/// A step of the way to a value.
#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Element(usize),
    Tag(u32),
}

struct Walk<'a> {
    frame: &'a Bytes,
    at: usize,
    /// Where the frame ends, or the tagged field that is being read.
    end: usize,
    path: Vec<Step>,
    /// How many more nodes there may be.
    nodes: usize,
    fault: Option<Fault>,
}

impl Walk<'_> {
    /// The fields that are there, then the tagged ones; ends early at a fault.
    fn structure(&mut self, fields: &'static [FieldSpec], at: At) -> Vec<Node> {
        let mut nodes = Vec::new();
        for field in fields.iter().filter(|field| field.rule.place(at) == Place::Plain) {
            nodes.extend(self.field(field, at));
            if self.fault.is_some() {
                return nodes;
            }
        }
        if at.flexible {
            nodes.extend(self.tags(fields, at));
        }
        nodes
    }

    fn field(&mut self, field: &'static FieldSpec, at: At) -> Option<Node> {
        let at = field.rule.at(at);
        let node = self.within(Step::Field(field.name), |walk| walk.node(field.name, &field.kind, at))?;
        Some(if field.rule.secret { hide(node) } else { node })
    }

    /// A node of any type; `None` at a fault with nothing to keep.
    fn node(&mut self, name: &'static str, kind: &'static Kind, at: At) -> Option<Node> {
        let start = self.at;
        if self.nodes == 0 {
            return self.fail(start, "no more than two million values", DecodeFault::TooMany(MAX_NODES));
        }
        self.nodes -= 1;
        let (head, value) = self.value(kind, at)?;
        Some(self.close(Node { name, tag: None, kind, value, bytes: start..self.at, head }))
    }

    /// Ends a node before a fault inside it, which is behind its last child.
    fn close(&self, node: Node) -> Node {
        if self.fault.is_none() {
            return node;
        }
        let end = node.children().last().map(|child| child.bytes.end);
        let end = match node.value {
            Value::Array(_) | Value::Struct(_) | Value::Tags(_) => end.unwrap_or(node.bytes.start + node.head),
            _ => node.bytes.end,
        };
        Node { bytes: node.bytes.start..end, ..node }
    }

    /// A value, and how many bytes stood in front of it.
    fn value(&mut self, kind: &'static Kind, at: At) -> Option<(usize, Value)> {
        let integer = |value: i64| Some((0, Value::Int(value)));
        match kind {
            Kind::Bool => self.array(kind).map(|[byte]| (0, Value::Bool(byte != 0))),
            Kind::Int8 => integer(i8::from_be_bytes(self.array(kind)?).into()),
            Kind::Int16 => integer(i16::from_be_bytes(self.array(kind)?).into()),
            Kind::Uint16 => integer(u16::from_be_bytes(self.array(kind)?).into()),
            Kind::Int32 => integer(i32::from_be_bytes(self.array(kind)?).into()),
            Kind::Uint32 => integer(u32::from_be_bytes(self.array(kind)?).into()),
            Kind::Int64 => integer(i64::from_be_bytes(self.array(kind)?)),
            Kind::Float64 => Some((0, Value::Float(f64::from_be_bytes(self.array(kind)?)))),
            Kind::Uuid => Some((0, Value::Uuid(Uuid(u128::from_be_bytes(self.array(kind)?))))),
            Kind::Struct { fields, .. } => self.nullable_structure(kind, fields, at),
            Kind::String | Kind::Bytes | Kind::Records | Kind::Array { .. } => self.sized(kind, at),
        }
    }

    /// A structure, with a byte in front that says whether it is there, where it may be missing.
    fn nullable_structure(
        &mut self,
        kind: &'static Kind,
        fields: &'static [FieldSpec],
        at: At,
    ) -> Option<(usize, Value)> {
        if at.nullable && i8::from_be_bytes(self.array(kind)?) < 0 {
            return Some((1, Value::Null));
        }
        Some((usize::from(at.nullable), Value::Struct(self.structure(fields, at))))
    }

    /// Something with a length or count in front.
    fn sized(&mut self, kind: &'static Kind, at: At) -> Option<(usize, Value)> {
        let start = self.at;
        let length = self.length(kind, at.flexible)?;
        let head = self.at - start;
        let Some(length) = length else {
            return if at.nullable {
                Some((head, Value::Null))
            } else {
                self.fail(start, noun(kind), DecodeFault::Null)
            };
        };
        let value = match kind {
            Kind::Array { of } => Value::Array(self.elements(start, length, of, at)?),
            Kind::String => Value::Text(self.text(length)?),
            Kind::Records => Value::Records(self.take(length, kind)?),
            _ => Value::Bytes(self.take(length, kind)?),
        };
        Some((head, value))
    }

    fn elements(&mut self, start: usize, count: usize, of: &'static Kind, at: At) -> Option<Vec<Node>> {
        if count > MAX_ARRAY {
            return self.fail(start, "an array", DecodeFault::TooMany(count));
        }
        let at = At { nullable: false, ..at };
        let mut nodes = Vec::new();
        for index in 0..count {
            nodes.extend(self.within(Step::Element(index), |walk| walk.node("", of, at)));
            if self.fault.is_some() {
                break;
            }
        }
        Some(nodes)
    }

    /// The section of tagged fields (KIP-482).
    fn tags(&mut self, fields: &'static [FieldSpec], at: At) -> Option<Node> {
        let start = self.at;
        let count = self.uvarint("the number of tagged fields")? as usize;
        let head = self.at - start;
        if count > MAX_TAGS {
            return self.fail(start, "the number of tagged fields", DecodeFault::TooMany(count));
        }
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.extend(self.tagged(fields, at));
            if self.fault.is_some() {
                break;
            }
        }
        let value = Value::Tags(nodes);
        Some(self.close(Node { name: "tags", tag: None, kind: &TAGS, value, bytes: start..self.at, head }))
    }

    fn tagged(&mut self, fields: &'static [FieldSpec], at: At) -> Option<Node> {
        let start = self.at;
        let tag = self.uvarint("a tag")?;
        let length = self.within(Step::Tag(tag), |walk| walk.uvarint("the length of a tagged field"))? as usize;
        let head = self.at - start;
        let known = fields.iter().find(|field| field.rule.place(at) == Place::Tagged(tag));
        // What is there of a known field that is cut off is read all the same.
        let end = self.end.min(self.at.saturating_add(length));
        let (missing, outer_end) = (length.saturating_sub(self.left()), std::mem::replace(&mut self.end, end));
        let node = match known {
            Some(field) => self.field(field, at),
            None => self.within(Step::Tag(tag), |walk| walk.unknown(length)),
        };
        let left = self.left();
        if self.fault.is_none() && missing + left > 0 {
            let fault = match missing {
                0 => DecodeFault::Leftover(left),
                _ => DecodeFault::Truncated { needed: missing + left, left },
            };
            self.within(Step::Tag(tag), |walk| walk.fail::<()>(walk.at, "the end", fault));
        }
        self.end = outer_end;
        node.map(|node| Node { tag: Some(tag), bytes: start..node.bytes.end, head: head + node.head, ..node })
    }

    /// A tagged field that the table does not have.
    fn unknown(&mut self, length: usize) -> Option<Node> {
        let start = self.at;
        let value = Value::Bytes(self.take(length, &Kind::Bytes)?);
        Some(Node { name: "", tag: None, kind: &Kind::Bytes, value, bytes: start..self.at, head: 0 })
    }

    /// The length in front of a string, bytes or an array; `None` inside is null.
    fn length(&mut self, kind: &'static Kind, flexible: bool) -> Option<Option<usize>> {
        let (start, noun) = (self.at, noun(kind));
        let length = match (flexible, kind) {
            // A compact length is one more than it says; zero is null.
            (true, _) => i64::from(self.uvarint(noun)?) - 1,
            (false, Kind::String) => i16::from_be_bytes(self.array(kind)?).into(),
            (false, _) => i32::from_be_bytes(self.array(kind)?).into(),
        };
        match usize::try_from(length) {
            // The elements of an array that is cut off are read as far as they are there.
            Ok(count) if matches!(kind, Kind::Array { .. }) => Some(Some(count)),
            Ok(length) => self.check(length, noun).map(|()| Some(length)),
            Err(_) if length == -1 => Some(None),
            Err(_) => self.fail(start, noun, DecodeFault::NegativeLength(length as i32)),
        }
    }

    fn text(&mut self, length: usize) -> Option<Str> {
        let start = self.at;
        if length > i16::MAX as usize {
            return self.fail(start, "a string", DecodeFault::LongString(length));
        }
        let bytes = self.take(length, &Kind::String)?;
        Str::from_utf8(bytes).ok().or_else(|| {
            self.at = start;
            self.fail(start, "a string", DecodeFault::Utf8)
        })
    }

    fn uvarint(&mut self, expected: &'static str) -> Option<u32> {
        let (start, mut value) = (self.at, 0u64);
        for index in 0..5 {
            let Some(byte) = self.frame.get(self.at).filter(|_| self.at < self.end) else { break };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                match u32::try_from(value) {
                    Ok(value) => return Some(value),
                    Err(_) => break,
                }
            }
        }
        self.at = start;
        self.fail(start, expected, DecodeFault::Varint)
    }

    fn array<const N: usize>(&mut self, kind: &Kind) -> Option<[u8; N]> {
        self.check(N, noun(kind))?;
        let bytes = self.frame.get(self.at..)?.first_chunk().copied()?;
        self.at += N;
        Some(bytes)
    }

    fn take(&mut self, length: usize, kind: &Kind) -> Option<Bytes> {
        self.check(length, noun(kind))?;
        self.at += length;
        Some(self.frame.slice(self.at - length..self.at))
    }

    /// Whether so many bytes are left.
    fn check(&mut self, needed: usize, expected: &'static str) -> Option<()> {
        match self.left() {
            left if left < needed => self.fail(self.at, expected, DecodeFault::Truncated { needed, left }),
            _ => Some(()),
        }
    }

    fn left(&self) -> usize {
        self.end - self.at
    }

    fn within<T>(&mut self, step: Step, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let done = inside(self);
        self.path.pop();
        done
    }

    /// Notes the first fault; always `None`.
    fn fail<T>(&mut self, at: usize, expected: &'static str, fault: DecodeFault) -> Option<T> {
        if self.fault.is_none() {
            self.fault = Some(Fault { at, path: path(&self.path), expected, fault: Some(fault) });
        }
        None
    }
}

/// A node whose value nobody may see; where it stands is no secret.
fn hide(node: Node) -> Node {
    let length = node.bytes.len().saturating_sub(node.head);
    let value = if matches!(node.value, Value::Null) { Value::Null } else { Value::Secret(length) };
    Node { value, ..node }
}

fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        let _ = match step {
            Step::Element(index) => write!(path, "[{index}]"),
            Step::Tag(tag) if path.is_empty() => write!(path, "tag {tag}"),
            Step::Tag(tag) => write!(path, ".tag {tag}"),
            Step::Field(name) if path.is_empty() => write!(path, "{name}"),
            Step::Field(name) => write!(path, ".{name}"),
        };
    }
    path
}

fn noun(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "a bool",
        Kind::Int8 => "an int8",
        Kind::Int16 => "an int16",
        Kind::Uint16 => "a uint16",
        Kind::Int32 => "an int32",
        Kind::Uint32 => "a uint32",
        Kind::Int64 => "an int64",
        Kind::Float64 => "a float64",
        Kind::String => "a string",
        Kind::Uuid => "a uuid",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Array { .. } => "an array",
        Kind::Struct { .. } => "a structure",
    }
}

static BODY: Kind = Kind::Struct { name: "", fields: &[] };
static TAGS: Kind = Kind::Struct { name: "tags", fields: &[] };
