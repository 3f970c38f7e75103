//! The CPU executor: binds planned graphs to memory and runs them step by step. A run allocates nothing.

mod dispatch;
mod operand;
mod scratch;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kiln_graph::{
    ExecuteError, Executor, Feed, Graph, Op, Place, Plan, ProgramId, Rule, TensorType,
};

use crate::Context;
use crate::memory::Memory;
use operand::{MAX_OPERANDS, Operand};

/// Runs graphs on this machine's CPU.
pub struct Cpu {
    cx: Context,
    variables: Vec<Stored>,
    by_name: HashMap<String, usize>,
    programs: Vec<Program>,
    /// Working memory; programs run one at a time and share it.
    arena: Memory,
    latest: Option<ProgramId>,
}

struct Stored {
    name: String,
    ty: TensorType,
    memory: Memory,
}

struct Program {
    plan: Plan,
    /// For each variable of the plan, its number among the executor's.
    variables: Vec<usize>,
    /// Time spent in each step so far.
    times: Vec<Duration>,
    runs: u64,
}

/// Time that a program spent in one kind of op.
#[derive(Clone, Debug)]
pub struct OpTime {
    /// Name of the op.
    pub op: &'static str,
    /// Number of executions.
    pub calls: u64,
    /// Time in all of them.
    pub time: Duration,
    /// Floating-point operations of products in all of them.
    pub flops: u64,
}

/// Memory that a graph takes on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphMemory {
    /// Variables that the graph names.
    pub variables: usize,
    /// Working memory: activations, gradients and the kernels' scratch.
    pub arena: usize,
}

impl Cpu {
    /// An executor on the given context.
    pub fn new(cx: Context) -> Self {
        Cpu {
            cx,
            variables: Vec::new(),
            by_name: HashMap::new(),
            programs: Vec::new(),
            arena: Memory::new(0, "").expect("nothing is always there"),
            latest: None,
        }
    }

    /// Instruction set and threads.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// What running a graph would take, without taking it.
    ///
    /// # Errors
    /// When the graph cannot be planned.
    pub fn measure(cx: &Context, graph: &Graph) -> Result<GraphMemory, ExecuteError> {
        let plan = plan(cx, graph)?;
        let variables = plan.variables().iter().map(|(_, ty)| ty.bytes()).sum();
        Ok(GraphMemory { variables, arena: plan.arena_bytes() })
    }

    /// Time by op of a program's runs since [`reset_times`](Self::reset_times), the longest first.
    pub fn op_times(&self, program: ProgramId) -> Vec<OpTime> {
        let program = &self.programs[program.0];
        let mut table: Vec<OpTime> = Vec::new();
        for (step, time) in program.plan.steps().iter().zip(&program.times) {
            let op = step.op.as_ref().map_or("Copy", Op::name);
            let types: Vec<TensorType> = step.inputs.iter().map(|(_, ty)| *ty).collect();
            let flops = step.op.as_ref().map_or(0, |op| op.flops(&types)) * program.runs;
            match table.iter_mut().find(|row| row.op == op) {
                Some(row) => {
                    row.calls += program.runs;
                    row.time += *time;
                    row.flops += flops;
                }
                None => table.push(OpTime { op, calls: program.runs, time: *time, flops }),
            }
        }
        table.sort_by_key(|row| std::cmp::Reverse(row.time));
        table
    }

    /// Forgets the times measured so far.
    pub fn reset_times(&mut self) {
        for program in &mut self.programs {
            program.times.fill(Duration::ZERO);
            program.runs = 0;
        }
    }

    fn create(&mut self, name: &str, ty: TensorType) -> Result<usize, ExecuteError> {
        if let Some(&index) = self.by_name.get(name) {
            let found = self.variables[index].ty;
            if found != ty {
                let (name, expected) = (name.to_owned(), ty.to_string());
                return Err(ExecuteError::VariableType { name, found, expected });
            }
            return Ok(index);
        }
        let memory = Memory::new(ty.bytes(), name)?;
        self.variables.push(Stored { name: name.to_owned(), ty, memory });
        self.by_name.insert(name.to_owned(), self.variables.len() - 1);
        Ok(self.variables.len() - 1)
    }

    fn find(&self, name: &str) -> Result<&Stored, ExecuteError> {
        let index = self.by_name.get(name);
        let index = index.ok_or_else(|| ExecuteError::NoVariable { name: name.to_owned() })?;
        Ok(&self.variables[*index])
    }
}

fn plan(cx: &Context, graph: &Graph) -> Result<Plan, ExecuteError> {
    Ok(Plan::new(graph, &|op, inputs| 4 * scratch::scratch_len(cx, op, inputs))?)
}

