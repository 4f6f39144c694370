//! Building a record batch (magic 2): records are encoded once, at append, into the bytes that go to the broker.
//!
//! Rules this file keeps:
//! - a record is copied once, from the caller's slices into a recycled chunk; appending allocates nothing per record;
//! - a record never straddles chunks, so a chunk is a whole number of records;
//! - deltas count from the first record; what a batch cannot express is an error before a byte is written, never a
//!   wrapped number;
//! - the checksum is summed once, chunk by chunk as each is full and still in the cache; the header is put in front of
//!   the sum at stamp, by powers that are known beforehand. A batch of one chunk is summed whole then: that is cheaper.

use bytes::Bytes;

use super::{
    chunk::{CHUNK, ChunkPool, chunk_size},
    crc,
    header::{self, BatchHeader, HEADER_LEN},
    varint::{self, Packed},
};
use crate::error::{Error, ErrorKind};

/// A header of a record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header's name; names may repeat.
    pub key: &'a str,
    /// The header's value; `None` is null.
    pub value: Option<&'a [u8]>,
}

/// Why a record was not appended. The batch is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// This batch cannot take the record, an empty one can: seal this one and begin another.
    BatchFull,
    /// No batch can take the record: it would be this many bytes.
    RecordTooLarge(usize),
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let message = match error {
            AppendError::BatchFull => "the record does not fit into what is left of its batch".into(),
            AppendError::RecordTooLarge(size) => {
                format!("the record takes {size} bytes, more than the {MAX_BODY} a batch can hold")
            }
        };
        Error::new(ErrorKind::RecordTooLarge, message)
    }
}

/// The open batch of one partition.
#[derive(Debug)]
pub struct BatchBuilder {
    pool: ChunkPool,
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
    /// How many bytes are expected of it: its first chunk has room for them, up to [`CHUNK`].
    expected: usize,
    /// The checksum of the full chunks, unless what is summed would be compressed afterwards.
    sum: Option<u32>,
    body: usize,
    records: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch. It takes its first chunk with its first record.
    pub fn new(pool: &ChunkPool) -> Self {
        Self {
            pool: pool.clone(),
            full: Vec::new(),
            open: Vec::new(),
            expected: CHUNK,
            sum: Some(0),
            body: 0,
            records: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// An empty batch that will be compressed: its records are not summed while they are appended.
    pub fn to_compress(pool: &ChunkPool) -> Self {
        let mut batch = Self::new(pool);
        batch.sum = None;
        batch
    }

    /// Tells how many bytes are expected, so that the first chunk is as small as that. Default: a whole [`CHUNK`].
    pub fn expecting(mut self, bytes: usize) -> Self {
        self.expected = bytes;
        self
    }

    /// Appends a record of `timestamp` (milliseconds since 1970) behind those already here.
    ///
    /// # Errors
    ///
    /// [`AppendError::BatchFull`] if the timestamp, the record's number or the size is out of this batch's reach,
    /// [`AppendError::RecordTooLarge`] if it is out of any batch's.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), AppendError> {
        self.append_within(usize::MAX, timestamp, key, value, headers)
    }

    /// As [`append`](Self::append), but a batch that has records already is full if it would exceed `limit` bytes.
    ///
    /// The first record of a batch is taken whatever its size, as with Java's `batch.size`.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    #[inline]
    pub fn append_within(
        &mut self,
        limit: usize,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), AppendError> {
        let first = self.records == 0;
        let delta = if first { Some(0) } else { timestamp.checked_sub(self.base_timestamp) };
        let Some(delta) = delta else { return Err(AppendError::BatchFull) };
        let layout = Layout::new(self.records, delta, key, value, headers);
        let size = layout.size();
        if self.body + size > MAX_BODY.min(limit.saturating_sub(HEADER_LEN)) || self.records == i32::MAX {
            self.refuse(size)?;
        }
        if self.open.capacity() - self.open.len() < size {
            self.next_chunk(size);
        }
        layout.write(&mut self.open, key, value, headers);
        self.body += size;
        self.records += 1;
        if first {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        } else if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
        }
        Ok(())
    }

