//! Reads the header of a v2 record batch and checks it, by the broker's own understanding of the format.
//!
//! Rules this file keeps:
//! - nothing here is shared with the client: a mistake on one side must not be hidden by the same mistake on the other;
//! - the work is per batch, never per record, except where a caller asks for the records of one batch;
//! - a stored batch is the received bytes; only its first sixteen, which the checksum does not cover, are the broker's.

use bytes::{BufMut, Bytes, BytesMut};

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

    pub(super) fn codec(&self) -> i16 {
        self.attributes & 0x07
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// The sequence of the last record: after 2³¹ − 1 comes 0.
    pub(super) fn last_sequence(&self) -> i32 {
        let wrapped = (i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (1 << 31);
        i32::try_from(wrapped).unwrap_or(-1)
    }
}

/// The code of zstd, which needs Produce 7 or later (KIP-110) and is the last one there is.
pub(super) const ZSTD: i16 = 4;

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
    /// large request is copied, so that it does not keep all of it in memory.
    pub(super) fn new(header: BatchHeader, bytes: Bytes, base_offset: i64, leader_epoch: i32, frame: usize) -> Self {
        let copied = bytes.len() < SMALL || bytes.len().saturating_mul(16) < frame;
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

    /// Offset and timestamp of every record, or `None` where the batch is compressed or its records are malformed.
    pub(super) fn timestamps(&self) -> Option<Vec<(i64, i64)>> {
        if self.header.codec() != 0 {
            return None;
        }
        let joined: Vec<u8> = self.head.iter().chain(self.tail.iter()).copied().collect();
        let mut rest = joined.get(HEADER_SIZE..)?;
        let mut found = Vec::new();
        for _ in 0..self.header.record_count {
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let (record, after) = rest.split_at_checked(length)?;
            let mut fields = record.get(1..)?;
            let timestamp = self.header.base_timestamp.checked_add(varint(&mut fields)?)?;
            found.push((self.base_offset.checked_add(varint(&mut fields)?)?, timestamp));
            rest = after;
        }
        Some(found)
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

fn int16(header: &[u8; HEADER_SIZE], at: usize) -> i16 {
    i16::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

fn int32(header: &[u8; HEADER_SIZE], at: usize) -> i32 {
    i32::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

fn int64(header: &[u8; HEADER_SIZE], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|index| header[at + index]))
}

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
