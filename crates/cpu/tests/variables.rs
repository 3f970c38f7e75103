//! What a run does to variables, outputs and the working memory, and what it refuses.

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::{
    ExecuteError, Executor, Feed, Graph, GraphError, Op, Place, Plan, ProgramId, TensorType,
    differentiate,
};

fn cpu() -> Cpu {
    Cpu::new(Context::new(Isa::detect(), 1))
}

fn vector(n: usize) -> TensorType {
    TensorType::f32(&[n])
}

/// Prepares and runs a graph whose variables are given, without feeds.
fn run_on(cpu: &mut Cpu, graph: &Graph) -> ProgramId {
    let program = cpu.prepare(graph).expect("the graph can be planned");
    cpu.run(program, &[]).expect("the graph has no inputs");
    program
}

#[test]
fn variables_change_at_the_end() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let (a, b) = (g.variable("a", vector(3)), g.variable("b", vector(3)));
    // Each new value is made from the other's old one.
    let (twice_b, thrice_a) = (g.scale(b, 2.0)?, g.scale(a, 3.0)?);
    g.update(a, twice_b)?;
    g.update(b, thrice_a)?;
    // Readers that come after the updates' nodes see old values too.
    let sum = g.add(a, b)?;
    g.output("sum", sum);
    let mut cpu = cpu();
    let program = cpu.prepare(&g).unwrap();
    cpu.write("a", vector(3), &[1.0, 2.0, 3.0]).unwrap();
    cpu.write("b", vector(3), &[10.0, 20.0, 30.0]).unwrap();
    cpu.run(program, &[]).unwrap();
    assert_eq!(cpu.output(program, 0), [11.0, 22.0, 33.0]);
    assert_eq!(cpu.read("a").unwrap(), [20.0, 40.0, 60.0]);
    assert_eq!(cpu.read("b").unwrap(), [3.0, 6.0, 9.0]);
    cpu.run(program, &[]).unwrap();
    assert_eq!(cpu.read("a").unwrap(), [6.0, 12.0, 18.0]);
    assert_eq!(cpu.read("b").unwrap(), [60.0, 120.0, 180.0]);
    Ok(())
}

#[test]
fn an_output_may_be_the_old_value_of_an_updated_variable() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let a = g.variable("a", vector(2));
    let next = g.scale(a, 2.0)?;
    g.update(a, next)?;
    g.output("before", a);
    let mut cpu = cpu();
    cpu.write("a", vector(2), &[1.0, 2.0]).unwrap();
    let program = run_on(&mut cpu, &g);
    assert_eq!(cpu.output(program, 0), [1.0, 2.0]);
    assert_eq!(cpu.read("a").unwrap(), [2.0, 4.0]);
    Ok(())
}

#[test]
fn one_value_may_become_that_of_two_variables() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let (a, b) = (g.variable("a", vector(2)), g.variable("b", vector(2)));
    let sum = g.add(a, b)?;
    g.update(a, sum)?;
    g.update(b, sum)?;
    g.output("sum", sum);
    let mut cpu = cpu();
    cpu.write("a", vector(2), &[1.0, 2.0]).unwrap();
    cpu.write("b", vector(2), &[3.0, 5.0]).unwrap();
    let program = run_on(&mut cpu, &g);
    assert_eq!(cpu.output(program, 0), [4.0, 7.0]);
    assert_eq!(cpu.read("a").unwrap(), [4.0, 7.0]);
    assert_eq!(cpu.read("b").unwrap(), [4.0, 7.0]);
    Ok(())
}

