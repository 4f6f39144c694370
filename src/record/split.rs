//! A batch that a broker calls too large becomes two (KIP-126).
//!
//! Rules this file keeps:
//! - records keep their order, and both halves have some; what the producer said of the batch is said of both;
//! - it is a rare thing: the records are decoded and encoded again, compressed ones decompressed for it.

use super::{BatchBuilder, Batches, DecodeScratch, Header, RecordView, SealedBatch, header::CODEC_MASK};
use crate::error::{Error, ErrorKind, Result};

impl SealedBatch {
    /// The same records in two batches of about half the bytes each, not compressed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RecordTooLarge`]: there is only one record. [`ErrorKind::CorruptBatch`]: the body is not what was sealed.
    pub fn split(&self) -> Result<[SealedBatch; 2]> {
        if self.record_count < 2 {
            return Err(Error::new(ErrorKind::RecordTooLarge, "a batch of one record cannot be split"));
        }
        let whole = self.pieces(self.stamp(-1, -1, -1)).concat();
        let nothing = || Error::new(ErrorKind::CorruptBatch, "a batch of ours does not read back");
        let whole = Batches::new(whole.into()).next().ok_or_else(nothing)??;
        let decoded = whole.decode(&mut DecodeScratch::default(), usize::MAX)?;
        let mut halves = [BatchBuilder::new(&self.pool), BatchBuilder::new(&self.pool)];
        let mut records = decoded.records();
        let last = self.record_count - 1;
        for number in 0..self.record_count {
            let is_behind_the_middle = records.byte_position() > decoded.data.len() / 2;
            let record = records.next().ok_or_else(nothing)??;
            let half = number == last || number > 0 && is_behind_the_middle;
            append(&mut halves[usize::from(half)], &record)?;
        }
        let attributes = self.attributes & !CODEC_MASK;
        Ok(halves.map(|half| SealedBatch { attributes, ..half.seal() }))
    }
}

fn append(half: &mut BatchBuilder, record: &RecordView<'_>) -> Result<()> {
    let names: Vec<_> = record.headers().map(|header| (header.name(), header.value)).collect();
    let headers: Vec<Header<'_>> = names.iter().map(|(key, value)| Header { key, value: *value }).collect();
    half.append(record.timestamp, record.key, record.value, &headers).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ChunkPool, Compression, header::TRANSACTIONAL};

    type Field = Option<Vec<u8>>;
    /// Each record: timestamp, key, value and headers.
    type Read = (i64, Field, Field, Vec<(Vec<u8>, Field)>);

    fn read(batch: &SealedBatch) -> Vec<Read> {
        let region = batch.pieces(batch.stamp(7, 0, 0)).concat().into();
        let raw = Batches::new(region).next().expect("a batch").expect("whole");
        raw.check_crc().expect("the checksum");
        let decoded = raw.decode(&mut DecodeScratch::default(), usize::MAX).expect("the records");
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = |record: &RecordView<'_>| {
            record.headers().map(|header| (header.key.to_vec(), owned(header.value))).collect()
        };
        let records = decoded.records().map(|record| record.expect("a record"));
        records.map(|record| (record.timestamp, owned(record.key), owned(record.value), headers(&record))).collect()
    }

    #[test]
    fn kip_126_the_halves_hold_the_records_in_their_order() -> Result<()> {
        for codec in [Compression::None, Compression::Gzip, Compression::Lz4] {
            // Lengths that put the middle of the bytes before the first, between, and into the last record.
            for lengths in [&[1, 1][..], &[1000, 1], &[1, 1000], &[1, 1, 1, 1, 1000], &[10; 101]] {
                let mut builder = BatchBuilder::new(&ChunkPool::default());
                let header = [Header { key: "h", value: None }, Header { key: "h", value: Some(b"x") }];
                for (number, length) in lengths.iter().enumerate() {
                    let (key, value) = (number.to_string(), vec![b'v'; *length]);
                    let value = (number != 1).then_some(&value[..]);
                    builder
                        .append(1000 - number as i64, Some(key.as_bytes()), value, &header[..number % 3])
                        .expect("room");
                }
                let batch = SealedBatch { attributes: TRANSACTIONAL, ..builder.seal() };
                let [first, second] = batch.clone().compress(codec, None).split()?;
                assert!(first.record_count > 0 && second.record_count > 0, "{codec} {lengths:?}");
                assert_eq!([first.attributes, second.attributes], [TRANSACTIONAL; 2], "{codec} {lengths:?}");
                assert_eq!([read(&first), read(&second)].concat(), read(&batch), "{codec} {lengths:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn kip_126_one_record_cannot_be_split() {
        let mut builder = BatchBuilder::new(&ChunkPool::default());
        builder.append(0, None, Some(b"alone"), &[]).expect("room");
        assert_eq!(builder.seal().split().map_err(|error| error.kind()).err(), Some(ErrorKind::RecordTooLarge));
    }
}
