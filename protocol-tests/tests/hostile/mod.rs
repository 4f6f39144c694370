//! What reading a peer's bytes may cost at most, whatever they are.

use crate::counting::counted_with_copies;

/// Bytes of memory to a byte of the frame, at worst: some elements take three bytes on the wire and 96 in a list, lists grow
/// by doubling, and while one does so its old and its new memory are both there.
pub(crate) const MULTIPLE: usize = 100;

/// What any frame may take besides: the smallest lists, and the text of an error.
pub(crate) const AT_LEAST: usize = 1 << 10;

/// Reads `length` bytes by `read` and checks that it neither panicked nor took more memory than allowed.
pub(crate) fn survives<T>(length: usize, read: impl FnOnce() -> T, what: impl Fn() -> String) {
    let peak = counted_with_copies(read);
    assert!(peak <= AT_LEAST + MULTIPLE * length, "{peak} bytes for a frame of {length}: {}", what());
}
