use super::*;
use crate::Isa;
use half::bf16;
use proptest::prelude::*;

fn values(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// A problem, and its solution in f64 by the definitions.
struct Case {
    dims: Dims,
    x: Vec<f32>,
    w: Vec<f32>,
    targets: Vec<i32>,
}

struct Solution {
    logits: Vec<f64>,
    losses: Vec<f64>,
    /// For upstream gradients of each loss.
    dx: Vec<f64>,
    dw: Vec<f64>,
}

impl Case {
    fn new(dims: Dims, ignored: u64, seed: u64) -> Self {
        let x = values(dims.n * dims.c, 1.5, seed);
        let mut w = values(dims.padded_vocab * dims.c, 1.5, seed + 1);
        // Padding must not be used, whatever it holds.
        w[dims.vocab * dims.c..].fill(1e4);
        let draw = values(2 * dims.n, 1.0, seed + 2);
        let target = |i: usize| {
            let unit = |v: f32| (v as f64 + 1.0) / 2.0;
            if unit(draw[2 * i]) * 10.0 < ignored as f64 {
                -1
            } else {
                ((unit(draw[2 * i + 1]) * dims.vocab as f64) as i32).min(dims.vocab as i32 - 1)
            }
        };
        let targets = (0..dims.n).map(target).collect();
        Case { dims, x, w, targets }
    }

    // Indices, as in the definitions.
    #[allow(clippy::needless_range_loop)]
    fn solve(&self, dloss: &[f32]) -> Solution {
        let Dims { n, c, vocab, padded_vocab, softcap } = self.dims;
        let cap = softcap as f64;
        let mut s = Solution {
            logits: vec![0.0; n * vocab],
            losses: vec![0.0; n],
            dx: vec![0.0; n * c],
            dw: vec![0.0; padded_vocab * c],
        };
        for i in 0..n {
            let x = &self.x[i * c..][..c];
            let w = |v: usize| &self.w[v * c..][..c];
            let z = |v: usize| x.iter().zip(w(v)).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>();
            let tanh: Vec<f64> = (0..vocab).map(|v| (z(v) / cap).tanh()).collect();
            let logits: Vec<f64> = tanh.iter().map(|t| cap * t).collect();
            s.logits[i * vocab..][..vocab].copy_from_slice(&logits);
            if self.targets[i] < 0 {
                continue;
            }
            let target = self.targets[i] as usize;
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            s.losses[i] = sum.ln() - logits[target];
            for v in 0..vocab {
                let p = logits[v].exp() / sum - if v == target { 1.0 } else { 0.0 };
                let dz = dloss[i] as f64 * p * (1.0 - tanh[v] * tanh[v]);
                for d in 0..c {
                    s.dx[i * c + d] += dz * w(v)[d] as f64;
                    s.dw[v * c + d] += dz * x[d] as f64;
                }
            }
        }
        s
    }

    fn check(&self, cx: &Context, dw_beta: f32, seed: u64) -> Result<(), TestCaseError> {
        self.check_type::<f32>(cx, dw_beta, seed, 1e-5)?;
        // What is multiplied for the gradients has eight bits.
        self.rounded().check_type::<bf16>(cx, dw_beta, seed, 1e-2)
    }

    /// The same problem with values that bf16 has.
    fn rounded(&self) -> Case {
        let round = |x: &Vec<f32>| x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        Case { x: round(&self.x), w: round(&self.w), targets: self.targets.clone(), ..*self }
    }

    fn check_type<T: Operand>(
        &self,
        cx: &Context,
        dw_beta: f32,
        seed: u64,
        gradients: f64,
    ) -> Result<(), TestCaseError> {
        let Case { dims, targets, .. } = self;
        let typed = |x: &Vec<f32>| -> Vec<T> { x.iter().map(|x| T::from_f32(*x)).collect() };
        let (x, w) = (&typed(&self.x), &typed(&self.w));
        let dloss = values(dims.n, 1.0, seed + 3);
        let want = self.solve(&dloss);
        let old = values(w.len(), 1.0, seed + 4);

        let mut out = vec![f32::NAN; dims.n * dims.vocab];
        let mut scratch = vec![f32::NAN; logits_scratch_len(cx, *dims)];
        logits(cx, x, w, *dims, &mut out, &mut scratch);
        close("logits", cx, &out, &want.logits, 1e-5)?;

        let mut losses = vec![f32::NAN; dims.n];
        let mut scratch = vec![f32::NAN; scratch_len::<T>(cx, *dims, false)];
        forward(cx, x, w, targets, *dims, &mut losses, &mut scratch);
        close("losses", cx, &losses, &want.losses, 1e-5)?;

        let (mut both, mut dx) = (vec![f32::NAN; dims.n], vec![f32::NAN; x.len()]);
        let mut dw = if dw_beta == 0.0 { vec![f32::NAN; w.len()] } else { old.clone() };
        let mut scratch = vec![f32::NAN; scratch_len::<T>(cx, *dims, true)];
        let scale = Scale::PerToken(&dloss);
        forward_backward(
            cx,
            x,
            w,
            targets,
            *dims,
            scale,
            &mut both,
            &mut dx,
            &mut dw,
            dw_beta,
            &mut scratch,
        );
        prop_assert_eq!(losses, both);
        close("dx", cx, &dx, &want.dx, gradients)?;
        let sum = |(&old, &grad): (&f32, &f64)| dw_beta as f64 * old as f64 + grad;
        let want: Vec<f64> = old.iter().zip(&want.dw).map(sum).collect();
        close("dw", cx, &dw, &want, gradients)
    }
}

/// Agreement relative to the largest value: sums cancel, so small values have its absolute error.
fn close(
    what: &str,
    cx: &Context,
    got: &[f32],
    want: &[f64],
    tolerance: f64,
) -> Result<(), TestCaseError> {
    let scale = want.iter().fold(1.0f64, |max, v| max.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        prop_assert!(
            (*got as f64 - want).abs() <= tolerance * scale,
            "{} {what}[{i}] = {got}, not {want}",
            cx.isa
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn losses_and_gradients_agree_with_the_definitions(
        n in 0usize..40, c in 1usize..50, vocab in 1usize..200, padding in 0usize..64,
        softcap in prop::sample::select(vec![0.5f32, 15.0, 40.0]), ignored in 0u64..11,
        dw_beta in prop::sample::select(vec![0.0f32, 1.0, 0.5]), threads in 1usize..4, seed in 0u64..1 << 32,
    ) {
        let dims = Dims { n, c, vocab, padded_vocab: vocab + padding, softcap };
        let case = Case::new(dims, ignored, seed);
        for isa in Isa::available() {
            case.check(&Context::new(isa, threads), dw_beta, seed)?;
        }
    }
}

#[test]
fn several_chunks_and_blocks_agree_with_the_definitions() {
    let (vocab, n) = (3072 + 77, chunk::ROWS + 90);
    let dims = Dims { n, c: 9, vocab, padded_vocab: vocab + 51, softcap: 15.0 };
    for ignored in [0, 1] {
        let case = Case::new(dims, ignored, 5);
        for isa in Isa::available() {
            case.check(&Context::new(isa, 2), 1.0, 6).unwrap();
        }
    }
}

#[test]
fn the_mean_scales_by_the_number_of_valid_targets_and_bits_repeat() {
    let dims = Dims { n: 71, c: 33, vocab: 301, padded_vocab: 320, softcap: 15.0 };
    let case = Case::new(dims, 3, 9);
    let valid = case.targets.iter().filter(|t| **t >= 0).count();
    let per_token = vec![2.0 / valid as f32; dims.n];
    let run = |threads: usize, scale: Scale<'_>| {
        let cx = Context::new(Isa::detect(), threads);
        let mut scratch = vec![0.0; scratch_len::<f32>(&cx, dims, true)];
        let (mut losses, mut dx) = (vec![0.0; dims.n], vec![0.0; dims.n * dims.c]);
        let mut dw = vec![0.0; dims.padded_vocab * dims.c];
        let Case { x, w, targets, .. } = &case;
        forward_backward(
            &cx,
            x,
            w,
            targets,
            dims,
            scale,
            &mut losses,
            &mut dx,
            &mut dw,
            0.0,
            &mut scratch,
        );
        (mean_loss(&losses, targets), losses, dx, dw)
    };
    let first = run(1, Scale::Mean(2.0));
    let mean: f64 = first.1.iter().map(|l| *l as f64).sum::<f64>() / valid as f64;
    assert_eq!(first.0, mean as f32);
    for threads in [1, 2, 3] {
        assert!(run(threads, Scale::Mean(2.0)) == first, "{threads} threads");
        assert!(run(threads, Scale::PerToken(&per_token)) == first, "{threads} threads");
    }
}

#[test]
fn nothing_valid_means_no_loss_and_no_gradient() {
    let dims = Dims { n: 3, c: 2, vocab: 4, padded_vocab: 6, softcap: 15.0 };
    let cx = Context::new(Isa::detect(), 2);
    let (x, w, targets) = ([1.0; 6], [1.0; 12], [-1; 3]);
    let mut scratch = vec![0.0; scratch_len::<f32>(&cx, dims, true)];
    let (mut losses, mut dx, mut dw) = ([f32::NAN; 3], [f32::NAN; 6], [3.0; 12]);
    forward_backward(
        &cx,
        &x,
        &w,
        &targets,
        dims,
        Scale::Mean(1.0),
        &mut losses,
        &mut dx,
        &mut dw,
        0.5,
        &mut scratch,
    );
    assert_eq!(
        (mean_loss(&losses, &targets), losses, dx, dw),
        (0.0, [0.0; 3], [0.0; 6], [1.5; 12])
    );
}

#[test]
fn a_nan_reaches_the_loss_and_both_gradients() {
    let dims = Dims { n: 2, c: 1, vocab: 3, padded_vocab: 3, softcap: 15.0 };
    for isa in Isa::available() {
        let cx = Context::new(isa, 1);
        let mut scratch = vec![0.0; scratch_len::<f32>(&cx, dims, true)];
        let (mut losses, mut dx, mut dw) = ([0.0; 2], [0.0; 2], [0.0; 3]);
        forward_backward(
            &cx,
            &[f32::NAN, 1.0],
            &[1.0, 2.0, 3.0],
            &[1, 2],
            dims,
            Scale::Mean(1.0),
            &mut losses,
            &mut dx,
            &mut dw,
            0.0,
            &mut scratch,
        );
        assert!(losses[0].is_nan() && dx[0].is_nan() && dw.iter().all(|v| v.is_nan()), "{isa}");
        assert!(losses[1].is_finite() && dx[1].is_finite(), "{isa}");
    }
}

#[test]
#[should_panic(expected = "neither -1 nor below 4")]
fn a_target_beyond_the_vocabulary_is_refused() {
    let dims = Dims { n: 1, c: 1, vocab: 4, padded_vocab: 6, softcap: 15.0 };
    let cx = Context::new(Isa::SCALAR, 1);
    forward(&cx, &[1.0f32], &[1.0; 6], &[4], dims, &mut [0.0], &mut []);
}
