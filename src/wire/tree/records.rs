//! Record batches as trees: one batch at a time, one record at a time, so that a region never stands in memory whole.
//!
//! Rules this file keeps:
//! - a batch's header is shown as far as it is there, whatever is wrong with the batch;
//! - a batch is decompressed to at most [`MAX_BATCH_BYTES`], and a record shows a stated number of headers;
//! - checksum and records are two questions: a batch with a wrong checksum is still walked.

use bytes::Bytes;

use super::{
    Node, Tree, Value, embedded,
    read::{Leftover, read},
};
use crate::{
    record::{Batches, ControlType, DecodeScratch, DecodedBatch, HeaderView, RawBatch, RecordIter, RecordView, header},
    wire::{FieldSpec, Kind, Str, Table, message::since},
};

/// How many bytes the records of one batch may take when they are decompressed: 64 MiB.
pub const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// The batches of a record region, as a Fetch response or a Produce request holds it.
pub fn batches(region: Bytes) -> BatchTrees {
    BatchTrees { region, at: 0, scratch: DecodeScratch::default() }
}

/// The batches of a record region, one after the other.
#[derive(Debug)]
pub struct BatchTrees {
    region: Bytes,
    at: usize,
    scratch: DecodeScratch,
}

/// One record batch.
#[derive(Debug)]
pub struct BatchTree {
    /// Where it begins in its region.
    pub at: usize,
    /// How many bytes of it are there.
    pub len: usize,
    /// The fields of its header.
    pub header: Tree,
    /// The name of its codec, if it is known.
    pub codec: Option<&'static str>,
    /// Whether its checksum is right; `None` where that cannot be said.
    pub crc_ok: Option<bool>,
    /// What its attributes say besides.
    pub flags: Vec<&'static str>,
    /// Why it cannot be read, or what is wrong with it.
    pub fault: Option<String>,
    /// Whether the region ends within it. Brokers do that at the byte limit of a Fetch; it is no fault.
    pub is_cut: bool,
    decoded: Option<DecodedBatch>,
}

impl Iterator for BatchTrees {
    type Item = BatchTree;

    fn next(&mut self) -> Option<BatchTree> {
        let (start, rest) = (self.at, self.region.slice(self.at.min(self.region.len())..));
        if rest.is_empty() {
            return None;
        }
        let length = rest.get(8..12).and_then(|length| length.first_chunk()).copied().map(i32::from_be_bytes);
        let size = length.map(|length| usize::try_from(length).map(|length| length + header::LOG_OVERHEAD));
        let whole = match size {
            Some(Ok(size)) if size <= rest.len() => Some(rest.slice(..size)),
            _ => None,
        };
        let batch = match whole {
            Some(bytes) => self.whole(start, bytes),
            None => cut(start, &rest, size.map(Result::ok)),
        };
        self.at = start + batch.len;
        Some(batch)
    }
}

impl BatchTrees {
    fn whole(&mut self, at: usize, bytes: Bytes) -> BatchTree {
        let mut tree = BatchTree::new(at, &bytes);
        match Batches::new(bytes).next() {
            Some(Ok(raw)) => tree.decode(&raw, &mut self.scratch),
            Some(Err(error)) => tree.fault = Some(error.to_string()),
            None => tree.fault = Some("its length leaves no room for a batch".to_owned()),
        }
        tree
    }
}

/// What is there of a batch that the region does not hold whole.
fn cut(at: usize, rest: &Bytes, size: Option<Option<usize>>) -> BatchTree {
    let mut tree = BatchTree::new(at, rest);
    match size {
        Some(None) => tree.fault = Some("its length is negative".to_owned()),
        _ => tree.is_cut = true,
    }
    tree.header.fault = None;
    tree
}

impl BatchTree {
    fn new(at: usize, bytes: &Bytes) -> Self {
        let table = match bytes.get(header::MAGIC_AT) {
            Some(0) => &MESSAGE_V0,
            Some(1) => &MESSAGE_V1,
            _ => &BATCH_V2,
        };
        let header = read(table, 0, bytes, 0, Leftover::Allowed);
        let (codec, crc_ok, flags, fault) = (None, None, Vec::new(), None);
        Self { at, len: bytes.len(), header, codec, crc_ok, flags, fault, is_cut: false, decoded: None }
    }

    fn decode(&mut self, raw: &RawBatch, scratch: &mut DecodeScratch) {
        self.codec = raw.header().compression().ok().map(|codec| codec.name());
        self.flags = FLAGS.iter().filter(|(bit, _)| raw.attributes & bit != 0).map(|(_, name)| *name).collect();
        let checked = raw.check_crc();
        self.crc_ok = Some(checked.is_ok());
        self.fault = checked.err().map(|error| error.to_string());
        match raw.decode(scratch, MAX_BATCH_BYTES) {
            Ok(decoded) => self.decoded = Some(decoded),
            Err(error) => self.fault = Some(self.fault.take().unwrap_or_else(|| error.to_string())),
        }
    }

    /// The records, as far as they can be walked; the last item says what was wrong where it went wrong.
    pub fn records(&self) -> RecordTrees<'_> {
        RecordTrees { records: self.decoded.as_ref().map(DecodedBatch::records), batch: self }
    }

    /// The number that the header has under this name.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.header.root.children().iter().find(|node| node.name == name).and_then(|node| match node.value {
            Value::Int(number) => Some(number),
            _ => None,
        })
    }
}

/// The records of a batch, one after the other.
#[derive(Debug)]
pub struct RecordTrees<'a> {
    records: Option<RecordIter<'a>>,
    batch: &'a BatchTree,
}

