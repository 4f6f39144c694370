//! Reads the header of a v2 record batch and checks it, by the broker's own understanding of the format.
//!
//! Rules this file keeps:
//! - nothing here is shared with the client: a mistake on one side must not be hidden by the same mistake on the other;
//! - the work is per batch, never per record, except where a caller asks for the records of one batch;
//! - a stored batch is the received bytes; only its first sixteen, which the checksum does not cover, are the broker's.

use bytes::{BufMut, Bytes, BytesMut};

use super::codecs;
pub(super) use super::codecs::ZSTD;

/// The 61 bytes in front of the records, less those that nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// Length of the whole batch, header included.
    pub(super) size: usize,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: i32,
}

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchError {
    /// Too short, a length that does not fit, or not exactly one batch.
    Invalid(&'static str),
    /// The checksum is not that of the bytes.
    Checksum,
    /// A compression codec that does not exist.
    Codec,
}

impl BatchHeader {
    /// The header of the one batch that `bytes` are.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header: &[u8; HEADER_SIZE] =
            bytes.first_chunk().ok_or(BatchError::Invalid("shorter than a batch header"))?;
        if header[16] != 2 {
            return Err(BatchError::Invalid("not of magic 2"));
        }
        let length = usize::try_from(int32(header, 8)).map_err(|_| BatchError::Invalid("negative length"))?;
        let parsed = Self {
            size: length.saturating_add(LENGTH_END),
            attributes: int16(header, 21),
            last_offset_delta: int32(header, 23),
            base_timestamp: int64(header, 27),
            max_timestamp: int64(header, 35),
            producer_id: int64(header, 43),
            producer_epoch: int16(header, 51),
            base_sequence: int32(header, 53),
            record_count: int32(header, 57),
        };
        if parsed.size == bytes.len() { Ok(parsed) } else { Err(BatchError::Invalid("not exactly one batch")) }
    }

    /// Checks `bytes`, the batch of this header, as Kafka does before it appends.
    pub(super) fn validate(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let (Some(header), Some(covered)) = (bytes.first_chunk::<HEADER_SIZE>(), bytes.get(CRC_END..)) else {
            return Err(BatchError::Invalid("shorter than a batch header"));
        };
        if crc32c::crc32c(covered) != u32::from_be_bytes([header[17], header[18], header[19], header[20]]) {
            return Err(BatchError::Checksum);
        }
        if self.record_count <= 0 || self.last_offset_delta != self.record_count - 1 {
            return Err(BatchError::Invalid("record count and last offset delta do not agree"));
        }
        if self.is_control() {
            return Err(BatchError::Invalid("a control batch from a client"));
        }
        if self.producer_id >= 0 && (self.producer_epoch < 0 || self.base_sequence < 0) {
            return Err(BatchError::Invalid("a producer id without epoch and sequence"));
        }
        if self.codec() > ZSTD { Err(BatchError::Codec) } else { Ok(()) }
    }

    /// The least timestamp of the records in `payload`.
    pub(super) fn oldest_timestamp(&self, payload: &[u8]) -> i64 {
        let timestamps = self.records(payload).flatten().map(|record| record.timestamp_delta);
        timestamps.min().map_or(self.base_timestamp, |delta| self.base_timestamp.saturating_add(delta))
    }

    /// Whether every record in `payload` has a key.
    pub(super) fn has_only_keys(&self, payload: &[u8]) -> bool {
        self.records(payload).all(|record| record.is_some_and(|record| record.key.is_some()))
    }

    pub(super) fn codec(&self) -> i16 {
        self.attributes & CODEC
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether its timestamps are the broker's.
    pub(super) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// When its tombstones may go, in milliseconds since 1970, if compaction has set that. The base timestamp is that
    /// time then, and the timestamps of the records still count from it (KIP-534).
    pub(super) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The batch of this header around `payload`, which is compressed already; without base offset and leader epoch,
    /// which a log puts in. The header returned knows the new size.
    pub(super) fn write(mut self, payload: &[u8]) -> (Self, Bytes) {
        self.size = HEADER_SIZE + payload.len();
        let mut batch = BytesMut::with_capacity(self.size);
        batch.put_i64(0);
        batch.put_u32((self.size - LENGTH_END) as u32);
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(0);
        batch.put_i16(self.attributes);
        batch.put_i32(self.last_offset_delta);
        batch.put_i64(self.base_timestamp);
        batch.put_i64(self.max_timestamp);
        batch.put_i64(self.producer_id);
        batch.put_i16(self.producer_epoch);
        batch.put_i32(self.base_sequence);
        batch.put_i32(self.record_count);
        batch.put_slice(payload);
        let checksum = crc32c::crc32c(batch.get(CRC_END..).unwrap_or_default());
        if let Some(place) = batch.get_mut(CRC_END - 4..CRC_END) {
            place.copy_from_slice(&checksum.to_be_bytes());
        }
        (self, batch.freeze())
    }

    /// The same batch with the broker's clock for all of its records.
    pub(super) fn stamped(mut self, bytes: &[u8], now_millis: i64) -> (Self, Bytes) {
        self.attributes |= LOG_APPEND_TIME;
        self.max_timestamp = now_millis;
        self.write(bytes.get(HEADER_SIZE..).unwrap_or_default())
    }

    /// The same records in another codec; `None` if they cannot be read.
    pub(super) fn recompressed(mut self, bytes: &[u8], codec: i16) -> Option<(Self, Bytes)> {
        let plain = codecs::decompress(self.codec(), bytes.get(HEADER_SIZE..)?)?;
        self.attributes = self.attributes & !CODEC | codec;
        Some(self.write(&codecs::compress(codec, &plain)?))
    }

    /// What `bytes`, the batch of this header, hold behind it, decompressed.
    pub(super) fn payload(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        codecs::decompress(self.codec(), bytes.get(HEADER_SIZE..)?)
    }

    /// The records in `payload` one by one; `None` in place of the first that is malformed or missing.
    pub(super) fn records<'a>(&self, payload: &'a [u8]) -> Records<'a> {
        Records { rest: payload, left: self.record_count }
    }

    /// The sequence of the last record: after 2³¹ − 1 comes 0.
    pub(super) fn last_sequence(&self) -> i32 {
        let wrapped = (i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (1 << 31);
        i32::try_from(wrapped).unwrap_or(-1)
    }
}

