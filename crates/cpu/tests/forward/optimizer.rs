//! Steps of optimizers.

use kiln_cpu::Isa;
use kiln_graph::ops::{
    AdamWStep, CautiousDecayStep, HeadAxis, MuonMomentum, MuonNormalize, MuonOrthogonalize,
    Orthogonalization, SCHEDULE_LEN,
};
use kiln_graph::{DType, Feed, Graph, GraphError, TensorType};

use crate::common::{Random, assert_close, run};
use crate::wide;

/// Multiplier 0.7, momentum 0.9, decay 0.1, and AdamW's corrections after three steps.
fn schedule() -> [f32; SCHEDULE_LEN] {
    [0.7, 0.9, 0.1, 1.0 - 0.8f32.powi(3), 1.0 - 0.95f32.powi(3)]
}

pub fn muon_momentum(isa: Isa) -> Result<(), GraphError> {
    let (rows, cols) = (5, 11);
    let mut random = Random(20);
    let (grad, held) = (random.values(rows * cols, 1.0), random.values(rows * cols, 1.0));
    let ty = TensorType::f32(&[rows, cols]);
    let mut g = Graph::new();
    let gv = g.input("g", ty);
    let m = g.variable("m", ty);
    let schedule_value = g.schedule_input();
    let out = g.push(MuonMomentum, &[gv, m, schedule_value])?;
    g.update(m, out[1])?;
    out.iter().for_each(|v| g.output("out", *v));
    let mu = f64::from(schedule()[1]);
    let (grads, held64) = (wide(&grad), wide(&held));
    let momentum: Vec<f64> =
        grads.iter().zip(&held64).map(|(g, m)| m + (1.0 - mu) * (g - m)).collect();
    let nesterov: Vec<f64> = grads.iter().zip(&momentum).map(|(g, m)| g + mu * (m - g)).collect();
    let found = run(isa, &g, &[("m", &held)], &[Feed::F32(&grad), Feed::F32(&schedule())]);
    assert_close("nesterov", &found[0], &nesterov, 1e-6);
    assert_close("momentum", &found[1], &momentum, 1e-6);
    Ok(())
}

/// `a` (m x k) times `b` (k x n).
fn product(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
    (0..m * n).map(|at| entry(at / n, at % n)).collect()
}

fn transpose(a: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|at| a[at % rows * cols + at / rows]).collect()
}

/// The polynomial iteration as the formula stands.
fn orthogonal(x: &[f64], rows: usize, cols: usize, op: &MuonOrthogonalize) -> Vec<f64> {
    if rows > cols {
        return transpose(&orthogonal(&transpose(x, rows, cols), cols, rows, op), cols, rows);
    }
    let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    let mut x: Vec<f64> = x.iter().map(|v| v / (1.02 * norm + 1e-6)).collect();
    for step in 0..op.steps {
        let (a, b, c) = op.method.coefficients(step);
        let square = product(&x, &transpose(&x, rows, cols), rows, cols, rows);
        let fourth = product(&square, &square, rows, rows, rows);
        let factor: Vec<f64> = square.iter().zip(&fourth).map(|(s, f)| b * s + c * f).collect();
        let change = product(&factor, &x, rows, rows, cols);
        x = x.iter().zip(&change).map(|(x, y)| a * x + y).collect();
    }
    x
}

pub fn muon_orthogonalize(isa: Isa) -> Result<(), GraphError> {
    for (rows, cols) in [(6, 34), (34, 6), (9, 9), (18, 1)] {
        for (heads, axis) in [(1, HeadAxis::Rows), (3, HeadAxis::Rows), (2, HeadAxis::Columns)] {
            let along = if axis == HeadAxis::Rows { rows } else { cols };
            if along % heads != 0 {
                continue;
            }
            for (method, steps) in
                [(Orthogonalization::PolarExpress, 5), (Orthogonalization::NewtonSchulz, 3)]
            {
                let op = MuonOrthogonalize { method, steps, heads, axis, dtype: DType::F32 };
                let x = Random(21).values(rows * cols, 1.0);
                let mut g = Graph::new();
                let xv = g.input("x", TensorType::f32(&[rows, cols]));
                let out = g.push(op.clone(), &[xv])?[0];
                g.output("out", out);
                let found = run(isa, &g, &[], &[Feed::F32(&x)]).remove(0);
                let (r, c) = op.slice(rows, cols);
                let mut wanted = vec![0.0; rows * cols];
                for head in 0..heads {
                    let place = |at: usize| match axis {
                        HeadAxis::Rows => (head * r + at / c) * cols + at % c,
                        HeadAxis::Columns => at / c * cols + head * c + at % c,
                    };
                    let slice: Vec<f64> = (0..r * c).map(|at| f64::from(x[place(at)])).collect();
                    let slice = orthogonal(&slice, r, c, &op);
                    slice.iter().enumerate().for_each(|(at, v)| wanted[place(at)] = *v);
                }
                assert_close(&format!("{rows}x{cols} {op:?}"), &found, &wanted, 5e-5);
            }
        }
    }
    Ok(())
}

