//! What reading a peer's bytes may cost at most, whatever they are.

use crate::counting::counted;

/// Bytes of memory to a byte of the frame, at worst: an empty compact string takes one byte on the wire and 32 in a
/// list, and lists grow by doubling.
pub(crate) const MULTIPLE: usize = 100;

/// What any frame may take besides: the smallest lists, and the text of an error.
pub(crate) const AT_LEAST: usize = 1 << 10;

/// Reads `length` bytes by `read` and checks that it neither panicked nor took more memory than allowed.
pub(crate) fn survives<T>(length: usize, read: impl FnOnce() -> T, what: impl Fn() -> String) {
    let (_, peak) = counted(read);
    assert!(peak <= AT_LEAST + MULTIPLE * length, "{peak} bytes for a frame of {length}: {}", what());
}
