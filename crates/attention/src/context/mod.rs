//! The execution context of a call: its instruction set, threads, observer, and the part of the call to compute.
//!
//! Work items run on a pool of threads (native) or in a plain loop (WebAssembly). They are independent and write
//! disjoint memory, so results do not depend on the number of threads.

pub mod rows;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::simd::Level;
use crate::simd::amx::TileUnit;
use crate::tensor::try_zeroed;

/// The execution context of a call. [`Context::default`] uses everything that the machine offers.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The instruction set.
    pub level: Level,
    /// The maximum number of threads, including the calling one.
    pub threads: usize,
    /// Receives the progress of the call and can cancel it.
    pub observer: Option<&'a Observation<'a>>,
    /// The part of a split call to compute; all other results stay zero.
    pub partition: Partition,
    /// The unit for products of tiles, where it pays; else vectors of `level`.
    pub tile_unit: Option<TileUnit>,
    /// True if rows belong to packed sequences: the order of a row's sums must not depend on the number of other rows.
    #[doc(hidden)]
    pub is_packed: bool,
    /// The position of these tensors in a larger call that is computed section by section.
    #[doc(hidden)]
    pub section: Option<&'a Section>,
}

impl Default for Context<'_> {
    /// Selects the best instruction set and every thread that the machine offers, and AMX if it was requested.
    fn default() -> Self {
        Self { tile_unit: TileUnit::current(), ..Self::new(Level::current(), available_threads()) }
    }
}

/// Calls with fewer operations stay on their own thread. This is about a millisecond of work; waking a thread costs
/// part of that.
const SERIAL_OPERATIONS: u64 = 1 << 25;

/// Multiplies these factors into a number of operations, saturating on overflow.
pub fn operations<const N: usize>(factors: [usize; N]) -> u64 {
    factors.into_iter().fold(1, |product, factor| product.saturating_mul(factor as u64))
}

impl<'a> Context<'a> {
    /// Creates the context of a whole call without an observer, at one level and on at most `threads` threads.
    pub const fn new(level: Level, threads: usize) -> Self {
        let partition = Partition::WHOLE;
        Self { level, threads, observer: None, partition, tile_unit: None, is_packed: false, section: None }
    }

    /// Returns the same context for another part of the call.
    #[must_use]
    pub const fn with_partition(self, partition: Partition) -> Self {
        Self { partition, ..self }
    }

    /// Returns true if this number of work items keeps every thread busy; otherwise items should be smaller.
    pub(crate) fn is_enough(&self, items: usize) -> bool {
        self.threads == 1 || items >= 2 * self.threads
    }

    /// Announces the number of operations still to do, for calls that use [`Self::for_each`] more than once.
    pub fn announce_work(&self, operations: u64) {
        if let Some(observation) = self.observer {
            observation.announce(operations);
        }
    }

    /// Calls `work` once for each item, in no particular order. `operations` is the cost of all items together.
    pub fn for_each(&self, items: usize, operations: u64, work: impl Fn(usize) + Sync) {
        // Not generic from here on; otherwise each caller's closure would get its own copy of the code.
        self.distribute(items, operations, &work);
    }

    fn distribute(&self, items: usize, operations: u64, work: &(dyn Fn(usize) + Sync)) {
        let threads = if operations < SERIAL_OPERATIONS { 1 } else { self.threads.min(items) };
        let run = |work: &(dyn Fn(usize) + Sync)| {
            if threads <= 1 { (0..items).for_each(work) } else { pool::for_each(threads, items, work) }
        };
        let Some(observation) = self.observer else { return run(work) };
        let item_operations = operations / items.max(1) as u64;
        observation.announce(operations);
        run(&|item| {
            if !observation.observer.is_cancelled() {
                work(item);
                observation.advance(item_operations);
            }
        });
    }

