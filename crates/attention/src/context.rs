//! The pool that work items run on (native), or a plain loop (WebAssembly), and what the items share.
//!
//! Items are independent and write disjoint memory, so results do not depend on how many threads there are.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::simd::Level;

/// How a call runs: at which instruction set and on how many threads at most.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The instruction set.
    pub level: Level,
    /// The most threads that the call uses, the calling one included.
    pub threads: usize,
}

impl Default for Context {
    /// The best instruction set and every thread that the machine offers.
    fn default() -> Self {
        Self { level: Level::current(), threads: available_threads() }
    }
}

/// Operations below which a call stays on its own thread: about a millisecond's work, as waking another costs some of it.
const SERIAL_OPERATIONS: u64 = 1 << 25;

/// The product of these factors, as a number of operations.
pub fn operations<const N: usize>(factors: [usize; N]) -> u64 {
    factors.into_iter().fold(1, |product, factor| product.saturating_mul(factor as u64))
}

impl Context {
    /// Calls `work` once for each item, in no order that it may rely on. `operations` is the cost of all items together.
    pub fn for_each(self, items: usize, operations: u64, work: impl Fn(usize) + Sync) {
        // Not generic from here on: kernels would be compiled once for each way to call them.
        self.distribute(items, operations, &work);
    }

    fn distribute(self, items: usize, operations: u64, work: &(dyn Fn(usize) + Sync)) {
        let threads = if operations < SERIAL_OPERATIONS { 1 } else { self.threads.min(items) };
        let run = |work: &(dyn Fn(usize) + Sync)| {
            if threads <= 1 { (0..items).for_each(work) } else { pool::for_each(threads, items, work) }
        };
        let Some(watch) = Watch::current() else { return run(work) };
        let share = operations / items.max(1) as u64;
        watch.expect(operations);
        run(&|item| {
            if !watch.observer.is_cancelled() {
                work(item);
                watch.advance(share);
            }
        });
    }
}

/// Who started a call that runs elsewhere: told how far it is, and asked whether it is still wanted.
pub trait Observer: Sync {
    /// Whether nobody wants the result any more: the items that have not begun are left out.
    fn is_cancelled(&self) -> bool;
    /// How much of the work is done, from 0 to 1, as far as it is foreseen. Comes from several threads.
    fn progress(&self, fraction: f32);
}

/// One observed call.
struct Watch<'a> {
    observer: &'a dyn Observer,
    expected: AtomicU64,
    done: AtomicU64,
}

thread_local! {
    /// The watch over what this thread runs, for as long as [`observed`] is on its stack.
    static WATCH: Cell<Option<*const Watch<'static>>> = const { Cell::new(None) };
    /// Which part of a call that is split this thread computes, and of how many.
    static SHARE: Cell<Share> = const { Cell::new(Share::WHOLE) };
}

impl Watch<'_> {
    fn current<'a>() -> Option<&'a Watch<'a>> {
        // SAFETY: `observed` takes the pointer back before the watch ends, and `for_each`, which alone asks for it, returns
        // before `observed` does.
        WATCH.get().map(|watch| unsafe { &*watch.cast::<Watch<'a>>() })
    }

    fn expect(&self, operations: u64) {
        let done = self.done.load(Ordering::Relaxed);
        self.expected.fetch_max(done.saturating_add(operations), Ordering::Relaxed);
    }

    fn advance(&self, operations: u64) {
        let done = self.done.fetch_add(operations, Ordering::Relaxed).saturating_add(operations);
        self.observer.progress(done as f32 / self.expected.load(Ordering::Relaxed).max(1) as f32);
    }
}

/// Runs a call under the eyes of `observer`.
pub fn observed<T>(observer: &dyn Observer, run: impl FnOnce() -> T) -> T {
    let watch = Watch { observer, expected: AtomicU64::new(0), done: AtomicU64::new(0) };
    let _restored = Restore { cell: &WATCH, before: WATCH.replace(Some((&raw const watch).cast())) };
    run()
}

/// Says how many operations are still to come in the call at hand, where they are more than one [`Context::for_each`] does.
pub fn expect(operations: u64) {
    if let Some(watch) = Watch::current() {
        watch.expect(operations);
    }
}

/// One of the parts of a call that is split: it computes every so manieth block of rows, and leaves the others' results zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which one.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

impl Share {
    /// The whole call.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The part that this thread is to compute.
    pub fn current() -> Self {
        SHARE.get()
    }

    /// Runs what is to compute this part alone.
    pub fn run<T>(self, run: impl FnOnce() -> T) -> T {
        let _restored = Restore { cell: &SHARE, before: SHARE.replace(self) };
        run()
    }

    /// Whether a block of rows belongs to this part. Parts take turns, since later blocks see more keys when causal.
    pub fn owns(self, block: usize) -> bool {
        block % self.count == self.index
    }
}

/// Puts a thread's value back, also where a panic passes.
struct Restore<T: Copy + 'static> {
    cell: &'static std::thread::LocalKey<Cell<T>>,
    before: T,
}

impl<T: Copy> Drop for Restore<T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

/// The threads that the machine, or this process's share of it, offers.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Ends the pool's threads and waits for them; a later call starts new ones.
pub fn shut_down() {
    pool::shut_down();
}

/// A slice whose disjoint parts several items write at the same time.
pub struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: only `slice` reaches the memory, and its callers vouch that parts do not overlap.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Shares the slice for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// No other part that is alive may overlap this one.
    ///
    /// # Panics
    /// If the part reaches beyond the slice.
    #[allow(clippy::mut_from_ref, reason = "the callers keep the parts disjoint")]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: the part lies inside the slice, and the caller keeps it from overlapping another.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
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

    /// One call's items. The closure lives on the caller's stack, which waits until no helper is inside.
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
        /// Takes items until none is left; a panic in one is kept for the caller and ends the job.
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

        /// A helper's share: nothing once the caller has closed the job.
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
        /// A job stands here once for each helper that it wants.
        queue: VecDeque<Arc<Job>>,
        workers: Vec<JoinHandle<()>>,
        stopping: bool,
    }

    static POOL: Mutex<Pool> = Mutex::new(Pool { queue: VecDeque::new(), workers: Vec::new(), stopping: false });
    static WAKE: Condvar = Condvar::new();

    /// Nothing here panics while it holds a lock, so a poisoned one is as good as any.
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
            // A pool that is being shut down would leave without a word those that come now.
            while !pool.stopping && pool.workers.len() < threads - 1 {
                // A machine out of threads still computes: the caller takes every item that nobody helps with.
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

    /// A worker's life: help with one job after the other until the pool stops.
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
            // A worker catches its items' panics, so joining cannot fail with one.
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

    fn context(threads: usize) -> Context {
        Context { level: Level::current(), threads }
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
    fn the_pool_starts_again_after_it_was_shut_down() {
        for _ in 0..3 {
            context(4).for_each(8, u64::MAX, |_| {});
            shut_down();
        }
    }
}