pub fn muon_normalize(isa: Isa) -> Result<(), GraphError> {
    for (rows, cols) in [(5, 37), (37, 5), (7, 7)] {
        let mut random = Random(22);
        let x = random.values(rows * cols, 1.0);
        let held: Vec<f32> = random.values(rows.max(cols), 0.3).iter().map(|v| v.abs()).collect();
        let ty = TensorType::f32(&[rows, cols]);
        let mut g = Graph::new();
        let xv = g.input("x", ty);
        let s = g.variable("s", MuonNormalize::second_moment(&ty));
        let out = g.push(MuonNormalize { beta2: 0.95 }, &[xv, s])?;
        g.update(s, out[1])?;
        out.iter().for_each(|v| g.output("out", *v));
        let x64 = wide(&x);
        let by_row = rows >= cols;
        let line = |at: usize| if by_row { at / cols } else { at % cols };
        let mut mean = vec![0.0; rows.max(cols)];
        x64.iter().enumerate().for_each(|(at, v)| mean[line(at)] += v * v / rows.min(cols) as f64);
        let second: Vec<f64> = held
            .iter()
            .zip(&mean)
            .map(|(s, v)| f64::from(*s) + 0.05 * (v - f64::from(*s)))
            .collect();
        let scaled: Vec<f64> =
            x64.iter().enumerate().map(|(at, v)| v / second[line(at)].max(1e-10).sqrt()).collect();
        let norm = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
        let factor = norm(&x64) / norm(&scaled).max(1e-10);
        let wanted: Vec<f64> = scaled.iter().map(|v| v * factor).collect();
        let found = run(isa, &g, &[("s", &held)], &[Feed::F32(&x)]);
        assert_close("normalized", &found[0], &wanted, 3e-6);
        assert_close("second moments", &found[1], &second, 1e-6);
    }
    Ok(())
}

pub fn cautious_decay(isa: Isa) -> Result<(), GraphError> {
    for (rows, cols) in [(5, 37), (37, 5)] {
        let mut random = Random(23);
        let (w, x) = (random.values(rows * cols, 1.0), random.values(rows * cols, 1.0));
        let ty = TensorType::f32(&[rows, cols]);
        let mut g = Graph::new();
        let wv = g.variable("w", ty);
        let xv = g.input("x", ty);
        let sv = g.schedule_input();
        let out = g.push(CautiousDecayStep { lr: 0.02 }, &[wv, xv, sv])?[0];
        g.update(wv, out)?;
        g.output("w", out);
        let s = schedule().map(f64::from);
        let lr = 0.02 * s[0] * (rows as f64 / cols as f64).max(1.0).sqrt();
        let step = |(w, x): (&f32, &f32)| {
            let (w, x) = (f64::from(*w), f64::from(*x));
            w - lr * x - if x * w >= 0.0 { lr * s[2] * w } else { 0.0 }
        };
        let wanted: Vec<f64> = w.iter().zip(&x).map(step).collect();
        let found = run(isa, &g, &[("w", &w)], &[Feed::F32(&x), Feed::F32(&schedule())]);
        assert_close("w", &found[0], &wanted, 1e-6);
    }
    Ok(())
}

pub fn adamw(isa: Isa) -> Result<(), GraphError> {
    let n = 131;
    let mut random = Random(24);
    let (w, grad, m) = (random.values(n, 1.0), random.values(n, 1.0), random.values(n, 0.5));
    let v: Vec<f32> = random.values(n, 0.5).iter().map(|v| v.abs()).collect();
    let op = AdamWStep { lr: 0.3, beta1: 0.8, beta2: 0.95, eps: 1e-10, weight_decay: 0.1 };
    let ty = TensorType::f32(&[n]);
    let mut g = Graph::new();
    let names = ["w", "m", "v"];
    let vars: Vec<_> = names.iter().map(|name| g.variable(name, ty)).collect();
    let gv = g.input("g", ty);
    let sv = g.schedule_input();
    let out = g.push(op.clone(), &[vars[0], gv, vars[1], vars[2], sv])?;
    for (variable, value) in vars.iter().zip(&out) {
        g.update(*variable, *value)?;
        g.output("out", *value);
    }
    let s = schedule().map(f64::from);
    let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
    for i in 0..n {
        let (w, g) = (f64::from(w[i]), f64::from(grad[i]));
        let m = f64::from(m[i]) * op.beta1 + (1.0 - op.beta1) * g;
        let v = f64::from(v[i]) * op.beta2 + (1.0 - op.beta2) * g * g;
        let lr = op.lr * s[0];
        let step = m / s[3] / ((v / s[4]).sqrt() + op.eps);
        wanted[0].push(w * (1.0 - lr * op.weight_decay) - lr * step);
        wanted[1].push(m);
        wanted[2].push(v);
    }
    let given = [("w", &w[..]), ("m", &m[..]), ("v", &v[..])];
    let found = run(isa, &g, &given, &[Feed::F32(&grad), Feed::F32(&schedule())]);
    for i in 0..3 {
        assert_close(names[i], &found[i], &wanted[i], 2e-6);
    }
    Ok(())
}
