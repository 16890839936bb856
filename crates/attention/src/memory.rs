//! Memory use of a backend, counted by its allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The number of times the second peak was reset.
static MEASUREMENT: AtomicUsize = AtomicUsize::new(0);
/// Bytes allocated at the latest reset of the second peak.
static BEFORE: AtomicUsize = AtomicUsize::new(0);
/// Bytes kept from earlier calls that have been reused since that reset.
static REUSED: AtomicUsize = AtomicUsize::new(0);
/// The maximum of bytes allocated or reused since that reset.
static RECENT_PEAK: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes allocated through a [`Counting`] allocator: now, and at the peak.
pub fn usage() -> [usize; 2] {
    [ALLOCATED.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed)]
}

/// Starts a new measurement for [`needed`]. Concurrent calls share the measurement.
pub fn reset_peak() {
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    MEASUREMENT.fetch_add(1, Ordering::Relaxed);
    BEFORE.store(allocated, Ordering::Relaxed);
    REUSED.store(0, Ordering::Relaxed);
    RECENT_PEAK.store(allocated, Ordering::Relaxed);
}

/// Returns the maximum of bytes in use since [`reset_peak`], beyond those allocated before it. Memory that threads keep
/// between calls counts as soon as it is reused, so that identical calls report the same figure.
pub fn needed() -> usize {
    RECENT_PEAK.load(Ordering::Relaxed).saturating_sub(BEFORE.load(Ordering::Relaxed))
}

fn add(bytes: usize) {
    let allocated = ALLOCATED.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(allocated, Ordering::Relaxed);
    raise_recent_peak(allocated);
}

fn raise_recent_peak(allocated: usize) {
    RECENT_PEAK.fetch_max(allocated + REUSED.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// How much of a thread's kept memory has been counted in the current measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReuseCount {
    measurement: usize,
    counted: usize,
}

impl ReuseCount {
    /// Nothing has been counted.
    pub const NEW: Self = Self { measurement: 0, counted: 0 };

    /// Counts the use of `bytes` bytes, of which `kept` are already allocated and the rest is about to be.
    #[inline]
    pub fn count(&mut self, bytes: usize, kept: usize) {
        if self.measurement != MEASUREMENT.load(Ordering::Relaxed) || bytes > self.counted {
            self.count_more(bytes, kept);
        }
    }

    #[cold]
    fn count_more(&mut self, bytes: usize, kept: usize) {
        let reused = self.reused(MEASUREMENT.load(Ordering::Relaxed), bytes, kept);
        REUSED.fetch_add(reused, Ordering::Relaxed);
        raise_recent_peak(ALLOCATED.load(Ordering::Relaxed));
    }

    /// Returns how many of the `kept` bytes the measurement has not counted yet.
    fn reused(&mut self, measurement: usize, bytes: usize, kept: usize) -> usize {
        if self.measurement != measurement {
            *self = Self { measurement, counted: 0 };
        }
        let reused = bytes.min(kept).saturating_sub(self.counted);
        self.counted = bytes.max(self.counted);
        reused
    }
}

/// An allocator that counts the bytes it hands out.
#[derive(Debug)]
pub struct Counting<A>(pub A);

// SAFETY: every method forwards to the inner allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`.
        let memory = unsafe { self.0.alloc(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        let memory = unsafe { self.0.alloc_zeroed(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `realloc`.
        let moved = unsafe { self.0.realloc(memory, layout, size) };
        if !moved.is_null() {
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
            add(size);
        }
        moved
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { self.0.dealloc(memory, layout) };
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    fn allocated_bytes_are_counted_until_they_are_freed() {
        let allocator = Counting(System);
        let [before, _] = usage();
        let layout = Layout::from_size_align(1000, 8).unwrap();
        // SAFETY: layouts are not empty, and each block is freed with its own layout.
        unsafe {
            let first = allocator.alloc(layout);
            let second = allocator.alloc_zeroed(layout);
            assert_eq!(usage()[0], before + 2000);
            let first = allocator.realloc(first, layout, 5000);
            assert_eq!(usage()[0], before + 6000);
            assert!(usage()[1] >= before + 6000);
            allocator.dealloc(first, Layout::from_size_align(5000, 8).unwrap());
            allocator.dealloc(second, layout);
        }
        assert_eq!(usage()[0], before);
    }

    #[test]
    fn kept_memory_counts_once_per_measurement_up_to_its_use() {
        let mut kept = ReuseCount::NEW;
        for measurement in 1..3 {
            assert_eq!(kept.reused(measurement, 300, 1000), 300);
            assert_eq!(kept.reused(measurement, 200, 1000), 0);
            // Bytes beyond the kept memory are counted by the allocator.
            assert_eq!(kept.reused(measurement, 2000, 1000), 700);
            assert_eq!(kept.reused(measurement, 2000, 2000), 0);
        }
    }
}
