//! Recycled memory: buffers that become refcounted bytes and come home when the last view is dropped.
//!
//! Rules this file keeps:
//! - the last buffer returned is the first one reused, so that few are in circulation and those stay in the cache;
//! - idle memory is bounded; a buffer of an odd size is freed instead of kept;
//! - a buffer in use by a request or a batch can never be handed out a second time: it comes home only by the drop of
//!   its last view (KAFKA-19012 is what happens otherwise).

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// The size of a chunk. Small, so that a batch takes what it needs; large, so that a record seldom needs its own.
pub const CHUNK: usize = 32 * 1024;

/// The size of the first chunk of a batch of which little is expected: with records for a thousand partitions as many
/// batches are open, and a thousand chunks are all the memory that a producer has by default.
pub(crate) const SMALL_CHUNK: usize = 2 * 1024;

/// Chunks of [`CHUNK`] bytes for batches being built, and small ones. Clones share the same chunks.
#[derive(Clone, Debug)]
pub struct ChunkPool {
    chunks: Arc<Recycler>,
    small: Arc<Recycler>,
}

impl ChunkPool {
    /// A pool that keeps at most `idle_bytes` of unused chunks, and an eighth of that in small ones.
    pub fn new(idle_bytes: usize) -> Self {
        let small = Recycler::new(idle_bytes / 8, SMALL_CHUNK..=SMALL_CHUNK);
        Self { chunks: Recycler::new(idle_bytes, CHUNK..=CHUNK), small }
    }

    /// An empty chunk with room for `at_least` bytes: a recycled one, or one of its own size if that is larger.
    pub(crate) fn take(&self, at_least: usize) -> Vec<u8> {
        if at_least > CHUNK {
            return Vec::with_capacity(at_least);
        }
        cleared(self.chunks.take()).unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    /// An empty chunk for the beginning of a batch of which little is expected.
    pub(crate) fn take_small(&self) -> Vec<u8> {
        cleared(self.small.take()).unwrap_or_else(|| Vec::with_capacity(SMALL_CHUNK))
    }

    /// The chunk's bytes as they are, refcounted; the chunk returns here with the last view.
    pub(crate) fn freeze(&self, chunk: Vec<u8>) -> Bytes {
        let used = chunk.len();
        self.home(&chunk).freeze(chunk, used)
    }

    /// Returns a chunk that was never frozen.
    pub(crate) fn give_back(&self, chunk: Vec<u8>) {
        self.home(&chunk).put(chunk);
    }

    /// The bytes of unused chunks that are kept at the moment.
    pub fn idle_bytes(&self) -> usize {
        self.chunks.idle_bytes() + self.small.idle_bytes()
    }

    fn home(&self, chunk: &Vec<u8>) -> &Arc<Recycler> {
        if chunk.capacity() == SMALL_CHUNK { &self.small } else { &self.chunks }
    }
}

fn cleared(chunk: Option<Vec<u8>>) -> Option<Vec<u8>> {
    chunk.map(|mut chunk| {
        chunk.clear();
        chunk
    })
}

impl Default for ChunkPool {
    /// Keeps at most 8 MiB: more in circulation than the cache holds costs more than it saves.
    fn default() -> Self {
        Self::new(8 * 1024 * 1024)
    }
}

/// A stack of buffers whose capacities are within `sizes`.
#[derive(Debug)]
pub(crate) struct Recycler {
    free: Mutex<Free>,
    limit: usize,
    sizes: RangeInclusive<usize>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Recycler {
    pub(crate) fn new(limit: usize, sizes: RangeInclusive<usize>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), limit, sizes })
    }

    /// The buffer that came home last, with whatever length and bytes it had.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let mut free = self.lock();
        let buffer = free.buffers.pop()?;
        free.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// The first `used` bytes of `buffer`, refcounted; the buffer comes home with the last view.
    pub(crate) fn freeze(self: &Arc<Self>, buffer: Vec<u8>, used: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, used, home: Arc::clone(self) })
    }

    pub(crate) fn put(&self, buffer: Vec<u8>) {
        // A buffer made for one large record would pin its memory for the sake of small ones.
        if !self.sizes.contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.lock();
        if free.bytes + buffer.capacity() <= self.limit {
            free.bytes += buffer.capacity();
            free.buffers.push(buffer);
        }
    }

    fn idle_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        // Nothing in here can panic half way, so a poisoned stack is still a whole one.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    buffer: Vec<u8>,
    used: usize,
    home: Arc<Recycler>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_chunk_is_not_reused_while_a_view_of_it_lives() {
        let pool = ChunkPool::new(1 << 20);
        let mut chunk = pool.take(1);
        chunk.extend_from_slice(b"first");
        let bytes = pool.freeze(chunk);
        let view = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(pool.idle_bytes(), 0);
        pool.take(1).extend_from_slice(b"other");
        assert_eq!(&view[..], b"ir");
        drop(view);
        assert_eq!(pool.idle_bytes(), CHUNK);
    }

    #[test]
    fn small_chunks_and_others_come_home_apart() {
        let pool = ChunkPool::new(8 * 3 * SMALL_CHUNK);
        let small: Vec<_> = (0..5).map(|_| pool.take_small()).collect();
        assert!(small.iter().all(|chunk| chunk.capacity() == SMALL_CHUNK));
        small.into_iter().for_each(|chunk| drop(pool.freeze(chunk)));
        assert_eq!(pool.idle_bytes(), 3 * SMALL_CHUNK);
        let chunk = pool.take(1);
        assert_eq!(chunk.capacity(), CHUNK);
        pool.give_back(chunk);
        assert_eq!(pool.idle_bytes(), 3 * SMALL_CHUNK + CHUNK);
    }

    #[test]
    fn last_in_is_first_out() {
        let pool = ChunkPool::new(1 << 20);
        let (one, two) = (pool.take(1), pool.take(1));
        let last = two.as_ptr();
        pool.give_back(one);
        pool.give_back(two);
        let again = pool.take(1);
        assert_eq!(again.as_ptr(), last);
    }

    #[test]
    fn idle_memory_is_bounded_and_odd_sizes_are_freed() {
        let pool = ChunkPool::new(2 * CHUNK);
        let chunks: Vec<_> = (0..5).map(|_| pool.take(1)).collect();
        chunks.into_iter().for_each(|chunk| pool.give_back(chunk));
        assert_eq!(pool.idle_bytes(), 2 * CHUNK);

        let pool = ChunkPool::new(1 << 30);
        let large = pool.take(10 * CHUNK);
        assert!(large.capacity() >= 10 * CHUNK);
        drop(pool.freeze(large));
        assert_eq!(pool.idle_bytes(), 0);
    }
}
