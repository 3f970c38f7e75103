//! A steady-state step allocates nothing, and the working memory is what the plan said.

// A counting allocator cannot be written without: it only counts and hands on.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_cpu::{Cpu, Isa};
use kiln_graph::{DType, Executor};

use common::transformer::{Sizes, Trainer};

/// Counts requests of all threads.
struct Counting;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Large enough that every kernel has tasks for several threads.
const SIZES: Sizes = Sizes {
    batch: 2,
    tokens: 67,
    width: 60,
    heads: 6,
    kv_heads: 3,
    layers: 2,
    vocab: 517,
    padded_vocab: 576,
};

/// Bytes mapped into this process: memory that the executor takes from the system itself would show here.
#[cfg(target_os = "linux")]
fn mapped() -> usize {
    let mut text = [0u8; 64];
    let mut file = std::fs::File::open("/proc/self/statm").expect("Linux tells");
    let n = std::io::Read::read(&mut file, &mut text).expect("it can be read");
    let text = std::str::from_utf8(&text[..n]).expect("numbers");
    text.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number of pages")
}

#[cfg(not(target_os = "linux"))]
fn mapped() -> usize {
    0
}

/// The only test here: the counter counts everything that this process does.
#[test]
fn a_steady_step_allocates_nothing() {
    for isa in Isa::available() {
        for threads in [1, 2] {
            let mut trainer = Trainer::new(isa, threads, SIZES);
            let memory = trainer.cpu.memory();
            let planned = trainer
                .graphs
                .each_ref()
                .map(|graph| Cpu::measure(trainer.cpu.context(), graph).expect("it was planned"));
            assert_eq!(memory.1, planned[0].arena.max(planned[1].arena), "the larger plan's");
            let variables = trainer.cpu.variables();
            assert!(variables.iter().all(|(_, ty)| ty.dtype() == DType::F32));
            assert_eq!(memory.0, variables.iter().map(|(_, ty)| ty.bytes()).sum::<usize>());
            trainer.step();
            let pages = mapped();
            let requests = REQUESTS.load(Ordering::SeqCst);
            for _ in 0..3 {
                trainer.step();
            }
            let more = REQUESTS.load(Ordering::SeqCst) - requests;
            assert_eq!(more, 0, "{isa}, {threads} threads: requests");
            assert_eq!(mapped(), pages, "{isa}, {threads} threads: pages mapped");
            assert_eq!(trainer.cpu.memory(), memory, "{isa}, {threads} threads");
        }
    }
    // The counter does count, on other threads too.
    let requests = REQUESTS.load(Ordering::SeqCst);
    let other = std::thread::spawn(|| std::hint::black_box(Box::new(1)));
    other.join().expect("it does nothing wrong");
    assert!(REQUESTS.load(Ordering::SeqCst) > requests);
}