#[test]
fn programs_share_variables_by_name() -> Result<(), GraphError> {
    let mut add = Graph::new();
    let (total, x) = (add.variable("total", vector(2)), add.input("x", vector(2)));
    let sum = add.add(total, x)?;
    add.update(total, sum)?;
    let mut read = Graph::new();
    let total = read.variable("total", vector(2));
    let doubled = read.scale(total, 2.0)?;
    read.output("doubled", doubled);
    let mut cpu = cpu();
    let (add, read) = (cpu.prepare(&add).unwrap(), cpu.prepare(&read).unwrap());
    for round in 1..4 {
        cpu.run(add, &[Feed::F32(&[1.0, 10.0])]).unwrap();
        cpu.run(read, &[]).unwrap();
        let n = round as f32;
        assert_eq!(cpu.output(read, 0), [2.0 * n, 20.0 * n]);
        assert_eq!(cpu.read("total").unwrap(), [n, 10.0 * n]);
    }
    let mut other = Graph::new();
    other.variable("total", vector(3));
    let message = cpu.prepare(&other).unwrap_err().to_string();
    assert!(message.contains("total") && message.contains("f32[3]"), "{message}");
    Ok(())
}

#[test]
fn wrong_feeds_name_the_input() {
    let mut g = Graph::new();
    let table = g.input("table", TensorType::f32(&[4, 3]));
    let ids = g.input("ids", TensorType::i32(&[2]));
    let rows = g.embed(table, ids).unwrap();
    g.output("rows", rows);
    let mut cpu = cpu();
    let program = cpu.prepare(&g).unwrap();
    let (table, ids) = ([0.5; 12], [3, 0]);
    let wrong: [(&[Feed<'_>], &str); 4] = [
        (&[Feed::F32(&table[..11]), Feed::I32(&ids)], "input table needs f32[4, 3], got 11 values"),
        (
            &[Feed::F32(&table), Feed::F32(&table[..2])],
            "input ids needs i32[2], got 2 values of f32",
        ),
        (&[Feed::I32(&ids), Feed::F32(&table)], "input table needs f32[4, 3], got 2 values of i32"),
        (&[Feed::F32(&table)], "needs 2 inputs, got 1"),
    ];
    for (feeds, wanted) in wrong {
        let error = cpu.run(program, feeds).unwrap_err();
        assert!(matches!(error, ExecuteError::Input { .. }));
        assert!(error.to_string().contains(wanted), "{error}");
    }
    cpu.run(program, &[Feed::F32(&table), Feed::I32(&ids)]).unwrap();
    assert_eq!(cpu.output(program, 0), [0.5; 6]);
}

#[test]
fn wrong_variables_are_named() {
    let mut cpu = cpu();
    assert!(cpu.read("w").unwrap_err().to_string().contains("no variable w"));
    assert!(cpu.write("w", vector(3), &[1.0]).unwrap_err().to_string().contains('w'));
    cpu.write("w", vector(1), &[1.0]).unwrap();
    let message = cpu.write("w", vector(2), &[1.0, 2.0]).unwrap_err().to_string();
    assert!(message.contains("w is f32[1], not f32[2]"), "{message}");
    assert_eq!(cpu.read("w").unwrap(), [1.0]);
}

/// Both terms of a sum have one gradient: adding it to one's accumulator must leave that of the other alone.
#[test]
fn a_gradient_of_two_values_is_accumulated_twice() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let matrix = TensorType::f32(&[2, 2]);
    let x = g.variable("x", matrix);
    let (a, b) = (g.variable("a", matrix), g.variable("b", matrix));
    let keep = g.input("keep", vector(1));
    let w = g.add(a, b)?;
    let y = g.linear(x, w)?;
    let loss = g.sum(y)?;
    let gradients = differentiate(&mut g, loss, &[a, b])?;
    g.output("gradient", gradients[0]);
    for (name, gradient) in ["a.grad", "b.grad"].into_iter().zip(gradients) {
        let accumulator = g.variable(name, matrix);
        let sum = g.accumulate(gradient, accumulator, keep)?;
        g.update(accumulator, sum)?;
    }
    let mut cpu = cpu();
    let program = cpu.prepare(&g).unwrap();
    cpu.write("x", matrix, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    cpu.write("a.grad", matrix, &[10.0; 4]).unwrap();
    cpu.write("b.grad", matrix, &[20.0; 4]).unwrap();
    cpu.run(program, &[Feed::F32(&[1.0])]).unwrap();
    // dw = dyᵀ x with dy = 1: the sums of x's columns.
    assert_eq!(cpu.output(program, 0), [4.0, 6.0, 4.0, 6.0]);
    assert_eq!(cpu.read("a.grad").unwrap(), [14.0, 16.0, 14.0, 16.0]);
    assert_eq!(cpu.read("b.grad").unwrap(), [24.0, 26.0, 24.0, 26.0]);
    Ok(())
}

/// A weight that is read three times: its gradient grows where its accumulator lies, and is never a value of its own.
#[test]
fn a_gradient_of_several_parts_grows_in_its_accumulator() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let matrix = TensorType::f32(&[2, 2]);
    let (x, w) = (g.input("x", matrix), g.variable("w", matrix));
    let keep = g.input("keep", vector(1));
    let mut y = g.linear(x, w)?;
    for _ in 0..2 {
        let more = g.linear(x, w)?;
        y = g.add(y, more)?;
    }
    let loss = g.sum(y)?;
    let gradient = differentiate(&mut g, loss, &[w])?[0];
    let held = g.variable("w.grad", matrix);
    let sum = g.accumulate(gradient, held, keep)?;
    g.update(held, sum)?;
    let plan = Plan::new(&g, &|_, _| 0)?;
    let products: Vec<_> =
        plan.steps().iter().filter(|s| matches!(s.op, Some(Op::LinearGradWeight(_)))).collect();
    assert_eq!(products.len(), 3);
    for step in products {
        assert!(matches!(step.outputs[0].0, Place::Variable(_, 0)), "{:?}", step.outputs);
    }
    assert!(plan.steps().iter().all(|s| !matches!(s.op, None | Some(Op::Accumulate(_)))));
    let mut cpu = cpu();
    let program = cpu.prepare(&g).unwrap();
    cpu.write("w", matrix, &[0.5; 4]).unwrap();
    cpu.write("w.grad", matrix, &[f32::NAN; 4]).unwrap();
    let x = [1.0, 2.0, 3.0, 4.0];
    // Each part is the sums of x's columns; the first run never reads what was there.
    for (keep, wanted) in [(0.0, [12.0, 18.0]), (1.0, [24.0, 36.0]), (0.5, [24.0, 36.0])] {
        cpu.run(program, &[Feed::F32(&x), Feed::F32(&[keep])]).unwrap();
        assert_eq!(cpu.read("w.grad").unwrap(), [wanted, wanted].concat());
    }
    Ok(())
}

/// The working memory ends where the last value ends: nothing is asked for that no value uses.
#[test]
fn the_working_memory_is_as_long_as_its_values() -> Result<(), GraphError> {
    let mut g = Graph::new();
    let x = g.variable("x", TensorType::f32(&[7, 9]));
    let w = g.variable("w", TensorType::f32(&[9, 9]));
    let mut y = x;
    for _ in 0..5 {
        let n = g.rms_norm(y)?;
        y = g.linear_residual(n, w, y)?;
    }
    g.output("y", y);
    let plan = Plan::new(&g, &|_, _| 100)?;
    let end = |(place, ty): &(Place, TensorType)| match place {
        Place::Arena(offset) => offset + ty.bytes(),
        _ => 0,
    };
    let values = plan.steps().iter().flat_map(|s| &s.outputs).map(end).max().unwrap();
    let scratch = plan.steps().iter().map(|s| s.scratch.0 + s.scratch.1).max().unwrap();
    assert_eq!(plan.arena_bytes(), values.max(scratch).next_multiple_of(64));
    // x, its norm, the statistics and scratch, whatever the depth.
    let matrix = (7 * 9 * 4usize).next_multiple_of(64);
    assert!(plan.arena_bytes() <= 3 * matrix + 64 + 128, "{}", plan.arena_bytes());
    Ok(())
}
