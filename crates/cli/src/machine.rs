//! The executor of this machine.

use kiln_cpu::{Context, Cpu, Isa, peak};

use crate::args::Globals;

/// Instruction set (of `KILN_ISA`, or the best) and threads (of `--threads`, or one per core).
pub fn context(globals: &Globals) -> anyhow::Result<Context> {
    Ok(Context::new(Isa::from_env()?, threads(globals)))
}

/// Threads to use.
pub fn threads(globals: &Globals) -> usize {
    globals
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// The CPU executor, and the floating-point operations per second that the machine was measured to do.
pub fn executor(globals: &Globals) -> anyhow::Result<(Cpu, f64)> {
    let cx = context(globals)?;
    let peak = peak::register_rate(&cx) * 1e9;
    Ok((Cpu::new(cx), peak))
}
