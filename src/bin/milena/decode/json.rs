//! A frame as one JSON object in one line, for scripts.
//!
//! Rules this file keeps:
//! - numbers stay numbers, ids are text as Kafka prints them, bytes are hex; nothing is shortened;
//! - records are written one by one as they are walked, never collected.

use std::{
    cell::Cell,
    io::{self, Write},
};

use bytes::Bytes;
use milena::wire::tree::{BatchTree, Direction, FrameTree, Guess, Node, Value, batches, embedded};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

/// Writes a frame and says whether all of it is as it should be.
pub(crate) fn frame(tree: &FrameTree, guesses: &[Guess], out: &mut impl Write) -> io::Result<bool> {
    let all_well = Cell::new(tree.fault.is_none());
    line(&Frame { tree, guesses, all_well: &all_well }, out)?;
    Ok(all_well.get())
}

/// Writes a record region and says whether all of it is as it should be.
pub(crate) fn records(region: &Bytes, out: &mut impl Write) -> io::Result<bool> {
    let all_well = Cell::new(true);
    line(&Region { region, all_well: &all_well }, out)?;
    Ok(all_well.get())
}

fn line(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

struct Frame<'a> {
    tree: &'a FrameTree,
    guesses: &'a [Guess],
    all_well: &'a Cell<bool>,
}

impl Serialize for Frame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { tree, guesses, all_well } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("direction", if tree.direction == Direction::Request { "request" } else { "response" })?;
        map.serialize_entry("api", tree.api.name())?;
        map.serialize_entry("key", &tree.api.0)?;
        map.serialize_entry("version", &tree.version)?;
        map.serialize_entry("length", &tree.len)?;
        let header = Shown { message: tree.header.name, node: &tree.header.root, all_well };
        map.serialize_entry("header", &header)?;
        if let Some(body) = &tree.body {
            map.serialize_entry("body", &Shown { message: body.name, node: &body.root, all_well })?;
        }
        if !guesses.is_empty() {
            map.serialize_entry("guesses", &guesses.iter().map(guess).collect::<Vec<_>>())?;
        }
        if let Some(fault) = &tree.fault {
            let what = serde_json::json!({ "at": fault.at, "path": fault.path, "message": fault.to_string() });
            map.serialize_entry("fault", &what)?;
        }
        map.end()
    }
}

fn guess(guess: &Guess) -> serde_json::Value {
    let versions = [guess.versions.start(), guess.versions.end()];
    serde_json::json!({ "api": guess.api.name(), "key": guess.api.0, "versions": versions, "odd": guess.odd })
}

struct Shown<'a> {
    message: &'a str,
    node: &'a Node,
    all_well: &'a Cell<bool>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { message, node, all_well } = *self;
        match &node.value {
            Value::Null => serializer.serialize_none(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Uuid(id) => serializer.collect_str(id),
            Value::Records(region) => Region { region, all_well }.serialize(serializer),
            Value::Array(nodes) => serializer.collect_seq(nodes.iter().map(|node| Shown { message, node, all_well })),
            Value::Struct(nodes) | Value::Tags(nodes) => {
                let mut map = serializer.serialize_map(None)?;
                self.fields(nodes, &mut map)?;
                map.end()
            }
            Value::Bytes(bytes) => match embedded(message, node.name, bytes) {
                Some(tree) => Shown { message: tree.name, node: &tree.root, all_well }.serialize(serializer),
                None => serializer.serialize_str(&hex(bytes)),
            },
            // Secrets, and whatever is added.
            _ => serializer.serialize_str("(secret)"),
        }
    }
}

impl Shown<'_> {
    /// Tagged fields stand beside the others; those without a name are called by their number.
    fn fields<M: SerializeMap>(&self, nodes: &[Node], map: &mut M) -> Result<(), M::Error> {
        for node in nodes {
            match (&node.value, node.name, node.tag) {
                (Value::Tags(tagged), ..) => self.fields(tagged, map)?,
                (_, "", Some(tag)) => map.serialize_entry(&format!("unknown_tag_{tag}"), &Shown { node, ..*self })?,
                (_, name, _) => map.serialize_entry(name, &Shown { node, ..*self })?,
            }
        }
        Ok(())
    }
}

struct Region<'a> {
    region: &'a Bytes,
    all_well: &'a Cell<bool>,
}

impl Serialize for Region<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for batch in batches(self.region.clone()) {
            list.serialize_element(&Batch { batch: &batch, all_well: self.all_well })?;
        }
        list.end()
    }
}

struct Batch<'a> {
    batch: &'a BatchTree,
    all_well: &'a Cell<bool>,
}

impl Serialize for Batch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { batch, all_well } = *self;
        let mut map = serializer.serialize_map(None)?;
        let header = Shown { message: batch.header.name, node: &batch.header.root, all_well };
        map.serialize_entry("header", &header)?;
        map.serialize_entry("length", &batch.len)?;
        map.serialize_entry("codec", &batch.codec)?;
        map.serialize_entry("crc_ok", &batch.crc_ok)?;
        map.serialize_entry("flags", &batch.flags)?;
        map.serialize_entry("is_cut", &batch.is_cut)?;
        let fault = Cell::new(batch.fault.clone());
        map.serialize_entry("records", &Records { batch, fault: &fault, all_well })?;
        if let Some(fault) = fault.take() {
            all_well.set(false);
            map.serialize_entry("fault", &fault)?;
        }
        map.end()
    }
}

struct Records<'a> {
    batch: &'a BatchTree,
    /// What was wrong with the batch, or with its records if with nothing before.
    fault: &'a Cell<Option<String>>,
    all_well: &'a Cell<bool>,
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for record in self.batch.records() {
            match record {
                Ok(node) => {
                    list.serialize_element(&Shown { message: "Record", node: &node, all_well: self.all_well })?;
                }
                Err(error) => self.fault.set(self.fault.take().or(Some(error))),
            }
        }
        list.end()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS.get(usize::from(half & 15)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
