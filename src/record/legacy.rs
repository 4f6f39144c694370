//! Record formats 0 and 1 (Kafka 0.10 and older), read only: their messages become records of format 2.
//!
//! Rules this file keeps:
//! - a run of plain messages is one batch and a compressed wrapper is one, under a header made up for it, so that one
//!   walk serves all formats and costs no other format anything;
//! - a message is never shorter than the record it becomes: the caller's limit on what a wrapper decompresses to holds
//!   for its records as well, and decoding takes twice the limit at most;
//! - the checksum of a message or wrapper is summed once; messages inside a wrapper are covered by the wrapper's;
//! - offsets ascend and keep their gaps; a wrapper says only its last offset, the first is known once it is decoded;
//! - wrappers hold plain messages of their own format and nothing else.
//!
//! ```text
//! offset 8 │ size 4 │ CRC-32 4 │ magic 1 │ attributes 1 │ timestamp 8, format 1 only │ key 4 + n │ value 4 + n
//! ```

use bytes::Bytes;

use super::{
    batch::push_record,
    compress::Compression,
    crc,
    decode::DecodeScratch,
    header::{BatchHeader, CODEC_MASK, LOG_APPEND_TIME, LOG_OVERHEAD, MAGIC_AT},
};
use crate::error::Error;

/// The header of the batch that `region` begins with, and how many bytes are its own.
///
/// The first message is whole. Nothing of the batch lies before `floor`, where the batch before it ended: a wrapper's
/// header takes that for its first offset.
pub(super) fn cut(region: &[u8], floor: i64) -> Result<(BatchHeader, usize), Error> {
    let Some(first) = Head::read(region) else { return Err(unreadable(region)) };
    let mut header = first.header();
    if first.offset < 0 {
        return Err(header.corrupt("its offset is negative"));
    }
    if first.is_wrapper() {
        let reach = first.offset.saturating_sub(i64::from(i32::MAX));
        header.base_offset = floor.max(reach).min(first.offset);
        header.last_offset_delta = delta(header.base_offset, first.offset).unwrap_or(i32::MAX);
        header.record_count = NOT_KNOWN;
        return Ok((header, first.size));
    }
    let mut size = first.size;
    while let Some((next, delta)) = next_of_run(region, size, &first, &header) {
        size += next.size;
        header.last_offset_delta = delta;
        header.max_timestamp = header.max_timestamp.max(next.timestamp);
        header.record_count += 1;
    }
    header.length = length_of(size);
    Ok((header, size))
}

/// The message at `size`, and how far it is from the first, if the header of those before it can speak for it.
fn next_of_run(region: &[u8], size: usize, first: &Head, header: &BatchHeader) -> Option<(Head, i32)> {
    let next = Head::read(region.get(size..)?)?;
    let delta = delta(header.base_offset, next.offset)?;
    let joins = delta > header.last_offset_delta && first.is_like(&next) && size + next.size <= LONGEST_RUN;
    joins.then_some((next, delta))
}

/// Checks the checksum of every message in `bytes`, a batch that [`cut`] has cut off.
pub(super) fn check_crc(header: &BatchHeader, bytes: &[u8]) -> Result<(), Error> {
    let mut rest = bytes;
    while let Some((head, message)) = Head::take(&mut rest) {
        let computed = crc::ieee(message.get(CRC_COVERS..).unwrap_or_default());
        if computed != head.crc {
            let Head { offset, crc, .. } = head;
            return Err(header.corrupt(format_args!(
                "the checksum of the message at offset {offset} is {computed:#010x}, {crc:#010x} is written in it"
            )));
        }
    }
    Ok(())
}

/// The records of `bytes`, a batch that [`cut`] has cut off, in format 2 and under their header.
pub(super) fn decode(
    header: &BatchHeader,
    bytes: &Bytes,
    scratch: &mut DecodeScratch,
    limit: usize,
) -> Result<(BatchHeader, Bytes), Error> {
    let wrapper = Head::read(bytes).filter(Head::is_wrapper);
    let (header, messages) = match wrapper {
        Some(wrapper) => open_wrapper(header, &wrapper, bytes, scratch, limit)?,
        None => (*header, bytes.clone()),
    };
    let first = Head::read(&messages).map_or(0, |first| first.offset);
    let records = scratch.rewrite(messages.len(), |out| rewrite(&messages, first, header.base_timestamp, out));
    records.map(|records| (header, records)).map_err(|what| header.corrupt(what))
}

