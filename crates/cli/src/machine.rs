//! The executor of this machine.

use std::fmt::Display;
use std::sync::{Mutex, mpsc};
use std::thread;

use kiln_cpu::{Context, Cpu, Isa, peak};
use kiln_model::Compute;

use crate::args::Globals;
use crate::error::Advised;
use crate::run_options::Dtype;

/// Instruction set (of `KILN_ISA`, or the best) and threads (of `--threads`, or one per core).
pub fn context(globals: &Globals) -> anyhow::Result<Context> {
    let (isa, threads) = (Isa::from_env()?, threads(globals));
    check_threads(threads)?;
    Ok(Context::new(isa, threads))
}

/// Room that is left when all threads have started.
const SPARE_THREADS: usize = 2;

/// Tries whether the system lets this process have so many threads more: a pool that cannot start is no pool. Tried are a few
/// beyond that, one after the other has begun: a thread takes more memory as it begins, and without it ends the process.
pub fn check_threads(threads: usize) -> anyhow::Result<()> {
    let (gate, (begins, begun)) = (Mutex::new(()), mpsc::channel());
    thread::scope(|scope| {
        let _closed = gate.lock();
        for _ in 0..threads + SPARE_THREADS {
            let (gate, begins) = (&gate, begins.clone());
            let started = thread::Builder::new().spawn_scoped(scope, move || {
                let told = begins.send(());
                drop((gate.lock(), told));
            });
            started.map_err(|error| too_many_threads(threads, &error))?;
            begun.recv()?;
        }
        Ok(())
    })
}

/// What to tell when threads cannot be started.
pub fn too_many_threads(threads: usize, error: &dyn Display) -> anyhow::Error {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let message = format!("cannot start {threads} threads: {error}");
    Advised::new(message, format!("this machine has {cores} cores; --threads {cores} or less"))
        .into()
}

/// Threads to use.
pub fn threads(globals: &Globals) -> usize {
    globals
        .threads
        .map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// The CPU executor.
pub fn executor(globals: &Globals) -> anyhow::Result<Cpu> {
    Ok(Cpu::new(context(globals)?))
}

/// What products compute in: what was asked for, else bf16 where the instruction set multiplies it by itself.
pub fn compute(asked: Option<Dtype>) -> anyhow::Result<Compute> {
    Ok(match asked {
        Some(dtype) => dtype.into(),
        None if Isa::from_env()?.has_bf16() => Compute::Bf16,
        None => Compute::F32,
    })
}

/// Rate of multiply-adds from registers alone, measured, in GFLOP/s: the roof of products of that type.
pub fn register_rate(cx: &Context, compute: Compute) -> f64 {
    let rate = match compute {
        Compute::F32 => peak::register_rate,
        Compute::Bf16 => peak::register_rate_bf16,
    };
    // A system takes a while until it runs each thread of a new pool on a core of its own.
    (0..4).map(|_| rate(cx)).fold(0.0, f64::max)
}
