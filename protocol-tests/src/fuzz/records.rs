//! Record batches: the region of a Fetch response as a peer wrote it, and batches with one thing broken.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use milena::record::{
    BatchBuilder, Batches, ChunkPool, Compression, DecodeScratch, DecodedBatch, Header, RawBatch, SealedBatch,
    header::{CRC_COVERS, HEADER_LEN, LOG_OVERHEAD, TRANSACTIONAL},
};

use super::Tape;

/// What a record says, owned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Target `record_batch`: any bytes as the records of a partition.
pub(super) fn raw(input: &[u8]) {
    let mut tape = Tape::new(input);
    let only_right = tape.byte() & 1 != 0;
    walk(Bytes::copy_from_slice(tape.rest()), only_right);
}

/// Target `decompress`: any bytes as the compressed records of a batch whose header and checksum are right.
pub(super) fn decompress(input: &[u8]) {
    let mut tape = Tape::new(input);
    let codec = i16::from(tape.byte() % 4) + 1;
    let limit = [MAX_OUTPUT, 0, 1, 7, 100, 4096, 65_536, 65_537][usize::from(tape.byte() % 8)];
    let mut bytes = vec![0; HEADER_LEN];
    bytes[16] = 2;
    bytes[21..23].copy_from_slice(&codec.to_be_bytes());
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    bytes.extend(tape.rest());
    fix(&mut bytes);
    let mut batches = Batches::new(bytes.into());
    let batch = batches.next().expect("a batch").expect("a header that can be read");
    assert!(batches.next().is_none() && batches.leftover() == 0);
    batch.check_crc().expect("the checksum that was written");

    let kept = decode(&batch, limit);
    let fresh = batch.decode(&mut DecodeScratch::new(0), limit);
    assert_eq!(kept.as_ref().ok().map(|batch| &batch.data), fresh.as_ref().ok().map(|batch| &batch.data));
    let Ok(decoded) = kept else { return };
    let length = decoded.data.len();
    assert!(length <= limit, "{length} bytes, the limit was {limit}");
    let exact = decode(&batch, length).expect("the limit is just reached");
    assert_eq!(exact.data, decoded.data);
    assert!(decode(&batch, length - 1).is_err(), "one byte over the limit");
    walk_batch(&decoded);
}

/// Target `structured_batch`: records that went in come out; then one thing is broken, and the batch behind it has to
/// come out all the same.
pub(super) fn structured(input: &[u8]) {
    let mut tape = Tape::new(input);
    let codec = Compression::from_id(i16::from(tape.byte() % 5)).expect("one of Kafka's codecs");
    let level = level(codec, tape.byte());
    let place = tape.byte() % 4;
    let (sealed, said) = build(&mut tape);
    let (id, epoch, sequence) = (tape.number(), tape.number() as i16, tape.number() as i32);
    let good = wire(sealed.clone().compress(codec, level), id, epoch, sequence);
    assert_eq!(read_all(&good), said);
    if place == 0 {
        return;
    }

    let broken = match place {
        // In the records, before they are compressed.
        1 => {
            let mut body = sealed.body().concat();
            tape.damage(&mut body);
            let mut sealed = sealed;
            sealed.set_body(vec![body.into()]);
            wire(sealed.compress(codec, level), id, epoch, sequence)
        }
        // In the batch, whose length and checksum are then right again.
        2 => {
            let mut bytes = good.to_vec();
            tape.damage(&mut bytes);
            fix(&mut bytes);
            bytes.into()
        }
        _ => {
            let mut bytes = good.to_vec();
            tape.damage(&mut bytes);
            bytes.into()
        }
    };
    let region: Bytes = [broken.clone(), good].concat().into();
    let read = walk(region, false);
    if place != 3 && broken.len() > LOG_OVERHEAD + 4 {
        assert_eq!(read.last(), Some(&Some(said)), "the batch behind a broken one");
    }
}

/// Walks a whole region. What each batch said, `None` where it cannot be read.
pub(super) fn walk(region: Bytes, only_right: bool) -> Vec<Option<Vec<Said>>> {
    let length = region.len();
    let (mut batches, mut read, mut taken, mut budget) = (Batches::new(region), Vec::new(), 0, MAX_REGION);
    while let Some(batch) = batches.next() {
        assert!(read.len() <= length / LOG_OVERHEAD, "more batches than the region can hold");
        let said = batch.ok().and_then(|batch| {
            taken += batch.bytes().len();
            assert!(taken + batches.leftover() <= length);
            assert!(batch.last_offset() >= batch.base_offset.saturating_sub(1));
            let right = batch.check_crc();
            if only_right && right.is_err() {
                return None;
            }
            let limit = MAX_OUTPUT.min(budget);
            let decoded = decode(&batch, limit).ok()?;
            let is_compressed = !matches!(batch.compression(), Ok(Compression::None));
            assert!(decoded.data.len() <= if is_compressed { limit } else { batch.bytes().len() });
            budget -= decoded.data.len().min(budget);
            walk_batch(&decoded)
        });
        read.push(said);
    }
    assert!(batches.next().is_none(), "a region that has ended goes on");
    let _ = batches.cut_batch_len();
    read
}

