//! The buffers that replies are read into, recycled last in, first out.
//!
//! Rules this file keeps:
//! - a large reply is read into a buffer that was used before: fresh memory costs more in page faults than all the rest
//!   of reading (always so on musl);
//! - a buffer comes back when the last view of the reply is dropped;
//! - what lies idle is bounded.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// A pool of read buffers, shared by the connections of one client.
#[derive(Debug, Clone)]
pub(crate) struct Buffers(Arc<Idle>);

#[derive(Debug)]
struct Idle {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Idle { buffers: Mutex::default() }))
    }

    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        if len < SMALLEST {
            return Vec::with_capacity(len);
        }
        let capacity = rounded(len);
        let mut idle = self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = idle.iter().rposition(|buffer| buffer.capacity() >= len && buffer.capacity() <= 8 * capacity);
        fitting.map(|index| idle.remove(index)).unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// The filled buffer as bytes; it returns to the pool when the last view of it is dropped.
    pub(crate) fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < SMALLEST {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Lent { buffer, home: Arc::downgrade(&self.0) })
    }
}

/// Room to use the buffer again for a reply of another size, but never so much that it is too large to be kept.
fn rounded(len: usize) -> usize {
    let power = len.checked_next_power_of_two().unwrap_or(len);
    if power <= LARGEST { power } else { len.checked_next_multiple_of(MIB).unwrap_or(len) }
}

/// A buffer on loan.
struct Lent {
    buffer: Vec<u8>,
    home: Weak<Idle>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() > LARGEST {
            return;
        }
        buffer.clear();
        let mut idle = home.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(buffer);
        }
    }
}

/// Smaller replies are not worth a lock.
const SMALLEST: usize = 64 << 10;
/// Larger buffers go back to the system. With `MOST_IDLE` this bounds what lies idle: 36 MiB. A full response to a fetch
/// of 8 MiB, consumers' default, is that and a few headers.
const LARGEST: usize = 9 << 20;
const MIB: usize = 1 << 20;
const MOST_IDLE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_view() {
        let buffers = Buffers::new();
        let mut buffer = buffers.take(100_000);
        buffer.extend_from_slice(&[7; 100_000]);
        let place = buffer.as_ptr();
        let reply = buffers.freeze(buffer);
        let view = reply.slice(10..20);
        drop(reply);
        let other = buffers.take(100_000);
        assert_ne!(other.as_ptr(), place, "a view still reads it");
        drop(view);
        let again = buffers.take(90_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn the_response_to_a_fetch_of_8_mib_is_kept() {
        let buffers = Buffers::new();
        drop(buffers.freeze(buffers.take((8 << 20) + 700)));
        assert_eq!(buffers.0.buffers.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_lies_idle_is_bounded() {
        let buffers = Buffers::new();
        let lent: Vec<_> = (0..20).map(|_| buffers.freeze(buffers.take(1 << 20))).collect();
        drop(lent);
        drop(buffers.freeze(buffers.take(LARGEST + 1)));
        assert_eq!(buffers.0.buffers.lock().unwrap().len(), MOST_IDLE);
    }
}
