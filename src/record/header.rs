//! The 61 bytes in front of a batch's records (magic 2, KIP-98).
//!
//! Rules this file keeps:
//! - reading is total: any 61 bytes become a header or an error, numbers that would overflow later are refused here;
//! - the checksum covers everything behind it, so base offset and leader epoch may be changed by a broker.

use super::compress::Compression;
use crate::error::{Error, ErrorKind};

/// The bytes of a batch's header.
pub const HEADER_LEN: usize = 61;
/// Base offset and length: what the length itself does not count.
pub const LOG_OVERHEAD: usize = 12;
/// Where the bytes that the checksum covers begin.
pub const CRC_COVERS: usize = 21;
/// Where a batch of any format says which format it is.
pub(crate) const MAGIC_AT: usize = 16;

/// The bits of the attributes that name the codec.
pub const CODEC_MASK: i16 = 0x07;
/// The timestamps were set by the broker.
pub const LOG_APPEND_TIME: i16 = 0x08;
/// The batch is part of a transaction.
pub const TRANSACTIONAL: i16 = 0x10;
/// The batch holds a marker of the transaction coordinator, not records of a user.
pub const CONTROL: i16 = 0x20;
/// The base timestamp is the time from which on the log cleaner may drop tombstones and markers (KIP-534).
pub const DELETE_HORIZON: i16 = 0x40;

/// A batch's header, number by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record (of the first one ever written; compaction may have removed it).
    pub base_offset: i64,
    /// The bytes behind this number.
    pub length: i32,
    /// The epoch of the leader that appended the batch; -1 if not known.
    pub leader_epoch: i32,
    /// The checksum as written.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// The last offset of the batch, counted from the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from, in milliseconds since 1970: the first one's as written, and once the log
    /// cleaner has found a tombstone or marker in the batch, the [`delete_horizon`](Self::delete_horizon).
    pub base_timestamp: i64,
    /// The latest timestamp, in milliseconds since 1970; with [`LOG_APPEND_TIME`] that of every record.
    pub max_timestamp: i64,
    /// The producer's id; -1 without idempotence.
    pub producer_id: i64,
    /// The producer's epoch; -1 without idempotence.
    pub producer_epoch: i16,
    /// The sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// The number of records that are in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// The offset of the batch's last record, whether or not compaction has removed it.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.length).unwrap_or(0)
    }

    /// Whether the batch holds a transaction marker: it is never delivered, but its offsets count.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the broker set the timestamps.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// From when on the log cleaner may drop the batch's tombstones and markers, in milliseconds since 1970 (KIP-534);
    /// `None` until it has come across one.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    ///
    /// The codec is none that Kafka has defined.
    pub fn compression(&self) -> Result<Compression, Error> {
        let id = self.attributes & CODEC_MASK;
        Compression::from_id(id).ok_or_else(|| self.corrupt(format_args!("codec {id} is not known")))
    }

    /// Reads a header; the rest of the batch need not be there yet.
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, Error> {
        let header = Self {
            base_offset: i64::from_be_bytes(cut(bytes, 0)),
            length: i32::from_be_bytes(cut(bytes, 8)),
            leader_epoch: i32::from_be_bytes(cut(bytes, 12)),
            crc: u32::from_be_bytes(cut(bytes, 17)),
            attributes: i16::from_be_bytes(cut(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(cut(bytes, 23)),
            base_timestamp: i64::from_be_bytes(cut(bytes, 27)),
            max_timestamp: i64::from_be_bytes(cut(bytes, 35)),
            producer_id: i64::from_be_bytes(cut(bytes, 43)),
            producer_epoch: i16::from_be_bytes(cut(bytes, 51)),
            base_sequence: i32::from_be_bytes(cut(bytes, 53)),
            record_count: i32::from_be_bytes(cut(bytes, 57)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Error> {
        if self.base_offset < 0 || self.base_offset.checked_add(i64::from(self.last_offset_delta)).is_none() {
            return Err(self.corrupt("its offsets are out of range"));
        }
        // A batch that compaction has emptied keeps its last offset and has no records; one that was written empty
        // has -1 as its last offset delta.
        if self.last_offset_delta < -1 || self.record_count < 0 {
            return Err(self.corrupt("it has a negative number of records"));
        }
        if i64::from(self.record_count) > i64::from(self.last_offset_delta) + 1 {
            return Err(self.corrupt("it has more records than offsets"));
        }
        Ok(())
    }

    /// The header as it is written.
    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                out[at] = *byte;
                at += 1;
            }
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.length.to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&[2]);
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        out
    }

    /// An error that names this batch.
    #[cold]
    pub(super) fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        let Self { base_offset, length, .. } = self;
        Error::new(
            ErrorKind::CorruptBatch,
            format!("the batch at offset {base_offset} (length {length}) is damaged: {what}"),
        )
    }
}

/// `N` bytes from `at` of a header; the offsets above are within it.
fn cut<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