    /// Whether a record over the limit is refused all the same: the first one is not, unless no batch can hold it.
    #[cold]
    fn refuse(&self, size: usize) -> Result<(), AppendError> {
        match size {
            size if size > MAX_BODY => Err(AppendError::RecordTooLarge(size)),
            _ if self.records == 0 => Ok(()),
            _ => Err(AppendError::BatchFull),
        }
    }

    #[cold]
    fn next_chunk(&mut self, size: usize) {
        // As much again as is there: at most half of a batch's memory is empty.
        let expected = if self.records == 0 { self.expected } else { self.body };
        let chunk = self.pool.take(chunk_size(size, expected));
        let before = std::mem::replace(&mut self.open, chunk);
        if !before.is_empty() {
            self.sum = self.sum.map(|sum| crc::extend(sum, &before));
            self.full.push(before);
        }
    }

    /// Whether no record was appended yet.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The number of records appended.
    pub fn record_count(&self) -> i32 {
        self.records
    }

    /// The bytes of the records, without the batch's header.
    pub fn body_len(&self) -> usize {
        self.body
    }

    /// The bytes of the batch as it would go out now, uncompressed.
    pub fn batch_len(&self) -> usize {
        HEADER_LEN + self.body
    }

    /// The bytes that still fit without taking another chunk.
    pub fn room(&self) -> usize {
        self.open.capacity() - self.open.len()
    }

    /// The memory that the batch holds, filled or not.
    pub fn memory(&self) -> usize {
        self.full.iter().map(Vec::capacity).sum::<usize>() + self.open.capacity()
    }

    /// Ends the batch: from here on its records do not change.
    pub fn seal(mut self) -> SealedBatch {
        let mut chunks = std::mem::take(&mut self.full);
        let last = std::mem::take(&mut self.open);
        let sum = self.sum.filter(|_| !chunks.is_empty()).map(|sum| crc::extend(sum, &last));
        if !last.is_empty() {
            chunks.push(last);
        }
        SealedBatch {
            sum,
            body: chunks.into_iter().map(|chunk| self.pool.freeze(chunk)).collect(),
            attributes: 0,
            record_count: self.records,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            pool: self.pool.clone(),
        }
    }
}

impl Drop for BatchBuilder {
    fn drop(&mut self) {
        for chunk in self.full.drain(..).chain([std::mem::take(&mut self.open)]) {
            self.pool.give_back(chunk);
        }
    }
}

/// A batch whose records are final; only producer id, epoch and sequence are still to come.
#[derive(Debug, Clone)]
pub struct SealedBatch {
    pub(super) body: Vec<Bytes>,
    /// The batch's attributes: the codec, and what the producer adds ([`header::TRANSACTIONAL`]).
    pub attributes: i16,
    /// The number of records.
    pub record_count: i32,
    /// The first record's timestamp, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The latest timestamp of all records, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The checksum of the body alone, if it was summed before.
    pub(super) sum: Option<u32>,
    pub(super) pool: ChunkPool,
}

impl SealedBatch {
    /// The records' bytes, compressed or not.
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// Puts other bytes into the place of the records'. What they are is the caller's affair.
    pub fn set_body(&mut self, body: Vec<Bytes>) {
        // Not theirs any more.
        (self.body, self.sum) = (body, None);
    }

    /// The bytes of the records section.
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// The bytes of the whole batch as it goes to the broker.
    pub fn wire_len(&self) -> usize {
        HEADER_LEN + self.body_len()
    }

    /// The batch's header with its checksum. Costs one pass over the body, unless that was summed before.
    ///
    /// Without idempotence all three are -1.
    pub fn stamp(&self, producer_id: i64, epoch: i16, base_sequence: i32) -> Bytes {
        let mut header = BatchHeader {
            base_offset: 0,
            // `append` keeps the body below `MAX_BODY`, and `compress` never makes it longer.
            length: (self.wire_len() - header::LOG_OVERHEAD) as i32,
            leader_epoch: -1,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.record_count.saturating_sub(1),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch: epoch,
            base_sequence,
            record_count: self.record_count,
        };
        let tail = header.to_bytes();
        let sum = crc::extend(0, &tail[header::CRC_COVERS..]);
        header.crc = match self.sum {
            Some(body) => crc::combine(sum, body, self.body_len()),
            None => self.body.iter().fold(sum, |sum, piece| crc::extend(sum, piece)),
        };
        Bytes::copy_from_slice(&header.to_bytes())
    }