/// Walks one batch in every way there is. What it said, `None` if it is damaged.
fn walk_batch(batch: &DecodedBatch) -> Option<Vec<Said>> {
    let mut records = batch.records();
    let (mut said, mut failed) = (Vec::new(), false);
    loop {
        let position = records.byte_position();
        match records.next() {
            Some(Ok(record)) => {
                assert!(!failed, "a record behind an error");
                assert!((batch.header.base_offset..=batch.header.last_offset()).contains(&record.offset));
                assert_eq!(batch.record_at(position), Some(record));
                let headers = record.headers().map(|header| {
                    let _ = header.name();
                    (header.key.to_vec(), header.value.map(<[u8]>::to_vec))
                });
                said.push(Said {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers.collect(),
                });
            }
            Some(Err(error)) => {
                assert!(!failed && !error.to_string().is_empty());
                failed = true;
            }
            None => break,
        }
    }
    assert_eq!(batch.check().is_err(), failed, "checking and walking disagree");
    let _ = batch.control();
    if failed {
        return None;
    }
    assert_eq!(said.len(), usize::try_from(batch.header.record_count).expect("a count"));
    Some(said)
}

/// With a scratch that many batches have used before.
fn decode(batch: &RawBatch, limit: usize) -> Result<DecodedBatch, milena::Error> {
    thread_local! {
        static SCRATCH: RefCell<DecodeScratch> = RefCell::new(DecodeScratch::new(1 << 20));
    }
    SCRATCH.with_borrow_mut(|scratch| batch.decode(scratch, limit))
}

fn read_all(bytes: &Bytes) -> Vec<Said> {
    let mut read = walk(bytes.clone(), true);
    assert_eq!(read.len(), 1, "one batch");
    read.pop().flatten().expect("a batch that can be read")
}

/// A batch of records from the tape, and what they say.
fn build(tape: &mut Tape<'_>) -> (SealedBatch, Vec<Said>) {
    thread_local! {
        static POOL: ChunkPool = ChunkPool::new(1 << 20);
    }
    let mut builder = POOL.with(BatchBuilder::new);
    let mut said: Vec<Said> = Vec::new();
    let count = tape.byte() % 32;
    for _ in 0..count {
        let timestamp = tape.number();
        let (key, value) = (tape.field(), tape.field());
        let headers: Vec<(String, Option<&[u8]>)> = (0..tape.byte() % 4)
            .map(|_| (String::from_utf8_lossy(tape.field().unwrap_or_default()).into_owned(), tape.field()))
            .collect();
        let borrowed: Vec<Header<'_>> = headers.iter().map(|(key, value)| Header { key, value: *value }).collect();
        // A timestamp may be too far from the first one: then the batch is as it was.
        if builder.append(timestamp, key, value, &borrowed).is_ok() {
            said.push(Said {
                offset: said.len() as i64,
                timestamp,
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                headers: headers
                    .into_iter()
                    .map(|(key, value)| (key.into_bytes(), value.map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
    }
    assert_eq!(builder.record_count() as usize, said.len());
    let mut sealed = builder.seal();
    if tape.byte() & 1 != 0 {
        sealed.attributes |= TRANSACTIONAL;
    }
    (sealed, said)
}

fn wire(sealed: SealedBatch, id: i64, epoch: i16, sequence: i32) -> Bytes {
    let header = sealed.stamp(id, epoch, sequence);
    let pieces = sealed.pieces(header);
    let mut bytes = BytesMut::new();
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    assert_eq!(bytes.len(), sealed.wire_len());
    bytes.freeze()
}

/// Makes length and checksum right, as far as they are there.
fn fix(bytes: &mut [u8]) {
    let length = (bytes.len().saturating_sub(LOG_OVERHEAD) as i32).to_be_bytes();
    if let Some(place) = bytes.get_mut(8..12) {
        place.copy_from_slice(&length);
    }
    let sum = crc32c::crc32c(bytes.get(CRC_COVERS..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(17..21) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// None that takes much memory: how much compressing takes is not a peer's choice.
fn level(codec: Compression, choice: u8) -> Option<i32> {
    match codec {
        Compression::Gzip => [None, Some(1), Some(6), Some(9)][usize::from(choice % 4)],
        Compression::Zstd => [None, Some(-7), Some(1), Some(5)][usize::from(choice % 4)],
        _ => None,
    }
}

const MAX_OUTPUT: usize = 256 << 10;
const MAX_REGION: usize = 1 << 20;
