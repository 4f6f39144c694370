//! From the record region of a Fetch response to batches whose records can be walked.
//!
//! Rules this file keeps:
//! - the region is cut by the batches' own lengths; a last batch that is not whole ends it and is no error, because a
//!   broker cuts at the byte limit of the request;
//! - uncompressed records are not copied, compressed ones become one recycled buffer, bounded by the caller's limit;
//! - checking the checksum, decompressing and walking are separate steps: a caller moves positions by headers alone.

use std::{ops::Deref, sync::Arc};

use bytes::{Buf, Bytes};

use super::{
    compress::{Compression, Decompressor, Fault, Output},
    crc,
    header::{BatchHeader, CRC_COVERS, HEADER_LEN, LOG_OVERHEAD, MAGIC_AT},
    legacy,
    recycler::{Home, Recycler, lend},
    view::{RecordIter, RecordView},
};
use crate::error::{Error, ErrorKind};

/// The batches of one partition in a Fetch response.
#[derive(Debug, Clone)]
pub struct Batches {
    region: Bytes,
    /// The offset behind the batches read so far.
    floor: i64,
}

impl Batches {
    /// The batches in `region`.
    pub fn new(region: Bytes) -> Self {
        Self { region, floor: 0 }
    }

    /// The bytes behind the last whole batch; once the iteration has ended, those of a batch that was cut off.
    ///
    /// If they follow no batch at all, the first batch is larger than what was asked for: [`cut_batch_len`] says how
    /// large.
    ///
    /// [`cut_batch_len`]: Self::cut_batch_len
    pub fn leftover(&self) -> usize {
        self.region.len()
    }

    /// What the batch that was cut off says it takes whole, if that much of it is there.
    pub fn cut_batch_len(&self) -> Option<usize> {
        let length: [u8; 4] = *self.region.get(8..)?.first_chunk()?;
        usize::try_from(i32::from_be_bytes(length)).ok().map(|length| LOG_OVERHEAD + length)
    }

    fn step(&mut self) -> Result<Option<RawBatch>, Error> {
        let Some(size) = self.cut_batch_len() else {
            // Either the length itself is cut off, or it is negative.
            return if self.region.len() < LOG_OVERHEAD { Ok(None) } else { Err(self.unusable()) };
        };
        if size <= MAGIC_AT {
            return Err(self.unusable());
        }
        if size > self.region.len() {
            return Ok(None);
        }
        let batch = match self.region.get(MAGIC_AT).copied().unwrap_or_default() {
            2 => RawBatch::new(self.region.split_to(size))?,
            magic @ (0 | 1) => self.step_over_messages(magic, size)?,
            magic => {
                self.region.advance(size);
                return Err(unknown_format(magic));
            }
        };
        self.floor = batch.last_offset().saturating_add(1).max(self.floor);
        Ok(Some(batch))
    }

    /// One or more messages of an old format, the first of which takes `size` bytes.
    #[cold]
    fn step_over_messages(&mut self, magic: u8, size: usize) -> Result<RawBatch, Error> {
        let cut = legacy::cut(&self.region, self.floor);
        let bytes = self.region.split_to(cut.as_ref().map_or(size, |(_, size)| *size));
        cut.map(|(header, _)| RawBatch { header, magic, bytes })
    }

    /// Nothing behind a length that cannot be can be found.
    #[cold]
    fn unusable(&mut self) -> Error {
        self.region.clear();
        Error::new(ErrorKind::CorruptBatch, "a record batch has a length that no batch can have")
    }
}

impl Iterator for Batches {
    type Item = Result<RawBatch, Error>;

    /// The next batch. A batch that cannot be read is an error, and the one behind it comes next.
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cold]
fn unknown_format(magic: u8) -> Error {
    Error::new(ErrorKind::UnsupportedVersion, format!("record format {magic} is not known"))
}

/// A whole batch as it came; its header is read, its records are not. Dereferences to the [`BatchHeader`].
///
/// Of the formats before 2 (Kafka 0.10 and older) a batch is either one compressed wrapper message or a run of plain
/// ones. They have no header, so one is made up: without producer and epoch, with the first message's checksum, and for
/// a wrapper, which says only its last offset, with the end of the batch before as base offset and −1 as the number of
/// records. [`decode`](Self::decode) puts both right.
#[derive(Debug, Clone)]
pub struct RawBatch {
    header: BatchHeader,
    magic: u8,
    bytes: Bytes,
}