    /// The whole batch in pieces, for a vectored write. Nothing is copied.
    pub fn pieces(&self, header: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(1 + self.body.len());
        pieces.push(header);
        pieces.extend(self.body.iter().cloned());
        pieces
    }
}

/// The exact bytes that a record takes, its own length included.
pub fn record_size(
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> usize {
    Layout::new(offset_delta, timestamp_delta, key, value, headers).size()
}

/// The numbers of one record, in their final bytes.
struct Layout {
    length: Packed,
    timestamp: Packed,
    offset: Packed,
    key: Packed,
    value: Packed,
    body: usize,
}

impl Layout {
    #[inline]
    fn new(
        offset_delta: i32,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Self {
        let (timestamp, offset) = (varint::pack(timestamp_delta), varint::pack(i64::from(offset_delta)));
        let (key_len, value_len) = (varint::pack(field_len(key)), varint::pack(field_len(value)));
        let headers = if headers.is_empty() { 1 } else { headers_size(headers) };
        // The record's attributes take a byte.
        let fixed = 1 + timestamp.len + offset.len + key_len.len + value_len.len;
        let fields = key.map_or(0, <[u8]>::len).saturating_add(value.map_or(0, <[u8]>::len));
        let body = fixed.saturating_add(fields).saturating_add(headers);
        Self { length: varint::pack(body as i64), timestamp, offset, key: key_len, value: value_len, body }
    }

    /// The bytes that the record takes, its own length included.
    #[inline]
    fn size(&self) -> usize {
        self.length.len.saturating_add(self.body)
    }

    /// Writes the record; `out` has room for it, so that nothing reallocates.
    #[inline]
    fn write(&self, out: &mut Vec<u8>, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        let front = Front::default().with(self.length).with(ATTRIBUTES).with(self.timestamp).with(self.offset);
        let front = front.with(self.key);
        // A front is written as a whole and cut to its length, for which there has to be room behind it.
        let fits = front.len + self.value.len <= Front::MOST && out.capacity() - out.len() >= self.size() + Front::MOST;
        if !fits || !headers.is_empty() {
            return self.write_slowly(out, key, value, headers);
        }
        match key {
            None => front.with(self.value).put(out),
            Some(key) => {
                front.put(out);
                out.extend_from_slice(key);
                Front::default().with(self.value).put(out);
            }
        }
        out.extend_from_slice(value.unwrap_or_default());
        out.push(0);
    }

    #[cold]
    #[inline(never)]
    fn write_slowly(&self, out: &mut Vec<u8>, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        for number in [self.length, ATTRIBUTES, self.timestamp, self.offset, self.key] {
            write_number(out, number);
        }
        out.extend_from_slice(key.unwrap_or_default());
        write_number(out, self.value);
        out.extend_from_slice(value.unwrap_or_default());
        write_headers(out, headers);
    }
}

/// Numbers that are written at once.
#[derive(Clone, Copy, Default)]
struct Front {
    bits: u128,
    len: usize,
}

impl Front {
    /// The most bytes.
    const MOST: usize = 16;

    #[inline(always)]
    fn with(self, number: Packed) -> Self {
        // What is shifted beyond the end is not written: whoever asks for more than `MOST` bytes writes slowly.
        Self { bits: self.bits | number.bits << (8 * self.len as u32 % u128::BITS), len: self.len + number.len }
    }

    #[inline(always)]
    fn put(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bits.to_le_bytes());
        out.truncate(end);
    }
}

/// None are defined.
const ATTRIBUTES: Packed = Packed { bits: 0, len: 1 };

#[cold]
#[inline(never)]
fn headers_size(headers: &[Header<'_>]) -> usize {
    headers.iter().fold(varint::size(headers.len() as i64), |sum, header| {
        sum.saturating_add(field_size(Some(header.key.as_bytes()))).saturating_add(field_size(header.value))
    })
}

fn write_number(out: &mut Vec<u8>, number: Packed) {
    out.extend_from_slice(number.bits.to_le_bytes().get(..number.len).unwrap_or_default());
}

fn field_size(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint::size(bytes.len() as i64) + bytes.len(),
        None => 1,
    }
}

/// Writes one record without headers behind others; the numbers are what a batch can express.
pub(super) fn push_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let layout = Layout::new(offset_delta, timestamp_delta, key, value, &[]);
    out.reserve(layout.size());
    layout.write(out, key, value, &[]);
}

