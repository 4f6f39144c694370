//! A tree as text that a person reads: a line to a value, indented by depth.
//!
//! Rules this file keeps:
//! - text of a peer is escaped, so that it cannot steer a terminal;
//! - bytes and long texts are shortened, with their length, unless everything is asked for;
//! - records are written one by one as they are walked, never collected.

use std::{
    fmt::Display,
    io::{self, Write},
};

use bytes::Bytes;

use super::{BatchTree, Direction, FrameTree, Node, Tree, Value, batches, embedded, words};
use crate::wire::Kind;

/// How many bytes of a value are shown unless all are asked for.
pub const SHOWN_BYTES: usize = 32;

/// How to write a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Print {
    /// Whether long values are written whole.
    pub full: bool,
    /// How many levels everything is indented.
    pub indent: usize,
}

impl Print {
    /// Writes a frame: a line about it, header and body, and the fault if there is one. Says whether all of it, record
    /// batches too, is as it should be.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn frame(&self, frame: &FrameTree, out: &mut dyn Write) -> io::Result<bool> {
        let (sign, noun) = match frame.direction {
            Direction::Request => (">", "request"),
            Direction::Response => ("<", "response"),
        };
        let mut lines = self.lines(out);
        lines.indent(0)?;
        match frame.api.0 {
            // Nothing of it is shown: it may be a password.
            ..0 => writeln!(lines.out, "{sign} no {noun} of Kafka's, {}", count(frame.len, "byte"))?,
            _ => {
                writeln!(lines.out, "{sign} {} {noun} v{}, {}", frame.api, frame.version, count(frame.len, "byte"))?;
                lines.section("header", &frame.header)?;
            }
        }
        if let Some(body) = &frame.body {
            lines.section("body", body)?;
        }
        if let Some(fault) = &frame.fault {
            let left = frame.len.saturating_sub(fault.at);
            lines.fault(1, format_args!("{fault} ({left} of {} not read)", count(frame.len, "byte")))?;
        }
        Ok(lines.all_well)
    }

    /// Writes a body, and the fault if there is one. Says whether all of it is as it should be.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn tree(&self, tree: &Tree, out: &mut dyn Write) -> io::Result<bool> {
        let mut lines = self.lines(out);
        lines.indent(0)?;
        writeln!(lines.out, "{} v{}", tree.name, tree.version)?;
        lines.nodes(tree.name, tree.root.children(), 1)?;
        if let Some(fault) = &tree.fault {
            lines.fault(0, fault)?;
        }
        Ok(lines.all_well)
    }

    /// Writes a record region, batch by batch. Says whether every batch is as it should be.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn records(&self, region: &Bytes, out: &mut dyn Write) -> io::Result<bool> {
        let mut lines = self.lines(out);
        lines.region(region, 0)?;
        Ok(lines.all_well)
    }

    fn lines<'a>(&self, out: &'a mut dyn Write) -> Lines<'a> {
        Lines { print: *self, out, all_well: true }
    }

    fn leaf(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Uuid(id) => id.to_string(),
            Value::Secret(_) => "(secret)".to_owned(),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) | Value::Records(bytes) => self.bytes(bytes),
            Value::Int(number) => match words(node.name, node.kind, *number) {
                Some(words) if matches!(node.kind, Kind::Int16) => format!("{number} {words}"),
                Some(words) => format!("{number} ({words})"),
                None => number.to_string(),
            },
            Value::Array(_) | Value::Struct(_) | Value::Tags(_) => String::new(),
        }
    }

    fn text(&self, text: &str) -> String {
        if self.full || text.len() <= SHOWN_TEXT {
            return format!("{text:?}");
        }
        let shown: String = text.chars().take(SHOWN_TEXT).collect();
        format!("{shown:?}… ({} bytes)", text.len())
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        if bytes.is_empty() {
            return "0 bytes".to_owned();
        }
        let shown = if self.full { bytes } else { bytes.get(..SHOWN_BYTES).unwrap_or(bytes) };
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        let text: String = shown.iter().map(printable).collect();
        let dots = if shown.len() < bytes.len() { "…" } else { "" };
        format!("{} {hex}{dots} |{text}|{dots}", count(bytes.len(), "byte"))
    }
}

/// Lines on their way out.
struct Lines<'a> {
    print: Print,
    out: &'a mut dyn Write,
    /// Whether no fault was written.
    all_well: bool,
}

