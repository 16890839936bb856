//! Working memory that a thread keeps from call to call, so that small calls touch no allocator.

use std::cell::RefCell;

use crate::error::{Error, Result};

/// A cache line in f32 values: tiles start on one, or half of their loads would straddle two.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Makes sure that this thread has `len` values of working memory, so that [`with`] cannot fail for want of them.
pub fn reserve(len: usize) -> Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        let missing = (len + LINE).saturating_sub(scratch.len());
        scratch.try_reserve_exact(missing).map_err(|_| Error::memory("working memory", len))
    })
}

/// Calls `work` with `len` values of this thread's working memory, on a cache line's start. Their contents are arbitrary.
pub fn with<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out while it is in use: work inside work gets memory of its own.
    let mut scratch = SCRATCH.take();
    if scratch.len() < len + LINE {
        scratch.resize(len + LINE, 0.0);
    }
    let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut scratch[start..start + len]);
    SCRATCH.replace(scratch);
    result
}

/// Cuts the first `len` values off `rest`.
pub fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    part
}