/// Decompresses a wrapper. Its header is that of its messages from here on.
fn open_wrapper(
    header: &BatchHeader,
    wrapper: &Head,
    bytes: &Bytes,
    scratch: &mut DecodeScratch,
    limit: usize,
) -> Result<(BatchHeader, Bytes), Error> {
    let codec = header.compression()?;
    if codec == Compression::Zstd {
        // KIP-110 added it to format 2 alone.
        return Err(header.corrupt(format_args!("{codec} is not for format {}", wrapper.magic)));
    }
    let value = wrapper.fields(bytes).and_then(|(_, value)| value);
    let Some(value) = value else { return Err(header.corrupt("it is compressed and has no value")) };
    let messages = scratch.decompress(codec, value, limit).map_err(|fault| header.corrupt(fault))?;
    let span = Span::of(&messages, wrapper).map_err(|what| header.corrupt(what))?;
    let base_offset = span.base_offset(wrapper).ok_or_else(|| header.corrupt("its offsets are out of range"))?;
    let header = BatchHeader {
        base_offset,
        last_offset_delta: delta(base_offset, wrapper.offset)
            .ok_or_else(|| header.corrupt("its offsets are out of range"))?,
        base_timestamp: span.first.timestamp,
        record_count: span.count,
        ..*header
    };
    Ok((header, messages))
}

/// What a walk over the heads of a wrapper's messages tells.
struct Span {
    first: Head,
    last_offset: i64,
    count: i32,
}

impl Span {
    fn of(messages: &[u8], wrapper: &Head) -> Result<Self, &'static str> {
        let first = Head::read(messages).ok_or("it holds no message")?;
        let mut span = Self { first, last_offset: -1, count: 0 };
        let mut rest = messages;
        while let Some((head, _)) = Head::take(&mut rest) {
            if head.is_wrapper() {
                return Err("a wrapper lies inside of it");
            }
            if head.magic != wrapper.magic {
                return Err("a message of another format lies inside of it");
            }
            if head.offset <= span.last_offset {
                return Err("the offsets inside of it do not ascend");
            }
            span.last_offset = head.offset;
            span.count = span.count.checked_add(1).ok_or("it holds too many messages")?;
        }
        if rest.is_empty() { Ok(span) } else { Err("the last message inside of it is cut off") }
    }

    /// Format 1 counts offsets from anywhere, and the wrapper has the last one's real offset (KIP-31); in format 0 each is the
    /// real one, and the wrapper repeats the last. Compaction may have removed any of them.
    fn base_offset(&self, wrapper: &Head) -> Option<i64> {
        let base = match wrapper.magic {
            0 => self.first.offset,
            _ => wrapper.offset.checked_sub(self.last_offset)?.checked_add(self.first.offset)?,
        };
        let ends_inside = wrapper.magic != 0 || self.last_offset <= wrapper.offset;
        (base >= 0 && ends_inside).then_some(base)
    }
}

/// Writes `messages` as records whose deltas count from `first` and `base_timestamp`.
fn rewrite(messages: &[u8], first: i64, base_timestamp: i64, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = messages;
    while let Some((head, message)) = Head::take(&mut rest) {
        let (key, value) = head.fields(message).ok_or("a message in it does not fill its size")?;
        let offset_delta = delta(first, head.offset).ok_or("its offsets are too far apart")?;
        // A sum that wraps gives back what this difference takes.
        push_record(out, offset_delta, head.timestamp.wrapping_sub(base_timestamp), key, value);
    }
    Ok(())
}

/// A key or value; `None` is null.
type Field<'a> = Option<&'a [u8]>;

/// What stands in front of a message's key.
#[derive(Debug, Clone, Copy)]
struct Head {
    offset: i64,
    /// The bytes of the whole message.
    size: usize,
    crc: u32,
    magic: u8,
    attributes: i16,
    /// −1 in format 0, which has none.
    timestamp: i64,
}