impl RawBatch {
    fn new(bytes: Bytes) -> Result<Self, Error> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| {
            Error::new(ErrorKind::CorruptBatch, format!("a record batch has only {} bytes", bytes.len()))
        })?;
        Ok(Self { header: BatchHeader::read(header)?, magic: 2, bytes })
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The record format: 2, or 0 or 1 for what Kafka 0.10 and older wrote.
    pub fn magic(&self) -> u8 {
        self.magic
    }

    /// The batch as it came, header and all.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Checks the checksum over everything but base offset, length and leader epoch; in the old formats that of every
    /// message, but for those in a wrapper.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] if it does not match.
    pub fn check_crc(&self) -> Result<(), Error> {
        if self.magic < 2 {
            return legacy::check_crc(&self.header, &self.bytes);
        }
        let computed = crc::extend(0, self.bytes.get(CRC_COVERS..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        let written = self.header.crc;
        Err(self.header.corrupt(format_args!("its checksum is {computed:#010x}, {written:#010x} is written in it")))
    }

    /// Makes the records readable: decompresses them if they are compressed, to at most `limit` bytes.
    ///
    /// Messages of the old formats are copied into the form of today's records, which is never longer; a wrapper takes
    /// up to twice the limit meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] if the codec is unknown, the compressed bytes are damaged or hold more than `limit`.
    pub fn decode(&self, scratch: &mut DecodeScratch, limit: usize) -> Result<DecodedBatch, Error> {
        if self.magic < 2 {
            let (header, data) = legacy::decode(&self.header, &self.bytes, scratch, limit)?;
            return Ok(DecodedBatch { header, data });
        }
        let body = self.bytes.slice(HEADER_LEN.min(self.bytes.len())..);
        let data = match self.header.compression()? {
            Compression::None => body,
            // Compaction can empty a batch and leave its header with the codec.
            _ if self.header.record_count == 0 => Bytes::new(),
            codec => scratch.decompress(codec, &body, limit).map_err(|fault| self.header.corrupt(fault))?,
        };
        if (data.len() / SHORTEST_RECORD) < usize::try_from(self.header.record_count).unwrap_or(0) {
            let count = self.header.record_count;
            return Err(self.header.corrupt(format_args!("{} bytes cannot hold {count} records", data.len())));
        }
        Ok(DecodedBatch { header: self.header, data })
    }
}

impl Deref for RawBatch {
    type Target = BatchHeader;
    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

/// A batch whose records can be walked, any number of times.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    /// The batch's header, as it came.
    pub header: BatchHeader,
    /// The records, one behind the other, not compressed.
    pub data: Bytes,
}

impl DecodedBatch {
    /// Walks the records in their order.
    #[inline]
    pub fn records(&self) -> RecordIter<'_> {
        RecordIter::new(&self.header, &self.data)
    }

    /// The record that begins at `position` of the data, as [`RecordIter::byte_position`] gave it.
    #[inline]
    pub fn record_at(&self, position: usize) -> Option<RecordView<'_>> {
        RecordIter::starting_at(&self.header, &self.data, position)?.next()?.ok()
    }

    /// Walks all records once, so that later walks cannot fail. Costs as much as a walk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] if a record is damaged or the number of records is not what the header says.
    pub fn check(&self) -> Result<(), Error> {
        self.records().try_for_each(|record| record.map(drop))
    }
}

/// What decoding keeps from batch to batch: decompression contexts and buffers that come home by themselves.
pub struct DecodeScratch {
    decompressor: Decompressor,
    buffers: Arc<Recycler>,
}

impl DecodeScratch {
    /// A scratch that keeps at most `idle_bytes` of buffers that no batch uses.
    pub fn new(idle_bytes: usize) -> Self {
        Self { decompressor: Decompressor::default(), buffers: Recycler::new(idle_bytes, 1..=LARGEST_KEPT) }
    }

    pub(super) fn decompress(&mut self, codec: Compression, input: &[u8], limit: usize) -> Result<Bytes, Fault> {
        let mut output = Output::new(self.buffers.take().unwrap_or_default(), limit);
        let done = self.decompressor.decompress(codec, input, &mut output);
        let (buffer, used) = output.into_parts();
        match done {
            Ok(()) => Ok(lend(&self.buffers, buffer, used)),
            Err(fault) => {
                self.buffers.put(buffer);
                Err(fault)
            }
        }
    }

    /// What `write` writes into an empty buffer with room for `size` bytes.
    pub(super) fn rewrite<E>(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let mut buffer = self.buffers.take().unwrap_or_default();
        buffer.clear();
        buffer.reserve(size);
        let done = write(&mut buffer);
        let used = buffer.len();
        match done {
            Ok(()) => Ok(lend(&self.buffers, buffer, used)),
            Err(error) => {
                self.buffers.put(buffer);
                Err(error)
            }
        }
    }
}

impl Default for DecodeScratch {
    /// Keeps at most 16 MiB.
    fn default() -> Self {
        Self::new(16 * 1024 * 1024)
    }
}

impl std::fmt::Debug for DecodeScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodeScratch").field("buffers", &self.buffers).finish_non_exhaustive()
    }
}

/// Length, attributes, both deltas, key, value and headers take a byte each.
const SHORTEST_RECORD: usize = 7;
const LARGEST_KEPT: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
