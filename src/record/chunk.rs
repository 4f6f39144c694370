//! The memory that batches are built in: chunks of a few sizes, used again and again.
//!
//! Rules this file keeps:
//! - a batch takes chunks as large as itself, so that at most about half of its memory is empty: with records for a
//!   thousand partitions as many batches are open, and a chunk of 32 KiB for each is all that a producer has by default;
//! - the last chunk of a size that was returned is the first one reused, so that few are in circulation and those stay
//!   in the cache;
//! - idle memory is bounded, and idle chunks of other sizes are freed before memory is asked for beyond that bound;
//! - a chunk comes home by the drop of its last view, as `recycler` has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::recycler::{Home, lend};

/// The size of the largest chunk. Small, so that a batch takes what it needs; large, so that a record seldom needs its
/// own.
pub const CHUNK: usize = 32 * 1024;

/// The size of the smallest chunk.
const SMALLEST: usize = 2 * 1024;

/// Chunks are powers of two from [`SMALLEST`] to [`CHUNK`].
const SIZES: usize = (CHUNK / SMALLEST).ilog2() as usize + 1;

const _: () = assert!(CHUNK.is_power_of_two() && SMALLEST.is_power_of_two());

/// The size of the next chunk of a batch: room for a record of `at_least` bytes, and for as much as the batch has, or is
/// expected to have. A record larger than a chunk gets one of its own size.
#[inline]
pub(crate) fn chunk_size(at_least: usize, expected: usize) -> usize {
    match at_least.max(expected.clamp(SMALLEST, CHUNK)) {
        size if size > CHUNK => size,
        size => size.next_power_of_two(),
    }
}

/// Chunks for batches being built, of 2 to 32 KiB. Clones share the same chunks.
#[derive(Clone, Debug)]
pub struct ChunkPool(Arc<Shelves>);

impl ChunkPool {
    /// A pool that keeps at most `idle_bytes` of unused chunks. As long as what is in use is less, both together are not
    /// more than that.
    pub fn new(idle_bytes: usize) -> Self {
        Self(Arc::new(Shelves { limit: idle_bytes, state: Mutex::default() }))
    }

    /// An empty chunk of a size that `chunk_size` tells.
    pub(crate) fn take(&self, size: usize) -> Vec<u8> {
        match shelf(size) {
            Some(shelf) => self.0.take(shelf, size),
            None => Vec::with_capacity(size),
        }
    }

    /// The chunk's bytes as they are, refcounted; the chunk returns here with the last view.
    pub(crate) fn freeze(&self, chunk: Vec<u8>) -> Bytes {
        let used = chunk.len();
        lend(&self.0, chunk, used)
    }

    /// Returns a chunk that was never frozen.
    pub(crate) fn give_back(&self, chunk: Vec<u8>) {
        self.0.put(chunk);
    }

    /// The bytes of unused chunks that are kept at the moment.
    pub fn idle_bytes(&self) -> usize {
        self.0.lock().idle
    }
}

impl Default for ChunkPool {
    /// Keeps at most 8 MiB: more in circulation than the cache holds costs more than it saves.
    fn default() -> Self {
        Self::new(8 * 1024 * 1024)
    }
}

/// A stack of chunks for each size.
#[derive(Debug)]
struct Shelves {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shelves: [Vec<Vec<u8>>; SIZES],
    idle: usize,
    /// Bytes of chunks that are in use.
    lent: usize,
}

