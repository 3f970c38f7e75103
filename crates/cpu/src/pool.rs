//! One persistent pool of threads. Running work on it allocates nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Turns of the busy wait before a thread goes to sleep. Consecutive kernels of a step follow one another within
/// microseconds, where waking a sleeping thread costs more than the wait.
const SPINS: usize = 20_000;

/// What one task is given: its number, and the number of the thread that runs it (for per-thread scratch).
pub type Task<'a> = &'a (dyn Fn(usize, usize) + Sync + 'a);

/// A fixed number of threads, the caller's among them, that work through numbered tasks.
///
/// Which thread takes which task varies from run to run, so results are reproducible only when tasks write to disjoint
/// places and whatever combines them does so in the order of their numbers.
pub struct ThreadPool {
    shared: Arc<Shared>,
    /// One run at a time: a second caller waits.
    turn: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Counts the runs; a worker starts when it differs from the last one that it saw.
    epoch: AtomicUsize,
    /// Next task to take.
    next: AtomicUsize,
    /// Workers that are done with the current run, of those that joined it.
    done: AtomicUsize,
    state: Mutex<State>,
    start: Condvar,
}

struct State {
    /// The run at hand, as long as it may be joined.
    job: Option<Job>,
    /// Workers that joined it.
    joined: usize,
    panic: Option<Box<dyn Any + Send>>,
    stop: bool,
}

#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize, usize) + Sync),
    tasks: usize,
}

// SAFETY: the closure behind the pointer is Sync, and `run` does not return before every worker that has it is done.
unsafe impl Send for Job {}

impl ThreadPool {
    /// A pool of `threads` (at least 1) threads, counting the one that calls [`run`](Self::run).
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            state: Mutex::new(State { job: None, joined: 0, panic: None, stop: false }),
            start: Condvar::new(),
        });
        let workers = (1..threads.max(1))
            .map(|thread| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("kiln-{thread}"))
                    .spawn(move || shared.work(thread))
                    .expect("the system can start a thread")
            })
            .collect();
        ThreadPool { shared, turn: Mutex::new(()), workers }
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(number, thread)` for every number below `tasks`, each once, and returns when all are done.
    /// `thread` is below [`threads`](Self::threads), and no two tasks run at once under the same one.
    ///
    /// Tasks are begun in the order of their numbers, so a task may wait for what a lower one does (attention's backward
    /// pass relies on it).
    ///
    /// # Panics
    /// With the panic of a task, after the others have ended. Calling it from inside a task deadlocks.
    pub fn run(&self, tasks: usize, task: Task<'_>) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(|number| task(number, 0));
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; workers drop the pointer before this function returns.
        let task_static: *const (dyn Fn(usize, usize) + Sync) =
            unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        shared.next.store(0, Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        {
            let mut state = shared.lock();
            state.job = Some(Job { task: task_static, tasks });
            state.joined = 0;
            shared.epoch.fetch_add(1, Ordering::Release);
        }
        shared.start.notify_all();
        let mine = catch_unwind(AssertUnwindSafe(|| shared.take_tasks(task, tasks, 0)));
        // All tasks are taken. A worker that has not joined by now (on a busy machine the system may not have let it run)
        // is not waited for.
        let joined = {
            let mut state = shared.lock();
            state.job = None;
            state.joined
        };
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < joined {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let theirs = shared.lock().panic.take();
        if let Some(panic) = mine.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn take_tasks(&self, task: Task<'_>, tasks: usize, thread: usize) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= tasks {
                return;
            }
            task(number, thread);
        }
    }

    fn work(&self, thread: usize) {
        let mut seen = 0;
        while let Some(job) = self.await_job(&mut seen) {
            // SAFETY: `run` keeps the closure alive until every worker that joined is done, below.
            let task = unsafe { &*job.task };
            let done = catch_unwind(AssertUnwindSafe(|| self.take_tasks(task, job.tasks, thread)));
            if let Err(panic) = done {
                self.lock().panic.get_or_insert(panic);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Joins the next run that is still open; none when the pool is dropped.
    fn await_job(&self, seen: &mut usize) -> Option<Job> {
        loop {
            for _ in 0..SPINS {
                if self.epoch.load(Ordering::Acquire) != *seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let mut state = self.lock();
            while !state.stop && self.epoch.load(Ordering::Acquire) == *seen {
                state = self.start.wait(state).unwrap_or_else(|e| e.into_inner());
            }
            if state.stop {
                return None;
            }
            *seen = self.epoch.load(Ordering::Acquire);
            if let Some(job) = state.job {
                state.joined += 1;
                return Some(job);
            }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.epoch.fetch_add(1, Ordering::Release);
        self.shared.start.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic was already handed on by `run`.
            let _ = worker.join();
        }
    }
}

/// A pointer that tasks share to write to disjoint parts of one slice.
#[derive(Clone, Copy)]
pub struct SharedSlice<T> {
    data: *mut T,
    len: usize,
}

// SAFETY: every access goes through `range`, whose callers vouch for disjointness.
unsafe impl<T: Send> Send for SharedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedSlice<T> {}

impl<T> SharedSlice<T> {
    /// Shares `data` for the time that the returned value is used.
    pub fn new(data: &mut [T]) -> Self {
        SharedSlice { data: data.as_mut_ptr(), len: data.len() }
    }

    /// The part of `len` values from `start`.
    ///
    /// # Safety
    /// The slice must still be alive, and no two parts that overlap may be alive at once.
    ///
    /// # Panics
    /// When the part does not lie inside the slice.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part {start}+{len} of {}", self.len);
        // SAFETY: inside the slice, by the assertion; unaliased, by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }

    /// The raw pointer to the first value.
    pub fn as_ptr(&self) -> *mut T {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let pool = ThreadPool::new(threads);
            for tasks in [0, 1, 2, 5, 100] {
                let mut counts = vec![0u32; tasks];
                let shared = SharedSlice::new(&mut counts);
                // SAFETY: each task has a number of its own.
                pool.run(tasks, &|i, thread| unsafe {
                    assert!(thread < threads);
                    shared.range(i, 1)[0] += 1
                });
                assert!(counts.iter().all(|&c| c == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = ThreadPool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            pool.run(10, &|i, _| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = ThreadPool::new(3);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, &|i, _| assert!(i != 5, "task five"));
        }));
        assert!(result.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(4, &|i, _| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 6);
    }
}
