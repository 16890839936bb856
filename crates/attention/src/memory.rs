//! What a backend holds of the machine's memory, counted where it is allocated.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated through a [`Counting`] allocator, and the most that ever were.
pub fn usage() -> [usize; 2] {
    [ALLOCATED.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed)]
}

fn add(bytes: usize) {
    let allocated = ALLOCATED.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(allocated, Ordering::Relaxed);
}

/// An allocator that counts what it hands out.
#[derive(Debug)]
pub struct Counting<A>(pub A);

// SAFETY: every method does what the inner allocator does.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let memory = unsafe { self.0.alloc(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let memory = unsafe { self.0.alloc_zeroed(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { self.0.realloc(memory, layout, size) };
        if !moved.is_null() {
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
            add(size);
        }
        moved
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(memory, layout) };
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        let allocator = Counting(System);
        let [before, _] = usage();
        let layout = Layout::from_size_align(1000, 8).unwrap();
        // SAFETY: layouts are not empty, and each block is freed with the layout that it has.
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
}
