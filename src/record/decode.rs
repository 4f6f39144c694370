//! From the record region of a Fetch response to batches whose records can be walked.
//!
//! Rules this file keeps:
//! - the region is cut by the batches' own lengths; a last batch that is not whole ends it and is no error, because a
//!   broker cuts at the byte limit of the request;
//! - uncompressed records are not copied, compressed ones become one recycled buffer, bounded by the caller's limit;
//! - checking the checksum, decompressing and walking are separate steps: a caller moves positions by headers alone.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;

use super::{
    chunk::Recycler,
    compress::{Compression, Decompressor, Output},
    crc,
    header::{BatchHeader, CRC_COVERS, HEADER_LEN, LOG_OVERHEAD, MAGIC_AT},
    view::{RecordIter, RecordView},
};
use crate::error::{Error, ErrorKind};

/// The batches of one partition in a Fetch response.
#[derive(Debug, Clone)]
pub struct Batches {
    region: Bytes,
}

impl Batches {
    /// The batches in `region`.
    pub fn new(region: Bytes) -> Self {
        Self { region }
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
        let bytes = self.region.split_to(size);
        match bytes.get(MAGIC_AT) {
            Some(2) => RawBatch::new(bytes).map(Some),
            magic => Err(unread_format(magic.copied().unwrap_or_default())),
        }
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
fn unread_format(magic: u8) -> Error {
    let message = match magic {
        0 | 1 => format!("record format v{magic} is not read yet"),
        _ => format!("record format {magic} is not known"),
    };
    Error::new(ErrorKind::UnsupportedVersion, message)
}

/// A whole batch as it came; its header is read, its records are not. Dereferences to the [`BatchHeader`].
#[derive(Debug, Clone)]
pub struct RawBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RawBatch {
    fn new(bytes: Bytes) -> Result<Self, Error> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| {
            Error::new(ErrorKind::CorruptBatch, format!("a record batch has only {} bytes", bytes.len()))
        })?;
        Ok(Self { header: BatchHeader::read(header)?, bytes })
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it came, header and all.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Checks the checksum over everything but base offset, length and leader epoch.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] if it does not match.
    pub fn check_crc(&self) -> Result<(), Error> {
        let computed = crc::extend(0, self.bytes.get(CRC_COVERS..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        let written = self.header.crc;
        Err(self.header.corrupt(format_args!("its checksum is {computed:#010x}, {written:#010x} is written in it")))
    }

    /// Makes the records readable: decompresses them if they are compressed, to at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] if the codec is unknown, the compressed bytes are damaged or hold more than `limit`.
    pub fn decode(&self, scratch: &mut DecodeScratch, limit: usize) -> Result<DecodedBatch, Error> {
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

    fn decompress(&mut self, codec: Compression, input: &[u8], limit: usize) -> Result<Bytes, super::compress::Fault> {
        let mut output = Output::new(self.buffers.take().unwrap_or_default(), limit);
        let done = self.decompressor.decompress(codec, input, &mut output);
        let (buffer, used) = output.into_parts();
        match done {
            Ok(()) => Ok(self.buffers.freeze(buffer, used)),
            Err(fault) => {
                self.buffers.put(buffer);
                Err(fault)
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
