//! Writes the control batches that end transactions.
//!
//! Rules this file keeps:
//! - a marker is a record batch of its own, with one record, by the same format as a client's batches;
//! - nothing of the client's encoder is used.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::BatchHeader;

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    /// How often the coordinator has moved.
    pub(super) coordinator_epoch: i32,
    pub(super) commit: bool,
    /// The time of day it is written at, in milliseconds since 1970.
    pub(super) timestamp: i64,
}

impl Marker {
    /// The batch, at offset 0 and in no leader epoch, and its header.
    pub(super) fn encode(&self) -> (BatchHeader, Bytes) {
        let mut covered = BytesMut::with_capacity(SIZE);
        covered.put_i16(TRANSACTIONAL | CONTROL);
        covered.put_i32(0);
        covered.put_i64(self.timestamp);
        covered.put_i64(self.timestamp);
        covered.put_i64(self.producer_id);
        covered.put_i16(self.producer_epoch);
        // A marker has no sequence: it does not count among the producer's batches.
        covered.put_i32(-1);
        covered.put_i32(1);
        self.put_record(&mut covered);
        let mut batch = BytesMut::with_capacity(SIZE);
        batch.put_i64(0);
        // What follows the length: leader epoch, magic, checksum and what that covers.
        batch.put_i32(covered.len() as i32 + 9);
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(crc32c::crc32c(&covered));
        batch.put(covered);
        let header = BatchHeader {
            size: batch.len(),
            attributes: TRANSACTIONAL | CONTROL,
            last_offset_delta: 0,
            base_timestamp: self.timestamp,
            max_timestamp: self.timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: -1,
            record_count: 1,
        };
        (header, batch.freeze())
    }

    /// The record: every length in it is small, so that its zigzag form is one byte.
    fn put_record(&self, out: &mut BytesMut) {
        let mut record = BytesMut::new();
        // Attributes, timestamp delta and offset delta.
        record.put_slice(&[0, 0, 0]);
        record.put_u8(zigzag(4));
        record.put_i16(0);
        record.put_i16(i16::from(self.commit));
        record.put_u8(zigzag(6));
        record.put_i16(0);
        record.put_i32(self.coordinator_epoch);
        // No headers.
        record.put_u8(0);
        out.put_u8(zigzag(record.len() as u8));
        out.put(record);
    }
}

/// A length below 64.
fn zigzag(length: u8) -> u8 {
    length << 1
}

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const SIZE: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::batch::BatchError;

    #[test]
    fn a_marker_is_a_batch_as_kafka_writes_it() {
        let marker =
            Marker { producer_id: 2, producer_epoch: 1, coordinator_epoch: 3, commit: true, timestamp: 0x0102 };
        let (header, bytes) = marker.encode();
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        // The checksum is right: what is wrong with it is that no client may write it.
        assert_eq!(header.validate(&bytes), Err(BatchError::Invalid("a control batch from a client")));
        assert!(header.is_control() && header.is_transactional());
        assert_eq!(bytes.len(), SIZE);
        let record = [0x20, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 3, 0];
        assert_eq!(bytes[61..], record, "key: version and type, value: version and coordinator epoch");
        let (_, aborted) = Marker { commit: false, ..marker }.encode();
        assert_eq!(aborted[69], 0);
    }
}
