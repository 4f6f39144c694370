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

/// Where a buffer goes when nobody looks at it any more.
pub(super) trait Home: Send + Sync + 'static {
    fn put(&self, buffer: Vec<u8>);
}

/// The first `used` bytes of `buffer`, refcounted; the buffer comes home with the last view.
pub(super) fn lend<H: Home>(home: &Arc<H>, buffer: Vec<u8>, used: usize) -> Bytes {
    Bytes::from_owner(Lent { buffer, used, home: Arc::clone(home) })
}

/// A stack of buffers whose capacities are within `sizes`.
#[derive(Debug)]
pub(super) struct Recycler {
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
    pub(super) fn new(limit: usize, sizes: RangeInclusive<usize>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), limit, sizes })
    }

    /// The buffer that came home last, with whatever length and bytes it had.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut free = self.lock();
        let buffer = free.buffers.pop()?;
        free.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        // Nothing in here can panic half way, so a poisoned stack is still a whole one.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Recycler {
    fn put(&self, buffer: Vec<u8>) {
        // A buffer made for one large reply would pin its memory for the sake of small ones.
        if !self.sizes.contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.lock();
        if free.bytes + buffer.capacity() <= self.limit {
            free.bytes += buffer.capacity();
            free.buffers.push(buffer);
        }
    }
}

struct Lent<H: Home> {
    buffer: Vec<u8>,
    used: usize,
    home: Arc<H>,
}

impl<H: Home> AsRef<[u8]> for Lent<H> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl<H: Home> Drop for Lent<H> {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_buffer_comes_home_with_its_last_view_and_not_before() {
        let recycler = Recycler::new(1 << 20, 1..=1 << 20);
        let bytes = lend(&recycler, b"first".to_vec(), 5);
        let view = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(recycler.take(), None);
        assert_eq!(&view[..], b"ir");
        drop(view);
        assert_eq!(recycler.take().as_deref(), Some(&b"first"[..]));
    }

    #[test]
    fn idle_memory_is_bounded_and_odd_sizes_are_freed() {
        let recycler = Recycler::new(25, 5..=10);
        for capacity in [4, 10, 11, 10, 10, 5] {
            recycler.put(Vec::with_capacity(capacity));
        }
        let kept: Vec<_> = std::iter::from_fn(|| recycler.take()).map(|buffer| buffer.capacity()).collect();
        assert_eq!(kept, [5, 10, 10]);
    }
}