#[cold]
#[inline(never)]
fn write_headers(out: &mut Vec<u8>, headers: &[Header<'_>]) {
    let number = |out: &mut Vec<u8>, value| write_number(out, varint::pack(value));
    number(out, headers.len() as i64);
    for header in headers {
        number(out, header.key.len() as i64);
        out.extend_from_slice(header.key.as_bytes());
        number(out, field_len(header.value));
        out.extend_from_slice(header.value.unwrap_or_default());
    }
}

#[inline]
fn field_len(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |bytes| bytes.len() as i64)
}

/// The longest records section whose batch length still fits its 32 bits.
const MAX_BODY: usize = i32::MAX as usize - (HEADER_LEN - header::LOG_OVERHEAD);

const _: () = assert!(CHUNK < MAX_BODY);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::golden;

    /// What a broker stores: the leader epoch is the broker's and not covered by the checksum.
    fn stored(batch: &SealedBatch, stamp: (i64, i16, i32)) -> Vec<u8> {
        let mut bytes = batch.pieces(batch.stamp(stamp.0, stamp.1, stamp.2)).concat();
        bytes[12..16].fill(0);
        bytes
    }

    fn header<'a>(key: &'a str, value: Option<&'a [u8]>) -> Header<'a> {
        Header { key, value }
    }

    #[test]
    fn golden_null_and_empty_fields() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        batch.append(1_600_000_000_000, Some(b""), None, &[]).unwrap();
        batch.append(1_600_000_000_000, None, Some(b""), &[]).unwrap();
        batch.append(1_600_000_000_000, None, None, &[]).unwrap();
        assert_eq!(stored(&batch.seal(), (-1, -1, -1)), golden::bytes(golden::NULLABLE));
    }

    #[test]
    fn golden_headers() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        let first = [header("content-type", Some(b"application/json")), header("trace-id", Some(&[0, 1, 2]))];
        batch.append(1_600_000_000_000, None, Some(b"alpha"), &first).unwrap();
        let second = [header("empty-value", Some(b"")), header("null-value", None)];
        batch.append(1_600_000_000_010, Some(b"key"), Some(b"bravo"), &second).unwrap();
        assert_eq!(stored(&batch.seal(), (-1, -1, -1)), golden::bytes(golden::HEADERS));
    }

    #[test]
    fn golden_transaction() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        batch.append(1_600_000_000_000, None, Some(b"committed-1"), &[]).unwrap();
        batch.append(1_600_000_000_005, None, Some(b"committed-2"), &[]).unwrap();
        let mut batch = batch.seal();
        batch.attributes |= header::TRANSACTIONAL;
        assert_eq!(stored(&batch, (2, 1, 0)), golden::bytes(golden::TRANSACTION));
    }

    #[test]
    fn sizes_are_known_before_appending() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        let headers = [header("a", Some(b"1")), header("a", None)];
        for (index, length) in [0, 1, 63, 64, 8191, 8192, 100_000].into_iter().enumerate() {
            let value = vec![b'v'; length];
            let before = batch.body_len();
            let size = record_size(index as i32, 0, Some(b"k"), Some(&value), &headers);
            batch.append(7, Some(b"k"), Some(&value), &headers).unwrap();
            assert_eq!(batch.body_len() - before, size);
        }
        let batch_len = batch.batch_len();
        let sealed = batch.seal();
        assert_eq!(sealed.body_len(), sealed.body.iter().map(Bytes::len).sum::<usize>());
        assert_eq!(sealed.wire_len(), batch_len);
    }

    #[test]
    fn a_record_never_straddles_chunks() {
        let pool = ChunkPool::default();
        let mut batch = BatchBuilder::new(&pool);
        for length in [20_000, 20_000, 40_000, 5] {
            batch.append(0, None, Some(&vec![1; length]), &[]).unwrap();
        }
        let sealed = batch.seal();
        assert_eq!(sealed.body.len(), 4);
        assert!(sealed.body.iter().all(|piece| piece.len() <= CHUNK || piece.len() > 40_000));
        drop(sealed);
        assert_eq!(pool.idle_bytes(), 3 * CHUNK);
    }

    #[test]
    fn a_batch_that_was_expected_to_be_small_may_become_large() {
        let pool = ChunkPool::default();
        let fill = |mut batch: BatchBuilder, values: &[usize]| {
            for length in values {
                batch.append(7, None, Some(&vec![b'v'; *length]), &[]).unwrap();
            }
            (batch.memory(), batch.seal())
        };
        let cases: [(&[usize], usize); 4] = [
            (&[1000], 2048),
            (&[1000, 1000, 1000, 1000, 1000], 2048 + 2048 + 4096),
            (&[3000, 10], 4096),
            (&[10, 40_000], 2048 + record_size(1, 0, None, Some(&[0; 40_000]), &[])),
        ];
        for (values, memory) in cases {
            let (held, little) = fill(BatchBuilder::new(&pool).expecting(0), values);
            assert_eq!(held, memory, "{values:?}");
            let (_, usual) = fill(BatchBuilder::new(&pool), values);
            assert_eq!(little.body().concat(), usual.body().concat(), "{values:?}");
            assert_eq!(little.stamp(1, 2, 3), usual.stamp(1, 2, 3), "{values:?}");
        }
    }

    #[test]
    fn a_sum_of_chunks_is_the_sum_of_the_whole() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        for number in 0..9_000u32 {
            batch.append(7, None, Some(&number.to_be_bytes()), &[]).unwrap();
        }
        let mut batch = batch.seal();
        assert!(batch.body.len() > 2 && batch.sum.is_some(), "{} chunks", batch.body.len());
        let stamps = [(7, 3, 11), (-1, -1, -1)];
        let summed = stamps.map(|(id, epoch, sequence)| batch.stamp(id, epoch, sequence));
        batch.set_body(batch.body().to_vec());
        assert_eq!(summed, stamps.map(|(id, epoch, sequence)| batch.stamp(id, epoch, sequence)));
    }

    #[test]
    fn extreme_timestamps_end_the_batch_instead_of_wrapping() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        batch.append(-2, None, None, &[]).unwrap();
        assert_eq!(batch.append(i64::MAX, None, None, &[]), Err(AppendError::BatchFull));
        assert_eq!(batch.append(i64::MIN, None, None, &[]), Ok(()));
        assert_eq!(batch.record_count(), 2);
        for timestamp in [i64::MIN, i64::MAX] {
            let mut batch = BatchBuilder::new(&ChunkPool::default());
            batch.append(timestamp, None, None, &[]).unwrap();
            assert_eq!(batch.seal().max_timestamp, timestamp);
        }
    }

    #[test]
    fn a_limit_ends_the_batch_but_never_refuses_its_first_record() {
        let mut batch = BatchBuilder::new(&ChunkPool::default());
        batch.append_within(100, 0, None, Some(&[0; 200]), &[]).unwrap();
        assert_eq!(batch.append_within(100, 0, None, None, &[]), Err(AppendError::BatchFull));
        assert_eq!(batch.append_within(0, 0, None, None, &[]), Err(AppendError::BatchFull));
        let room = batch.batch_len() + record_size(1, 0, None, None, &[]);
        assert_eq!(batch.append_within(room - 1, 0, None, None, &[]), Err(AppendError::BatchFull));
        assert_eq!(batch.append_within(room, 0, None, None, &[]), Ok(()));
    }

    #[test]
    fn p17_a_record_beyond_any_batch_is_refused_with_its_size() {
        let pool = ChunkPool::default();
        let part = vec![0; 1 << 20];
        // 2,100 references to one mebibyte: the size overflows the batch, the memory is one mebibyte.
        let headers: Vec<_> = (0..2100).map(|_| header("h", Some(&part))).collect();
        let mut batch = BatchBuilder::new(&pool);
        let refused = batch.append(0, None, None, &headers).unwrap_err();
        assert!(matches!(refused, AppendError::RecordTooLarge(size) if size > MAX_BODY), "{refused:?}");
        assert!(batch.is_empty());
        assert!(Error::from(refused).to_string().contains("22020"), "{}", Error::from(refused));
    }
}