/// A record of a batch, as far as the broker looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<&'a [u8]>,
    /// Whether it has a key and no value: the key is deleted.
    pub(super) is_tombstone: bool,
    /// Everything from the key's length on.
    tail: &'a [u8],
}

/// See [`BatchHeader::records`].
pub(super) struct Records<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_none() {
            self.left = 0;
        }
        Some(record)
    }
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Option<Record<'a>> {
        let length = usize::try_from(varint(&mut self.rest)?).ok()?;
        let (record, after) = self.rest.split_at_checked(length)?;
        self.rest = after;
        Record::parse(record)
    }
}

impl<'a> Record<'a> {
    /// Reads one record, without the length in front of it.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (attributes, mut rest) = bytes.split_first()?;
        let timestamp_delta = varint(&mut rest)?;
        let offset_delta = varint(&mut rest)?;
        let tail = rest;
        let key = nullable(&mut rest)?;
        let value = nullable(&mut rest)?;
        let is_tombstone = key.is_some() && value.is_none();
        Some(Self { attributes: *attributes, timestamp_delta, offset_delta, key, is_tombstone, tail })
    }

    /// Writes the record with its length in front, its timestamp as far from the batch's as told.
    pub(super) fn write(&self, timestamp_delta: i64, payload: &mut Vec<u8>) {
        let mut head = vec![self.attributes];
        put_varint(timestamp_delta, &mut head);
        put_varint(self.offset_delta, &mut head);
        put_varint((head.len() + self.tail.len()) as i64, payload);
        payload.extend_from_slice(&head);
        payload.extend_from_slice(self.tail);
    }
}