    /// Adds the sums of `blocks` blocks to `output`: `work` adds block `index` to a zeroed slice of the same length.
    /// `operations` is the cost of all blocks together.
    ///
    /// The sums are added in the order of the blocks. If the blocks depend on shapes alone, results do not depend on
    /// the number of threads. At most one block per thread is in memory at a time.
    ///
    /// # Errors
    /// `MEMORY` if the allocation fails; nothing is added then.
    pub fn reduce_in_order(
        &self,
        blocks: usize,
        operations: u64,
        output: &mut [f32],
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<()> {
        self.reduce_blocks(blocks, operations, output, &work)
    }

    fn reduce_blocks(
        &self,
        blocks: usize,
        operations: u64,
        output: &mut [f32],
        work: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Result<()> {
        let len = output.len();
        if len == 0 {
            return Ok(());
        }
        let at_once = self.threads.clamp(1, blocks.max(1));
        let mut sums = try_zeroed("working memory", len.saturating_mul(at_once))?;
        self.announce_work(operations);
        for first in (0..blocks).step_by(at_once) {
            let count = at_once.min(blocks - first);
            let sums = &mut sums[..count * len];
            sums.fill(0.0);
            let operations = operations / blocks as u64 * count as u64;
            self.for_each_rows(count, 1, operations, [&mut *sums], |block, [sums]| work(first + block.start, sums));
            for sums in sums.chunks_exact(len) {
                output.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        Ok(())
    }
}

/// Observes a call running on another thread: receives its progress and is polled for cancellation.
pub trait Observer: Sync {
    /// Returns true if the call was cancelled; work items not yet started are then skipped.
    fn is_cancelled(&self) -> bool;
    /// Receives the completed fraction of the announced work, from 0 to 1. May be called on several threads.
    fn progress(&self, fraction: f32);
}

/// One observed call: its observer, and counters of announced and finished operations.
pub struct Observation<'a> {
    observer: &'a dyn Observer,
    announced: AtomicU64,
    done: AtomicU64,
}

impl std::fmt::Debug for Observation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observation").field("announced", &self.announced).field("done", &self.done).finish()
    }
}

impl<'a> Observation<'a> {
    /// Starts the observation of one call.
    pub const fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, announced: AtomicU64::new(0), done: AtomicU64::new(0) }
    }

    fn announce(&self, operations: u64) {
        let done = self.done.load(Ordering::Relaxed);
        self.announced.fetch_max(done.saturating_add(operations), Ordering::Relaxed);
    }

    fn advance(&self, operations: u64) {
        let done = self.done.fetch_add(operations, Ordering::Relaxed).saturating_add(operations);
        self.observer.progress(done as f32 / self.announced.load(Ordering::Relaxed).max(1) as f32);
    }
}

/// One part of a split call: computes every `count`-th block of rows, starting at `index`; all other results stay zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The index of the part, less than `count`.
    pub index: usize,
    /// The number of parts, at least 1.
    pub count: usize,
}

impl Partition {
    /// The whole call.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Returns true if a block of rows belongs to this part. Blocks alternate between parts, since later blocks see
    /// more keys in a causal call.
    pub fn owns(self, block: usize) -> bool {
        block % self.count == self.index
    }
}

/// A section of a larger attention call: one key/value head with some of its query rows.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Rows of each key/value head of the whole call.
    pub rows: usize,
    /// Key/value heads of the whole call, over all batch entries.
    pub heads: usize,
    /// The index of the section's head among `heads`.
    pub head: usize,
    /// (b, h, i) of the section's first row in the whole call; a work item must start there.
    pub first: [usize; 3],
}

/// Returns the number of threads available to this process.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Stops the pool's threads and waits for them; a later call starts new ones.
pub fn shut_down() {
    pool::shut_down();
}

#[cfg(not(target_family = "wasm"))]
mod pool {
    use std::any::Any;
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
    use std::thread::JoinHandle;

    type Panic = Box<dyn Any + Send>;

    /// The items of one call. The closure lives on the caller's stack, and the caller waits until no helper uses it.
    struct Job {
        work: &'static (dyn Fn(usize) + Sync),
        items: usize,
        next: AtomicUsize,
        state: Mutex<JobState>,
        helper_left: Condvar,
    }

    #[derive(Default)]
    struct JobState {
        helpers: usize,
        closed: bool,
        panic: Option<Panic>,
    }