impl Iterator for RecordTrees<'_> {
    type Item = Result<Node, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let records = self.records.as_mut()?;
        let start = records.byte_position();
        let record = records.next()?;
        let is_control = self.batch.flags.contains(&CONTROL);
        Some(match record {
            Ok(record) => Ok(structure(start..records.byte_position(), fields(&record, is_control))),
            Err(error) => Err(error.to_string()),
        })
    }
}

fn fields(record: &RecordView<'_>, is_control: bool) -> Vec<Node> {
    let mut all = record.headers();
    let shown = all.by_ref().take(MAX_HEADERS);
    let headers: Vec<Node> = shown.map(|header| structure(0..0, header_fields(&header))).collect();
    let left_out = all.count();
    let mut nodes = vec![
        leaf("offset", &Kind::Int64, Value::Int(record.offset)),
        leaf("timestamp", &Kind::Int64, Value::Int(record.timestamp)),
    ];
    match record.key.filter(|_| is_control).and_then(control) {
        Some((word, value)) => {
            nodes.push(leaf("control", &Kind::String, Value::Text(Str::from_static(word))));
            let bytes = Bytes::copy_from_slice(record.value.unwrap_or_default());
            nodes.push(match value.and_then(|structure| embedded::versioned(structure, &bytes)) {
                Some(tree) => Node { name: "value", ..tree.root },
                None => leaf("value", &Kind::Bytes, Value::Bytes(bytes)),
            });
        }
        None => {
            nodes.push(leaf("key", &Kind::Bytes, bytes(record.key)));
            nodes.push(leaf("value", &Kind::Bytes, bytes(record.value)));
        }
    }
    if !headers.is_empty() {
        nodes.push(leaf("headers", &HEADERS, Value::Array(headers)));
    }
    if left_out > 0 {
        nodes.push(leaf("headers_left_out", &Kind::Int64, Value::Int(left_out as i64)));
    }
    nodes
}

fn header_fields(header: &HeaderView<'_>) -> Vec<Node> {
    let name = Value::Text(Str::from(header.name().into_owned()));
    vec![leaf("key", &Kind::String, name), leaf("value", &Kind::Bytes, bytes(header.value))]
}

fn bytes(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |bytes| Value::Bytes(Bytes::copy_from_slice(bytes)))
}

/// What the key of a control record says, and the structure of its value.
pub(super) fn control(key: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    // A version, of which every one begins with the type.
    let kind = ControlType(i16::from_be_bytes(*key.get(2..)?.first_chunk()?));
    let value = match kind {
        ControlType::ABORT | ControlType::COMMIT => "EndTxnMarker",
        ControlType::LEADER_CHANGE => "LeaderChangeMessage",
        ControlType::SNAPSHOT_HEADER => "SnapshotHeaderRecord",
        ControlType::SNAPSHOT_FOOTER => "SnapshotFooterRecord",
        ControlType::KRAFT_VERSION => "KRaftVersionRecord",
        ControlType::KRAFT_VOTERS => "VotersRecord",
        _ => return None,
    };
    Some((kind.name()?, Some(value)))
}

fn leaf(name: &'static str, kind: &'static Kind, value: Value) -> Node {
    Node { name, tag: None, kind, value, bytes: 0..0, head: 0 }
}

fn structure(bytes: std::ops::Range<usize>, fields: Vec<Node>) -> Node {
    Node { name: "", tag: None, kind: &RECORD, value: Value::Struct(fields), bytes, head: 0 }
}

/// How many headers of a record are shown. A header may take two bytes and its nodes take hundreds, so that one record
/// could take many times what its batch may.
const MAX_HEADERS: usize = 10_000;

/// Where a batch of any format says which format it is.
const CONTROL: &str = "control";
const FLAGS: [(i16, &str); 4] = [
    (header::LOG_APPEND_TIME, "log append time"),
    (header::TRANSACTIONAL, "transactional"),
    (header::CONTROL, CONTROL),
    (header::DELETE_HORIZON, "base timestamp is the delete horizon"),
];

static RECORD: Kind = Kind::Struct { name: "Record", fields: &[] };
static HEADERS: Kind = Kind::Array { of: &RECORD };

const fn line(name: &'static str, kind: Kind) -> FieldSpec {
    FieldSpec { name, kind, rule: since(0), default: String::new }
}

const fn table(name: &'static str, fields: &'static [FieldSpec]) -> Table {
    Table { name, versions: 0..=0, flexible_from: i16::MAX, fields }
}

static BATCH_V2: Table = table(
    "RecordBatch",
    &[
        line("base_offset", Kind::Int64),
        line("batch_length", Kind::Int32),
        line("partition_leader_epoch", Kind::Int32),
        line("magic", Kind::Int8),
        line("crc", Kind::Uint32),
        line("attributes", Kind::Int16),
        line("last_offset_delta", Kind::Int32),
        line("base_timestamp", Kind::Int64),
        line("max_timestamp", Kind::Int64),
        line("producer_id", Kind::Int64),
        line("producer_epoch", Kind::Int16),
        line("base_sequence", Kind::Int32),
        line("record_count", Kind::Int32),
    ],
);
static MESSAGE_V1: Table = table(
    "MessageSet",
    &[
        line("offset", Kind::Int64),
        line("message_size", Kind::Int32),
        line("crc", Kind::Uint32),
        line("magic", Kind::Int8),
        line("attributes", Kind::Int8),
        line("timestamp", Kind::Int64),
    ],
);
static MESSAGE_V0: Table = table(
    "MessageSet",
    &[
        line("offset", Kind::Int64),
        line("message_size", Kind::Int32),
        line("crc", Kind::Uint32),
        line("magic", Kind::Int8),
        line("attributes", Kind::Int8),
    ],
);