/// Checks that the feeds are what the plan's inputs want.
fn check_feeds(plan: &Plan, feeds: &[Feed<'_>]) -> Result<(), ExecuteError> {
    let (wanted, given) = (plan.inputs().len(), feeds.len());
    let mismatch = |name: &str, expected: String, found: String| {
        Err(ExecuteError::Input { name: name.to_owned(), expected, found })
    };
    if wanted != given {
        return mismatch("list", format!("{wanted} inputs"), given.to_string());
    }
    for ((name, ty), feed) in plan.inputs().iter().zip(feeds) {
        let (dtype, len) = match feed {
            Feed::F32(x) => (kiln_graph::DType::F32, x.len()),
            Feed::I32(x) => (kiln_graph::DType::I32, x.len()),
        };
        if dtype != ty.dtype() || len != ty.len() {
            return mismatch(name, ty.to_string(), format!("{len} values of {dtype}"));
        }
    }
    Ok(())
}

impl Executor for Cpu {
    fn prepare(&mut self, graph: &Graph) -> Result<ProgramId, ExecuteError> {
        let plan = plan(&self.cx, graph)?;
        if plan.arena_bytes() > self.arena.bytes() {
            // The old one goes first: both at once might not fit.
            self.arena = Memory::new(0, "")?;
            self.arena = Memory::new(plan.arena_bytes(), "activations")?;
            self.latest = None;
        }
        let variables: Result<Vec<usize>, _> =
            plan.variables().iter().map(|(name, ty)| self.create(name, *ty)).collect();
        let times = vec![Duration::ZERO; plan.steps().len()];
        self.programs.push(Program { plan, variables: variables?, times, runs: 0 });
        Ok(ProgramId(self.programs.len() - 1))
    }

    fn run(&mut self, id: ProgramId, feeds: &[Feed<'_>]) -> Result<(), ExecuteError> {
        let program = &mut self.programs[id.0];
        check_feeds(&program.plan, feeds)?;
        self.latest = Some(id);
        program.runs += 1;
        for (step, time) in program.plan.steps().iter().zip(&mut program.times) {
            let begin = Instant::now();
            let mut resolve = |&(place, ty): &(Place, TensorType)| {
                let base = match place {
                    Place::Arena(offset) => self.arena.as_ptr().wrapping_add(offset),
                    Place::Variable(i, offset) => {
                        self.variables[program.variables[i]].memory.as_ptr().wrapping_add(offset)
                    }
                    // Nothing is ever written to an input: only variables and the arena are outputs' places.
                    Place::Input(i, offset) => match feeds[i] {
                        Feed::F32(x) => x.as_ptr().cast_mut().cast::<u8>().wrapping_add(offset),
                        Feed::I32(x) => x.as_ptr().cast_mut().cast::<u8>().wrapping_add(offset),
                    },
                };
                Operand::new(base, ty)
            };
            let mut inputs = [Operand::NONE; MAX_OPERANDS];
            let mut outputs = [Operand::NONE; MAX_OPERANDS];
            inputs.iter_mut().zip(&step.inputs).for_each(|(to, from)| *to = resolve(from));
            outputs.iter_mut().zip(&step.outputs).for_each(|(to, from)| *to = resolve(from));
            let (offset, bytes) = step.scratch;
            let scratch = Operand::new(
                self.arena.as_ptr().wrapping_add(offset),
                TensorType::f32(&[bytes / 4]),
            );
            // SAFETY: the plan keeps apart the memory of values that live at the same time; an output shares an input's
            // only where the op allows it, and scratch is no value's. Feeds were checked, variables have their types.
            unsafe {
                dispatch::execute(
                    &self.cx,
                    step.op.as_ref(),
                    &inputs[..step.inputs.len()],
                    &outputs[..step.outputs.len()],
                    scratch,
                );
            }
            *time += begin.elapsed();
        }
        Ok(())
    }

    fn output(&self, id: ProgramId, index: usize) -> &[f32] {
        assert_eq!(self.latest, Some(id), "the latest run was of another program");
        let program = &self.programs[id.0];
        let (name, place, ty) = &program.plan.outputs()[index];
        assert_eq!(ty.dtype(), kiln_graph::DType::F32, "output {name}");
        match *place {
            Place::Arena(offset) => self.arena.f32(offset, ty.len()),
            Place::Variable(i, offset) => {
                self.variables[program.variables[i]].memory.f32(offset, ty.len())
            }
            Place::Input(..) => panic!("output {name} is an input"),
        }
    }

    fn variables(&self) -> Vec<(String, TensorType)> {
        self.variables.iter().map(|v| (v.name.clone(), v.ty)).collect()
    }

    fn read(&self, name: &str) -> Result<&[f32], ExecuteError> {
        let stored = self.find(name)?;
        if stored.ty.dtype() != kiln_graph::DType::F32 {
            let (name, found) = (name.to_owned(), stored.ty);
            return Err(ExecuteError::VariableType { name, found, expected: "f32".into() });
        }
        Ok(stored.memory.f32(0, stored.ty.len()))
    }

    fn write(&mut self, name: &str, ty: TensorType, values: &[f32]) -> Result<(), ExecuteError> {
        if ty.dtype() != kiln_graph::DType::F32 || ty.len() != values.len() {
            let expected = format!("{} f32 values", values.len());
            return Err(ExecuteError::VariableType { name: name.to_owned(), found: ty, expected });
        }
        let index = self.create(name, ty)?;
        self.variables[index].memory.f32_mut(ty.len()).copy_from_slice(values);
        Ok(())
    }

    fn memory(&self) -> (usize, usize) {
        (self.variables.iter().map(|v| v.ty.bytes()).sum(), self.arena.bytes())
    }
}
