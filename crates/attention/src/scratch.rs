//! Scratch memory that a thread keeps between calls, so that small calls avoid the allocator.

use std::cell::{Cell, RefCell};

use crate::error::{Error, Result};
use crate::memory::ReuseCount;
use crate::sizes::CACHE_LINE;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static REUSE: Cell<ReuseCount> = const { Cell::new(ReuseCount::NEW) };
}

/// Counts the use of `len` values of scratch memory.
fn count(len: usize, memory: &Vec<f32>) {
    let mut kept = REUSE.get();
    kept.count(len.saturating_mul(size_of::<f32>()), memory.capacity() * size_of::<f32>());
    REUSE.set(kept);
}

/// Ensures that this thread has `len` values of scratch memory, so that [`Scratch::take`] cannot fail.
pub fn reserve(len: usize) -> Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        count(len + CACHE_LINE, scratch);
        let missing = (len + CACHE_LINE).saturating_sub(scratch.len());
        scratch.try_reserve_exact(missing).map_err(|_| Error::memory("working memory", len))
    })
}

/// Guard of this thread's scratch memory; dropping it returns the memory to the thread.
///
/// A guard rather than a function that takes a closure, because the closure's body would be compiled without the
/// instruction set of the surrounding kernel.
pub struct Scratch {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// Takes `len` values, starting at a cache line. Their contents are arbitrary.
    pub fn take(len: usize) -> Self {
        // Moved out while in use, so that nested work allocates separate memory.
        let mut memory = SCRATCH.take();
        count(len + CACHE_LINE, &memory);
        if memory.len() < len + CACHE_LINE {
            memory.resize(len + CACHE_LINE, 0.0);
        }
        let start = memory.as_ptr().align_offset(CACHE_LINE * size_of::<f32>()).min(CACHE_LINE);
        Self { memory, start, len }
    }

    /// Returns the values.
    pub fn values(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(std::mem::take(&mut self.memory));
    }
}

/// Splits the first `len` values off `rest`.
pub fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    part
}