impl Lines<'_> {
    fn section(&mut self, title: &str, tree: &Tree) -> io::Result<()> {
        self.indent(1)?;
        writeln!(self.out, "{title}")?;
        self.nodes(tree.name, tree.root.children(), 2)
    }

    fn nodes(&mut self, message: &str, nodes: &[Node], depth: usize) -> io::Result<()> {
        for (index, node) in nodes.iter().enumerate() {
            match &node.value {
                // What is known among the tagged fields stands beside the others.
                Value::Tags(tagged) => self.nodes(message, tagged, depth)?,
                _ => self.node(message, index, node, depth)?,
            }
        }
        Ok(())
    }

    fn node(&mut self, message: &str, index: usize, node: &Node, depth: usize) -> io::Result<()> {
        self.indent(depth)?;
        match (node.name, node.tag) {
            ("", Some(tag)) => write!(self.out, "unknown tag {tag}")?,
            ("", None) => write!(self.out, "[{index}]")?,
            (name, Some(tag)) => write!(self.out, "{name} (tag {tag})")?,
            (name, None) => write!(self.out, "{name}")?,
        }
        match &node.value {
            Value::Array(nodes) => self.array(message, nodes, depth),
            Value::Struct(fields) if fields.iter().all(is_nothing) => writeln!(self.out, ": nothing inside"),
            Value::Struct(fields) => {
                writeln!(self.out)?;
                self.nodes(message, fields, depth + 1)
            }
            Value::Records(region) => {
                writeln!(self.out, ": {}", count(region.len(), "byte"))?;
                self.region(region, depth + 1)
            }
            Value::Bytes(bytes) => match embedded(message, node.name, bytes) {
                Some(tree) => {
                    writeln!(self.out, ": {} v{}", tree.name, tree.version)?;
                    self.nodes(tree.name, tree.root.children(), depth + 1)
                }
                None => writeln!(self.out, ": {}", self.print.bytes(bytes)),
            },
            _ => writeln!(self.out, ": {}", self.print.leaf(node)),
        }
    }

    /// Elements without inner structure share a line.
    fn array(&mut self, message: &str, nodes: &[Node], depth: usize) -> io::Result<()> {
        if nodes.iter().all(is_simple) {
            let shown = if self.print.full { nodes.len() } else { SHOWN_ELEMENTS.min(nodes.len()) };
            let texts: Vec<String> = nodes.iter().take(shown).map(|node| self.print.leaf(node)).collect();
            let more = match nodes.len() - shown {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            return writeln!(self.out, ": [{}{more}]", texts.join(", "));
        }
        writeln!(self.out, ": {}", count(nodes.len(), "element"))?;
        self.nodes(message, nodes, depth + 1)
    }

    fn region(&mut self, region: &Bytes, depth: usize) -> io::Result<()> {
        for (index, batch) in batches(region.clone()).enumerate() {
            self.indent(depth)?;
            writeln!(self.out, "batch [{index}]: {}", about(&batch))?;
            self.nodes(batch.header.name, batch.header.root.children(), depth + 1)?;
            self.batch(&batch, depth + 1)?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &BatchTree, depth: usize) -> io::Result<()> {
        if let Some(fault) = &batch.fault {
            self.fault(depth, fault)?;
        }
        for (index, record) in batch.records().enumerate() {
            match record {
                Ok(record) => self.node("Record", index, &record, depth)?,
                Err(error) => self.fault(depth, error)?,
            }
        }
        Ok(())
    }

    fn fault(&mut self, depth: usize, fault: impl Display) -> io::Result<()> {
        self.all_well = false;
        self.indent(depth)?;
        writeln!(self.out, "! {fault}")
    }

    fn indent(&mut self, depth: usize) -> io::Result<()> {
        (0..self.print.indent + depth).try_for_each(|_| self.out.write_all(b"  "))
    }
}

/// A batch in one line.
fn about(batch: &BatchTree) -> String {
    let mut words = vec![count(batch.len, "byte")];
    if let (Some(first), Some(delta)) = (batch.number("base_offset"), batch.number("last_offset_delta")) {
        words.push(format!("offsets {first} to {}", first.saturating_add(delta)));
    }
    words.extend(batch.codec.map(|codec| if codec == "none" { "not compressed" } else { codec }.to_owned()));
    words.extend(batch.crc_ok.map(|ok| if ok { "crc ok" } else { "crc BAD" }.to_owned()));
    words.extend(batch.flags.iter().map(|flag| (*flag).to_owned()));
    if batch.is_cut {
        words.push("cut off: the rest was not sent".to_owned());
    }
    words.join(", ")
}

/// A section of tagged fields without any.
fn is_nothing(node: &Node) -> bool {
    matches!(&node.value, Value::Tags(nodes) if nodes.is_empty())
}

/// Whether a node takes one short text.
fn is_simple(node: &Node) -> bool {
    !matches!(node.value, Value::Array(_) | Value::Struct(_) | Value::Tags(_) | Value::Records(_) | Value::Bytes(_))
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

const SHOWN_TEXT: usize = 200;
const SHOWN_ELEMENTS: usize = 64;