/// Bytes behind their length, which is −1 for null.
fn nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint(rest)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}

/// A batch in the log: the received bytes behind a head of the broker's own.
#[derive(Debug, Clone)]
pub(super) struct StoredBatch {
    pub(super) base_offset: i64,
    pub(super) header: BatchHeader,
    head: Bytes,
    tail: Bytes,
}

impl StoredBatch {
    /// Places `bytes` at `base_offset`. `frame` is the length of the request they are a part of: a small part of a
    /// large request is copied, so that no batch keeps more than twice its own bytes in memory.
    pub(super) fn new(header: BatchHeader, bytes: Bytes, base_offset: i64, leader_epoch: i32, frame: usize) -> Self {
        let copied = bytes.len() < SMALL || bytes.len().saturating_mul(2) < frame;
        let mut head = BytesMut::with_capacity(if copied { bytes.len() } else { MAGIC_AT });
        head.put_i64(base_offset);
        head.extend_from_slice(bytes.get(8..LENGTH_END).unwrap_or_default());
        head.put_i32(leader_epoch);
        let tail = if copied {
            head.extend_from_slice(bytes.get(MAGIC_AT..).unwrap_or_default());
            Bytes::new()
        } else {
            bytes.slice(MAGIC_AT..)
        };
        Self { base_offset, header, head: head.freeze(), tail }
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.header.last_offset_delta)
    }

    pub(super) fn size(&self) -> usize {
        self.header.size
    }

    /// The bytes in order, to be written one after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Bytes> {
        [self.head.clone(), self.tail.clone()].into_iter().filter(|piece| !piece.is_empty())
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        let epoch = self.head.get(LENGTH_END..MAGIC_AT).and_then(|bytes| bytes.try_into().ok());
        epoch.map_or(-1, i32::from_be_bytes)
    }

    /// What the batch holds behind its header, decompressed; `None` where that cannot be read.
    pub(super) fn payload(&self) -> Option<Vec<u8>> {
        let joined: Vec<u8> = self.pieces().flatten().collect();
        self.header.payload(&joined)
    }

    /// Offset and timestamp of every record, or `None` where they cannot be read.
    pub(super) fn timestamps(&self) -> Option<Vec<(i64, i64)>> {
        let payload = self.payload()?;
        let stamp = |delta| match self.header.is_log_append_time() {
            true => Some(self.header.max_timestamp),
            false => self.header.base_timestamp.checked_add(delta),
        };
        let of = |record: Option<Record<'_>>| {
            let record = record?;
            Some((self.base_offset.checked_add(record.offset_delta)?, stamp(record.timestamp_delta)?))
        };
        self.header.records(&payload).map(of).collect()
    }
}

fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn int16(header: &[u8; HEADER_SIZE], at: usize) -> i16 {
    i16::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

fn int32(header: &[u8; HEADER_SIZE], at: usize) -> i32 {
    i32::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

fn int64(header: &[u8; HEADER_SIZE], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

pub(super) const DELETE_HORIZON: i16 = 0x40;
const LOG_APPEND_TIME: i16 = 0x08;
const CODEC: i16 = 0x07;

const HEADER_SIZE: usize = 61;
/// Base offset and length end here; the length counts what follows.
const LENGTH_END: usize = 12;
/// The leader epoch ends and the magic byte stands here.
const MAGIC_AT: usize = 16;
/// The checksum ends here and covers what follows.
const CRC_END: usize = 21;
/// Batches shorter than this are copied together rather than kept in two pieces.
const SMALL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records written by a real broker (kafka.md §6, 8.7), without compression.
    const REAL: &str = "00000000000000000000005a000000000293cc6e87000800000002000001a085bf4a8d000001a085bf4aa0ffffffffffffffffffffffffffff0000000316000000010a616c706861001c000e02066b65790a627261766f001a000e04010e636861726c696500";

    fn real() -> Bytes {
        (0..REAL.len()).step_by(2).filter_map(|at| u8::from_str_radix(&REAL[at..at + 2], 16).ok()).collect()
    }

    #[test]
    fn a_batch_of_a_real_broker_is_valid() {
        let header = BatchHeader::parse(&real()).unwrap();
        assert_eq!((header.record_count, header.last_offset_delta, header.producer_id), (3, 2, -1));
        assert_eq!(header.validate(&real()), Ok(()));
    }

    #[test]
    fn every_single_damaged_byte_behind_the_length_is_noticed() {
        for at in MAGIC_AT..real().len() {
            let mut damaged = real().to_vec();
            damaged[at] ^= 0x40;
            let verdict = BatchHeader::parse(&damaged).and_then(|header| header.validate(&damaged));
            assert!(verdict.is_err(), "byte {at}");
        }
        for end in 0..real().len() {
            assert!(BatchHeader::parse(&real()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn p8_sequence_wraps_to_zero() {
        let header =
            BatchHeader { base_sequence: i32::MAX - 1, last_offset_delta: 2, ..BatchHeader::parse(&real()).unwrap() };
        assert_eq!(header.last_sequence(), 0);
    }

    #[test]
    fn a_batch_can_be_written_anew() {
        let header = BatchHeader::parse(&real()).unwrap();
        let payload = header.payload(&real()).unwrap();
        let records: Vec<_> = header.records(&payload).map(Option::unwrap).collect();
        let keys: Vec<_> = records.iter().map(|record| record.key).collect();
        assert_eq!(keys, [None, Some(&b"key"[..]), None]);
        let mut written = Vec::new();
        records.iter().for_each(|record| record.write(record.timestamp_delta, &mut written));
        assert_eq!(written, payload);
        for codec in 0..=ZSTD {
            let (header, bytes) = header.recompressed(&real(), codec).unwrap();
            assert_eq!(BatchHeader::parse(&bytes), Ok(header), "codec {codec}");
            assert_eq!((header.validate(&bytes), header.codec()), (Ok(()), codec));
            assert_eq!(header.payload(&bytes), Some(payload.clone()), "codec {codec}");
            let (stamped, bytes) = header.stamped(&bytes, 77);
            assert_eq!(stamped.validate(&bytes), Ok(()));
            let stored = StoredBatch::new(stamped, bytes, 5, 1, 0);
            assert_eq!(stored.timestamps().unwrap(), [(5, 77), (6, 77), (7, 77)]);
        }
    }

    #[test]
    fn no_batch_keeps_more_than_twice_its_bytes_alive() {
        let payload = vec![0; 10_000];
        let (header, bytes) = BatchHeader::parse(&real()).unwrap().write(&payload);
        for (frame, shared) in [(bytes.len(), true), (2 * bytes.len(), true), (2 * bytes.len() + 1, false)] {
            let stored = StoredBatch::new(header, bytes.clone(), 0, 0, frame);
            assert_eq!(!stored.tail.is_empty(), shared, "a request of {frame} bytes");
        }
    }

    #[test]
    fn placing_changes_offset_and_epoch_and_nothing_else() {
        for frame in [0, 1 << 20] {
            let stored = StoredBatch::new(BatchHeader::parse(&real()).unwrap(), real(), 77, 5, frame);
            let placed: Vec<u8> = stored.pieces().flatten().collect();
            assert_eq!(placed[..8], 77i64.to_be_bytes());
            assert_eq!(placed[12..16], 5i32.to_be_bytes());
            assert_eq!(placed[16..], real()[16..]);
            assert_eq!(placed[8..12], real()[8..12]);
            assert_eq!(stored.last_offset(), 79);
            let offsets: Vec<i64> = stored.timestamps().unwrap().into_iter().map(|(offset, _)| offset).collect();
            assert_eq!(offsets, [77, 78, 79]);
        }
    }
}
