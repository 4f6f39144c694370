//! What a control record says: the markers that transactions and KRaft leave between records (KIP-98, KIP-595).
//!
//! Rules this file keeps:
//! - the type stands in the key behind a version; versions to come may add to key and value, so more is no damage;
//! - a type that is not known is kept as its number: readers pass over it, as Kafka's own do.

use std::fmt;

use super::{decode::DecodedBatch, view::RecordView};
use crate::error::Error;

/// What a control record is for, by Kafka's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlType(pub i16);

impl ControlType {
    /// The transaction of the batch's producer ends here and never happened.
    pub const ABORT: Self = Self(0);
    /// The transaction of the batch's producer ends here.
    pub const COMMIT: Self = Self(1);
    /// KRaft: a leader was elected.
    pub const LEADER_CHANGE: Self = Self(2);
    /// KRaft: a snapshot begins.
    pub const SNAPSHOT_HEADER: Self = Self(3);
    /// KRaft: a snapshot ends.
    pub const SNAPSHOT_FOOTER: Self = Self(4);
    /// KRaft: the version of the protocol (KIP-853).
    pub const KRAFT_VERSION: Self = Self(5);
    /// KRaft: who votes (KIP-853).
    pub const KRAFT_VOTERS: Self = Self(6);

    /// Kafka's name of the type; `None` for a number it has not given yet.
    pub fn name(self) -> Option<&'static str> {
        let names =
            ["ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"];
        usize::try_from(self.0).ok().and_then(|number| names.get(number).copied())
    }

    fn ends_transaction(self) -> bool {
        matches!(self, Self::ABORT | Self::COMMIT)
    }
}

impl fmt::Debug for ControlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "ControlType({})", self.0),
        }
    }
}

/// A control record, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// What it is for.
    pub kind: ControlType,
    /// The version of the record's key.
    pub version: i16,
    /// The epoch of the transaction coordinator that wrote an abort or commit, if the value has it.
    pub coordinator_epoch: Option<i32>,
}

impl ControlRecord {
    /// Reads the key and value of a control record; `None` if the key is too short.
    pub fn read(record: &RecordView<'_>) -> Option<Self> {
        let (version, key) = take_i16(record.key?)?;
        let (number, _) = take_i16(key)?;
        let kind = ControlType(number);
        // Readers need the key alone; a marker whose value is not Kafka's still ends its transaction.
        let value = record.value.filter(|_| kind.ends_transaction());
        Some(Self { kind, version, coordinator_epoch: value.and_then(coordinator_epoch) })
    }
}

impl DecodedBatch {
    /// What the batch's control record says; `None` if this is no control batch, or one that compaction has emptied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`](crate::ErrorKind::CorruptBatch): the record or its key is damaged.
    pub fn control(&self) -> Result<Option<ControlRecord>, Error> {
        if !self.header.is_control() {
            return Ok(None);
        }
        let Some(record) = self.records().next().transpose()? else { return Ok(None) };
        ControlRecord::read(&record).map(Some).ok_or_else(|| self.header.corrupt("its control record is too short"))
    }
}

fn coordinator_epoch(value: &[u8]) -> Option<i32> {
    let (_version, value) = take_i16(value)?;
    value.first_chunk().copied().map(i32::from_be_bytes)
}

fn take_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (i16::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Batches, ChunkPool, DecodeScratch, header};

    fn marker(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<ControlRecord>, Error> {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        batch.append(0, key, value, &[]).unwrap();
        let mut batch = batch.seal();
        batch.attributes |= header::CONTROL;
        let region = batch.pieces(batch.stamp(7, 3, -1)).concat();
        Batches::new(region.into()).next().unwrap()?.decode(&mut DecodeScratch::default(), 0)?.control()
    }

    fn read(key: &[u8], value: &[u8]) -> ControlRecord {
        marker(Some(key), Some(value)).unwrap().unwrap()
    }

    #[test]
    fn every_type_has_kafkas_name() {
        let end = [0, 0, 0, 0, 0, 9];
        assert_eq!(read(&[0, 0, 0, 0], &end).kind, ControlType::ABORT);
        let commit = read(&[0, 0, 0, 1], &end);
        assert_eq!((commit.kind, commit.version, commit.coordinator_epoch), (ControlType::COMMIT, 0, Some(9)));
        assert_eq!(format!("{:?}", read(&[0, 0, 0, 6], &[]).kind), "KRAFT_VOTERS");
        for (number, text) in [(7, "ControlType(7)"), (-1, "ControlType(-1)")] {
            let [high, low] = i16::to_be_bytes(number);
            assert_eq!(format!("{:?}", read(&[0, 0, high, low], &[]).kind), text);
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let commit = read(&[0, 1, 0, 1, 0xff], &[0, 1, 0, 0, 0, 9, 0xff]);
        assert_eq!((commit.kind, commit.version, commit.coordinator_epoch), (ControlType::COMMIT, 1, Some(9)));
    }

    #[test]
    fn c14_a_marker_without_its_type_is_damage_and_one_without_its_value_is_none() {
        let cases: [Option<&[u8]>; 3] = [None, Some(&[]), Some(&[0, 0, 0])];
        for key in cases {
            assert!(marker(key, Some(&[0; 6])).is_err(), "{key:?}");
        }
        let values: [Option<&[u8]>; 4] = [None, Some(&[]), Some(&[0]), Some(&[0; 5])];
        for value in values {
            let abort = marker(Some(&[0; 4]), value).unwrap().unwrap();
            assert_eq!((abort.kind, abort.coordinator_epoch), (ControlType::ABORT, None), "{value:?}");
        }
    }
}
