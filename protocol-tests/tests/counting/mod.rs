//! The system's allocator with counters per thread. The only unsafe code of the repository is here: Rust has no safe
//! way to stand in front of the allocator.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// How many allocations `work` made, and how many bytes more than before were alive at its worst moment.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let before = read_and_reset_peak();
    drop(work());
    let after = read_and_reset_peak();
    (after.allocations - before.allocations, after.peak.saturating_sub(before.alive).max(0) as usize)
}

#[derive(Clone, Copy)]
struct Counts {
    allocations: usize,
    alive: isize,
    peak: isize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, alive: 0, peak: 0 }) };
}

fn read_and_reset_peak() -> Counts {
    let counts = COUNTS.get();
    COUNTS.set(Counts { peak: counts.alive, ..counts });
    counts
}

fn count(allocations: usize, bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = COUNTS.try_with(|cell| {
        let Counts { allocations: before, alive, peak } = cell.get();
        let alive = alive + bytes;
        cell.set(Counts { allocations: before + allocations, alive, peak: peak.max(alive) });
    });
}

struct Counting;

// SAFETY: every call is handed to `System` unchanged, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller keeps to the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are alive for a moment, unless the system can do better.
        count(1, size as isize);
        count(0, -(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
