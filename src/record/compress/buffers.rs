//! Where the codecs write: pooled chunks when compressing, one bounded buffer when decompressing.

use bytes::Bytes;

use super::Fault;
use crate::record::{
    chunk::{CHUNK, ChunkPool, chunk_size},
    crc,
};

/// The compressed bytes of a batch, in chunks of the pool, and their checksum: it is summed here, where they are still
/// in the cache, and not by the task that sends.
pub(in crate::record) struct Sink {
    pool: ChunkPool,
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
    full_bytes: usize,
    full_sum: u32,
}

impl Sink {
    /// What is compressed has `most` bytes.
    pub(super) fn new(pool: ChunkPool, most: usize) -> Self {
        let open = pool.take(chunk_size(1, most));
        Self { pool, full: Vec::new(), open, full_bytes: 0, full_sum: 0 }
    }

    /// A chunk with room for at least one byte, to be filled up to its capacity and never grown.
    pub(super) fn chunk(&mut self) -> &mut Vec<u8> {
        if self.open.len() == self.open.capacity() {
            let full = std::mem::replace(&mut self.open, self.pool.take(CHUNK));
            self.full_bytes += full.len();
            self.full_sum = crc::extend(self.full_sum, &full);
            self.full.push(full);
        }
        &mut self.open
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let chunk = self.chunk();
            let room = chunk.capacity() - chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            chunk.extend_from_slice(now);
            bytes = later;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.full_bytes + self.open.len()
    }

    /// The chunks, and their checksum.
    pub(super) fn finish(mut self) -> (Vec<Bytes>, u32) {
        let last = std::mem::take(&mut self.open);
        let sum = crc::extend(self.full_sum, &last);
        let chunks = std::mem::take(&mut self.full).into_iter().chain([last]);
        (chunks.filter(|chunk| !chunk.is_empty()).map(|chunk| self.pool.freeze(chunk)).collect(), sum)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        for chunk in self.full.drain(..).chain([std::mem::take(&mut self.open)]) {
            self.pool.give_back(chunk);
        }
    }
}

/// The decompressed bytes of a batch: a recycled buffer of which a part is used, and a limit.
///
/// The buffer stays as long as it ever was, so that a recycled one is not cleared again.
pub(in crate::record) struct Output {
    buffer: Vec<u8>,
    used: usize,
    limit: usize,
}

impl Output {
    pub(in crate::record) fn new(buffer: Vec<u8>, limit: usize) -> Self {
        Self { buffer, used: 0, limit }
    }

    /// The buffer and how much of it is used.
    pub(in crate::record) fn into_parts(self) -> (Vec<u8>, usize) {
        (self.buffer, self.used)
    }

    /// The unused part: at least `wanted` bytes of it, or what is left to the limit if that is less.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        self.grow(wanted);
        let end = self.buffer.len().min(self.limit);
        self.buffer.get_mut(self.used..end).unwrap_or_default()
    }

    /// What is written, and behind it the unused part as in [`room`](Self::room).
    pub(super) fn written_and_room(&mut self, wanted: usize) -> (&[u8], &mut [u8]) {
        self.grow(wanted);
        let end = self.buffer.len().min(self.limit).max(self.used);
        let (written, rest) = self.buffer.split_at_mut(self.used);
        (written, rest.get_mut(..end - self.used).unwrap_or_default())
    }

    /// Counts `written` bytes of the room as used.
    pub(super) fn advance(&mut self, written: usize) {
        self.used = self.used.saturating_add(written).min(self.buffer.len());
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.room(bytes.len()).get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => return Err(self.over_limit()),
        }
        self.advance(bytes.len());
        Ok(())
    }

    #[cold]
    pub(super) fn over_limit(&self) -> Fault {
        Fault::OverLimit(self.limit)
    }

    fn grow(&mut self, wanted: usize) {
        let needed = self.used.saturating_add(wanted).min(self.limit);
        if self.buffer.len() < needed {
            let doubled = self.buffer.len().saturating_mul(2).min(self.limit);
            self.buffer.resize(needed.max(doubled), 0);
        }
    }
}