    impl Job {
        /// Runs items until none is left. A panic in an item ends the job and is stored for the caller.
        fn run(&self) {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                loop {
                    let item = self.next.fetch_add(1, Ordering::Relaxed);
                    if item >= self.items {
                        break;
                    }
                    (self.work)(item);
                }
            }));
            if let Err(panic) = outcome {
                self.next.store(self.items, Ordering::Relaxed);
                lock(&self.state).panic.get_or_insert(panic);
            }
        }

        /// Helps with the job, unless the caller has closed it.
        fn help(&self) {
            {
                let mut state = lock(&self.state);
                if state.closed {
                    return;
                }
                state.helpers += 1;
            }
            self.run();
            lock(&self.state).helpers -= 1;
            self.helper_left.notify_all();
        }
    }

    #[derive(Default)]
    struct Pool {
        /// Contains each job once per helper that it requests.
        queue: VecDeque<Arc<Job>>,
        workers: Vec<JoinHandle<()>>,
        stopping: bool,
    }

    static POOL: Mutex<Pool> = Mutex::new(Pool { queue: VecDeque::new(), workers: Vec::new(), stopping: false });
    static WAKE: Condvar = Condvar::new();

    /// Locks the mutex. No code panics while holding it, so a poisoned one is still consistent.
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn for_each(threads: usize, items: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: the job's closure is called only between here and the wait below, which ends when every helper that
        // entered has left and none can enter any more.
        let work: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        let job = Arc::new(Job {
            work,
            items,
            next: AtomicUsize::new(0),
            state: Mutex::default(),
            helper_left: Condvar::new(),
        });
        {
            let mut pool = lock(&POOL);
            // Start no workers while the pool shuts down: they would exit immediately.
            while !pool.stopping && pool.workers.len() < threads - 1 {
                // If the machine is out of threads, the caller runs the remaining items itself.
                let Ok(worker) = std::thread::Builder::new().name("ruvector-attention".into()).spawn(serve) else {
                    break;
                };
                pool.workers.push(worker);
            }
            pool.queue.extend(std::iter::repeat_n(&job, threads - 1).cloned());
        }
        WAKE.notify_all();
        job.run();
        let mut state = lock(&job.state);
        state.closed = true;
        while state.helpers > 0 {
            state = job.helper_left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let panic = state.panic.take();
        drop(state);
        lock(&POOL).queue.retain(|queued| !Arc::ptr_eq(queued, &job));
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// The main loop of a worker: helps with one job after another until the pool stops.
    fn serve() {
        loop {
            let job = {
                let mut pool = lock(&POOL);
                loop {
                    if pool.stopping {
                        return;
                    }
                    if let Some(job) = pool.queue.pop_front() {
                        break job;
                    }
                    pool = WAKE.wait(pool).unwrap_or_else(PoisonError::into_inner);
                }
            };
            job.help();
        }
    }

    pub(super) fn shut_down() {
        let workers = {
            let mut pool = lock(&POOL);
            pool.stopping = true;
            std::mem::take(&mut pool.workers)
        };
        WAKE.notify_all();
        for worker in workers {
            // Workers catch panics of their items, so joining does not return one.
            let _ = worker.join();
        }
        lock(&POOL).stopping = false;
    }
}

#[cfg(target_family = "wasm")]
mod pool {
    pub(super) fn for_each(_: usize, items: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..items).for_each(work);
    }

    pub(super) fn shut_down() {}
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn context(threads: usize) -> Context<'static> {
        Context::new(Level::current(), threads)
    }

    #[test]
    fn sums_over_blocks_have_the_same_bits_on_any_number_of_threads() {
        // Use values of very different magnitude, so that another order of additions would round differently.
        let value =
            |block: usize, index: usize| ((block * 31 + index * 7) % 13) as f32 * 10f32.powi(block as i32 % 9 - 4);
        let sums = |threads: usize| {
            let mut output = vec![0.5; 40];
            let add = |block: usize, sums: &mut [f32]| {
                assert!(sums.iter().all(|&sum| sum == 0.0));
                for (index, sum) in sums.iter_mut().enumerate() {
                    *sum += value(block, index);
                }
            };
            context(threads).reduce_in_order(23, u64::MAX, &mut output, add).unwrap();
            output
        };
        let expected: Vec<f32> =
            (0..40).map(|index| (0..23).fold(0.5, |sum, block| sum + value(block, index))).collect();
        for threads in [1, 2, 5] {
            assert_eq!(sums(threads), expected, "{threads} threads");
        }
        context(2).reduce_in_order(0, 0, &mut [1.0], |_, _| unreachable!()).unwrap();
        context(2).reduce_in_order(3, 0, &mut [], |_, _| unreachable!()).unwrap();
    }

    #[test]
    fn every_item_runs_once_from_many_callers_at_a_time() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let counts: Vec<AtomicUsize> = (0..37).map(|_| AtomicUsize::new(0)).collect();
                        context(4).for_each(37, u64::MAX, |item| {
                            counts[item].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let outcome = std::panic::catch_unwind(|| {
            context(3).for_each(64, u64::MAX, |item| assert!(item != 40, "item forty"));
        });
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        context(3).for_each(64, u64::MAX, |item| {
            sum.fetch_add(item, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 64 * 63 / 2);
    }

    #[test]
    fn the_pool_restarts_after_a_shutdown() {
        for _ in 0..3 {
            context(4).for_each(8, u64::MAX, |_| {});
            shut_down();
        }
    }
}