impl Head {
    /// The head of the message that `bytes` begin with; `None` if it is not whole, too short or of no old format.
    fn read(bytes: &[u8]) -> Option<Self> {
        let length = i32::from_be_bytes(number(bytes, 8)?);
        let size = LOG_OVERHEAD + usize::try_from(length).ok()?;
        let magic = *bytes.get(MAGIC_AT)?;
        if magic > 1 || size < shortest(magic) || size > bytes.len() {
            return None;
        }
        let attributes = i16::from(*bytes.get(MAGIC_AT + 1)?);
        let (meaningful, timestamp) = match magic {
            0 => (CODEC_MASK, NO_TIMESTAMP),
            _ => (CODEC_MASK | LOG_APPEND_TIME, i64::from_be_bytes(number(bytes, TIMESTAMP_AT)?)),
        };
        Some(Self {
            offset: i64::from_be_bytes(number(bytes, 0)?),
            size,
            crc: u32::from_be_bytes(number(bytes, LOG_OVERHEAD)?),
            magic,
            attributes: attributes & meaningful,
            timestamp,
        })
    }

    /// Takes a message off the front: its head and all of its bytes.
    fn take<'a>(rest: &mut &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = Self::read(rest)?;
        let (message, later) = rest.split_at_checked(head.size)?;
        *rest = later;
        Some((head, message))
    }

    fn is_wrapper(&self) -> bool {
        self.attributes & CODEC_MASK != 0
    }

    /// Whether both can stand under one header, which has one timestamp if the broker set it.
    fn is_like(&self, other: &Self) -> bool {
        self.magic == other.magic
            && self.attributes == other.attributes
            && (self.attributes & LOG_APPEND_TIME == 0 || self.timestamp == other.timestamp)
    }

    /// The message's key and value; `None` if they do not fill it exactly.
    fn fields<'a>(&self, message: &'a [u8]) -> Option<(Field<'a>, Field<'a>)> {
        let mut rest = message.get(shortest(self.magic) - 2 * LENGTH..self.size)?;
        let key = take_field(&mut rest)?;
        let value = take_field(&mut rest)?;
        rest.is_empty().then_some((key, value))
    }

    /// The header of a batch of this message alone.
    fn header(&self) -> BatchHeader {
        BatchHeader {
            base_offset: self.offset,
            length: length_of(self.size),
            leader_epoch: -1,
            crc: self.crc,
            attributes: self.attributes,
            last_offset_delta: 0,
            base_timestamp: self.timestamp,
            max_timestamp: self.timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        }
    }
}

/// The bytes of a message without key and value.
fn shortest(magic: u8) -> usize {
    if magic == 0 { TIMESTAMP_AT + 2 * LENGTH } else { TIMESTAMP_AT + 8 + 2 * LENGTH }
}

/// A length and that many bytes; a negative length is null.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let (length, later) = rest.split_first_chunk()?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *rest = later;
        return Some(None);
    };
    let (field, later) = later.split_at_checked(length)?;
    *rest = later;
    Some(Some(field))
}

/// How far `offset` is from `base`, if a record can say so.
fn delta(base: i64, offset: i64) -> Option<i32> {
    offset.checked_sub(base).and_then(|delta| i32::try_from(delta).ok()).filter(|delta| *delta >= 0)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// What a header says of a batch of `size` bytes.
fn length_of(size: usize) -> i32 {
    i32::try_from(size.saturating_sub(LOG_OVERHEAD)).unwrap_or(i32::MAX)
}

#[cold]
fn unreadable(region: &[u8]) -> Error {
    let offset = number(region, 0).map_or(-1, i64::from_be_bytes);
    let length = number(region, 8).map_or(-1, i32::from_be_bytes);
    Error::new(
        crate::error::ErrorKind::CorruptBatch,
        format!("the message at offset {offset} (length {length}) is damaged: it is too short"),
    )
}

/// Where a message's checksum begins to cover it: at its magic.
const CRC_COVERS: usize = MAGIC_AT;
const TIMESTAMP_AT: usize = MAGIC_AT + 2;
/// The bytes of a key's or value's length.
const LENGTH: usize = 4;
const NO_TIMESTAMP: i64 = -1;
/// The number of records of a wrapper before it is decoded.
const NOT_KNOWN: i32 = -1;
/// The most bytes of plain messages under one header: damage in one of them costs the others.
const LONGEST_RUN: usize = 64 * 1024;

#[cfg(test)]
mod tests;