impl Shelves {
    fn take(&self, shelf: usize, size: usize) -> Vec<u8> {
        let mut state = self.lock();
        state.lent += size;
        if let Some(mut chunk) = state.shelves[shelf].pop() {
            state.idle -= size;
            drop(state);
            chunk.clear();
            return chunk;
        }
        let freed = state.make_room(size, self.limit);
        drop(state);
        drop(freed);
        Vec::with_capacity(size)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way, so poisoned shelves are still whole ones.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes idle chunks, the largest first, so that `size` bytes more (which count as lent) stay within the limit.
    fn make_room(&mut self, size: usize, limit: usize) -> Vec<Vec<u8>> {
        let (mut excess, mut freed) = ((self.lent + self.idle).saturating_sub(limit).min(size), Vec::new());
        for shelf in self.shelves.iter_mut().rev() {
            while excess > 0
                && let Some(chunk) = shelf.pop()
            {
                self.idle -= chunk.capacity();
                excess = excess.saturating_sub(chunk.capacity());
                freed.push(chunk);
            }
        }
        freed
    }
}

impl Home for Shelves {
    fn put(&self, chunk: Vec<u8>) {
        let size = chunk.capacity();
        // A chunk made for one large record would pin its memory for the sake of small ones.
        let Some(shelf) = shelf(size) else { return };
        let mut state = self.lock();
        state.lent = state.lent.saturating_sub(size);
        if state.idle + size <= self.limit {
            state.idle += size;
            state.shelves[shelf].push(chunk);
        }
    }
}

/// Where chunks of a size are, if it is one that is kept.
#[inline]
fn shelf(size: usize) -> Option<usize> {
    let is_kept = size.is_power_of_two() && (SMALLEST..=CHUNK).contains(&size);
    is_kept.then(|| (size / SMALLEST).ilog2() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_chunk_is_not_reused_while_a_view_of_it_lives() {
        let pool = ChunkPool::new(1 << 20);
        let mut chunk = pool.take(CHUNK);
        chunk.extend_from_slice(b"first");
        let bytes = pool.freeze(chunk);
        let view = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(pool.idle_bytes(), 0);
        pool.take(CHUNK).extend_from_slice(b"other");
        assert_eq!(&view[..], b"ir");
        drop(view);
        assert_eq!(pool.idle_bytes(), CHUNK);
    }

    #[test]
    fn a_chunk_is_as_large_as_its_batch() {
        let table = [
            (1, 0, SMALLEST),
            (100, 2048, 2048),
            (100, 2049, 4096),
            (3000, 0, 4096),
            (100, 30_000, CHUNK),
            (100, 1 << 20, CHUNK),
            (CHUNK, 0, CHUNK),
            (CHUNK + 1, 0, CHUNK + 1),
        ];
        for (at_least, expected, size) in table {
            assert_eq!(chunk_size(at_least, expected), size, "{at_least}, {expected}");
        }
    }

    #[test]
    fn last_in_is_first_out_and_each_size_has_its_place() {
        let pool = ChunkPool::new(1 << 20);
        let (one, two, small) = (pool.take(CHUNK), pool.take(CHUNK), pool.take(SMALLEST));
        let (last, other) = (two.as_ptr(), small.as_ptr());
        [one, two, small].into_iter().for_each(|chunk| pool.give_back(chunk));
        let (again, small) = (pool.take(CHUNK), pool.take(SMALLEST));
        assert_eq!((again.as_ptr(), small.as_ptr()), (last, other));
        assert_eq!(pool.idle_bytes(), CHUNK);
    }

    #[test]
    fn idle_memory_is_bounded_and_odd_sizes_are_freed() {
        let pool = ChunkPool::new(2 * CHUNK);
        let chunks: Vec<_> = (0..5).map(|_| pool.take(CHUNK)).collect();
        chunks.into_iter().for_each(|chunk| pool.give_back(chunk));
        assert_eq!(pool.idle_bytes(), 2 * CHUNK);

        let pool = ChunkPool::new(1 << 30);
        let large = pool.take(10 * CHUNK);
        assert!(large.capacity() >= 10 * CHUNK);
        drop(pool.freeze(large));
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn idle_chunks_make_room_for_those_of_another_size() {
        let pool = ChunkPool::new(4 * CHUNK);
        let chunks: Vec<_> = (0..4).map(|_| pool.take(CHUNK)).collect();
        chunks.into_iter().for_each(|chunk| pool.give_back(chunk));
        let small: Vec<_> = (0..2 * CHUNK / SMALLEST).map(|_| pool.take(SMALLEST)).collect();
        assert_eq!(pool.idle_bytes(), 2 * CHUNK);
        // All of it in use, and more: nothing is idle.
        let more: Vec<_> = (0..3).map(|_| pool.take(CHUNK)).collect();
        assert_eq!(pool.idle_bytes(), 0);
        small.into_iter().chain(more).for_each(|chunk| pool.give_back(chunk));
        assert_eq!(pool.idle_bytes(), 4 * CHUNK);
    }
}
