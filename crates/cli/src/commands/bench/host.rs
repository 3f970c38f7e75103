//! The machine that figures are of.

use kiln_cpu::Context;
use serde::Serialize;

use crate::output::Table;

/// What to compare machines by.
#[derive(Serialize)]
pub struct Host {
    /// Name of the processor, as far as the system tells.
    pub cpu: String,
    /// Instruction set that kernels run with.
    pub isa: &'static str,
    /// Threads that kernels share.
    pub threads: usize,
}

impl Host {
    /// The machine of a context.
    pub fn new(cx: &Context) -> Self {
        Host {
            cpu: cpu_name().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            isa: cx.isa.name(),
            threads: cx.pool.threads(),
        }
    }

    /// Adds a row to a table of pairs.
    pub fn row(&self, table: &mut Table) {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        table.row(["machine", &format!("{}, {}, {} {threads}", self.cpu, self.isa, self.threads)]);
    }
}

fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    name_in(&text)
}

fn name_in(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: ACME  9000 CPU\ncache size\t: 1 KB\n";
        assert_eq!(name_in(text).as_deref(), Some("ACME 9000 CPU"));
        assert_eq!(name_in("Processor : other\n"), None);
    }
}
