//! The system's allocator with counters per thread. The only unsafe code of the repository is here: Rust has no safe
//! way to stand in front of the allocator.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// How many allocations `work` made, and how many bytes more than before were alive at its worst moment.
#[allow(dead_code)] // not every test that shares this file needs both
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let (before, after) = around(work);
    (after.allocations - before.allocations, after.peak.saturating_sub(before.alive).max(0) as usize)
}

/// The same bytes with an allocator that copies whatever grows, so that the old and the new memory are alive for a moment.
/// Large blocks the system moves without copying.
#[allow(dead_code)]
pub(crate) fn counted_with_copies<T>(work: impl FnOnce() -> T) -> usize {
    let (before, after) = around(work);
    after.peak_with_copies.saturating_sub(before.alive).max(0) as usize
}

fn around<T>(work: impl FnOnce() -> T) -> (Counts, Counts) {
    let before = read_and_reset_peak();
    drop(work());
    (before, read_and_reset_peak())
}

#[derive(Clone, Copy)]
struct Counts {
    allocations: usize,
    alive: isize,
    peak: isize,
    peak_with_copies: isize,
}

const NOTHING: Counts = Counts { allocations: 0, alive: 0, peak: 0, peak_with_copies: 0 };

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(NOTHING) };
}

fn read_and_reset_peak() -> Counts {
    let counts = COUNTS.get();
    COUNTS.set(Counts { peak: counts.alive, peak_with_copies: counts.alive, ..counts });
    counts
}

/// `copied` are bytes that are alive besides, for as long as they are being copied.
fn count(allocations: usize, bytes: isize, copied: isize) {
    // A thread that is ending has no counters any more.
    let _ = COUNTS.try_with(|cell| {
        let before = cell.get();
        let alive = before.alive + bytes;
        cell.set(Counts {
            allocations: before.allocations + allocations,
            alive,
            peak: before.peak.max(alive),
            peak_with_copies: before.peak_with_copies.max(alive + copied),
        });
    });
}

struct Counting;

// SAFETY: every call is handed to `System` unchanged, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize, 0);
        // SAFETY: the caller keeps to the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize, 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize, layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
