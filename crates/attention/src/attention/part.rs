//! The place of a part in a larger call, of which one part is computed at a time.

use std::cell::Cell;

/// Where a part lies in the whole call: one key/value head with some of its query rows.
#[derive(Debug, Clone, Copy)]
pub struct PartOf {
    /// Rows of each key/value head of the whole.
    pub rows: usize,
    /// Key/value heads of the whole, those of all batch entries.
    pub heads: usize,
    /// Which of them the part belongs to.
    pub head: usize,
    /// (b, h, i) of the first row in the whole; the first one of a work item.
    pub first: [usize; 3],
}

thread_local! {
    static PART: Cell<Option<PartOf>> = const { Cell::new(None) };
}

impl PartOf {
    /// The part that this thread computes.
    pub(crate) fn current() -> Option<Self> {
        PART.get()
    }

    /// Runs a call as this part.
    pub fn run<T>(self, run: impl FnOnce() -> T) -> T {
        /// Takes the part back, also where a panic passes.
        struct Restore(Option<PartOf>);
        impl Drop for Restore {
            fn drop(&mut self) {
                PART.set(self.0);
            }
        }
        let _restored = Restore(PART.replace(Some(self)));
        run()
    }
}
