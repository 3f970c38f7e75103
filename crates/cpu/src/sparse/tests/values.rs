use super::*;
use half::bf16;

/// The keys that a query sees by its threshold and boundary, which must be what its scores say.
fn seen<E: Sparse>(x: &Case, run: &Run<E>, scores: &[f32], row: usize, query: usize) -> Vec<usize> {
    let Dims { t, local, top_k, .. } = x.dims;
    let scores: Vec<f64> =
        scores[(row * t + query) * t..][..t].iter().map(|&s| f64::from(s)).collect();
    let at = row * t + query;
    let (threshold, boundary) = (f64::from(run.threshold[at]), run.boundary[at] as usize);
    let sees = |key: &usize| {
        let score = scores[*key];
        query - key < local || score > threshold || (score == threshold && *key >= boundary)
    };
    let keys: Vec<usize> = (0..=query).filter(sees).collect();
    assert_eq!(keys.len(), top_k.min(query + 1), "row {row}, query {query}");
    assert_eq!(keys, x.select(&scores, query), "row {row}, query {query}");
    keys
}

fn check<E: Sparse>(dims: Dims, seed: u64, (values, gradients): (f64, f64)) {
    let case = case::<E>(dims, seed);
    let x = Elements::<E>::new(&case);
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let what = |name: &str| format!("{isa} {dims:?}: {name}");
        let run = run(&cx, &x, &dims);
        let scores = scores(&cx, &x, &dims);
        for (row, query) in [(0, dims.t - 1), (dims.b - 1, dims.t / 2)] {
            let wanted: Vec<f64> = (0..=query).map(|key| case.score(row, query, key)).collect();
            let found = &scores[(row * dims.t + query) * dims.t..][..dims.t];
            let found: Vec<f64> = found.iter().map(|&s| f64::from(s)).collect();
            assert!(found[query + 1..].iter().all(|&s| s == 0.0), "{}", what("later scores"));
            assert_close(&what("scores"), &found[..=query], &wanted, 1e-5);
        }
        let seen = |row, query| seen(&case, &run, &scores, row, query);
        let (out, lse) = case.forward(&seen);
        assert_close(&what("out"), &floats(&run.out), &out, values);
        let off = |(found, lse): (&f32, &f64)| (f64::from(*found) - lse).abs();
        let off = run.lse.iter().zip(&lse).map(off).fold(0.0, f64::max);
        assert!(off < 1e-4, "{}: off by {off:.1e}", what("lse"));
        let wanted = case.backward(&seen);
        for (i, name) in ["dq", "dk", "dv", "diq", "dik"].into_iter().enumerate() {
            assert_close(&what(name), &floats(&run.grads[i]), &wanted[i], gradients);
        }
        let dw: Vec<f64> = run.dw.iter().map(|&x| f64::from(x)).collect();
        assert_close(&what("diw"), &dw, &wanted[5], gradients);
    }
}

#[test]
fn f32_agrees_with_the_definition() {
    for (seed, dims) in sizes().into_iter().enumerate() {
        check::<f32>(dims, seed as u64, (1e-5, 3e-5));
    }
}

#[test]
fn bf16_agrees_with_the_definition() {
    for (seed, dims) in sizes().into_iter().enumerate() {
        check::<bf16>(dims, seed as u64, (5e-3, 1.5e-2));
    }
}

fn bits<E: Sparse>(run: &Run<E>) -> Vec<u32> {
    let own = [&run.lse, &run.threshold, &run.dw].into_iter().flatten().map(|x| x.to_bits());
    let elements = run.grads.iter().chain([&run.out]).flatten().map(|x| x.to_f32().to_bits());
    own.chain(elements).chain(run.boundary.iter().map(|&x| x as u32)).collect()
}

fn threads_change_nothing<E: Sparse>() {
    for (seed, dims) in sizes().into_iter().enumerate() {
        let x = Elements::<E>::new(&case::<E>(dims, 10 + seed as u64));
        for isa in Isa::available() {
            let alone = bits(&run(&Context::new(isa, 1), &x, &dims));
            for threads in [2, 3, 5, 5] {
                let together = bits(&run(&Context::new(isa, threads), &x, &dims));
                assert!(alone == together, "{isa} {dims:?}: {threads} threads");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    threads_change_nothing::<f32>();
    threads_change_nothing::<bf16>();
}

/// Where every key scores the same, the latest ones are seen.
#[test]
fn of_equals_the_later_key_wins() {
    let dims = dims([1, 300, 1, 1, 16], [3, 8], [5, 40]);
    let mut case = case::<f32>(dims, 3);
    case.iw.fill(0.0);
    let x = Elements::<f32>::new(&case);
    for isa in Isa::available() {
        let run = run(&Context::new(isa, 2), &x, &dims);
        for query in 0..dims.t {
            let wanted = if query < 40 { (f32::NEG_INFINITY, 0) } else { (0.0, query as i32 - 39) };
            assert_eq!((run.threshold[query], run.boundary[query]), wanted, "query {query}");
        }
        let seen = |_, query: usize| (query.saturating_sub(39)..=query).collect();
        assert_close("out", &floats(&run.out), &case.forward(&seen).0, 1e-5);
    }
}

#[test]
fn with_room_for_every_key_it_is_dense_attention() {
    use crate::attention;
    for dims in
        [dims([2, 190, 4, 2, 24], [2, 4], [3, 190]), dims([1, 140, 2, 2, 64], [1, 8], [140, 140])]
    {
        let Dims { b, t, h, k_heads, d, .. } = dims;
        let x = Elements::<f32>::new(&case::<f32>(dims, 4));
        let cx = Context::new(Isa::detect(), 2);
        let run = run(&cx, &x, &dims);
        let dense = attention::Dims { b, t, h, k_heads, d, window: t };
        let [q, k, v, _, _, dout] = &x.0;
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; b * h * t]);
        let len = attention::forward_scratch_len::<f32>(&cx, &dense)
            .max(attention::backward_scratch_len::<f32>(&cx, &dense));
        let mut scratch = vec![0.0; len];
        attention::forward(&cx, q, k, v, &dense, &mut out, &mut lse, &mut scratch);
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|x| vec![0.0; x.len()]);
        let grads = (&mut dq, &mut dk, &mut dv);
        attention::backward(
            &cx,
            q,
            k,
            v,
            &out,
            &lse,
            dout,
            &dense,
            grads.0,
            grads.1,
            grads.2,
            &mut scratch,
        );
        for (name, found, wanted) in [
            ("out", &run.out, &out),
            ("lse", &run.lse, &lse),
            ("dq", &run.grads[0], &dq),
            ("dk", &run.grads[1], &dk),
            ("dv", &run.grads[2], &dv),
        ] {
            assert_close(name, &floats(found), &floats(wanted), 1e-5);
        }
    }
}

/// Scores far above the one with the own key, which exponentials are relative to at first.
fn large_scores_stay_exact<E: Sparse>(values: f64, gradients: f64) {
    let dims = dims([1, 300, 2, 1, 16], [3, 6], [3, 60]);
    let mut case = case::<E>(dims, 8);
    for x in [&mut case.q, &mut case.k] {
        x.iter_mut().for_each(|x| *x *= 16.0);
    }
    let x = Elements::<E>::new(&case);
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let run = run(&cx, &x, &dims);
        let scores = scores(&cx, &x, &dims);
        let seen = |row, query| seen(&case, &run, &scores, row, query);
        let (out, lse) = case.forward(&seen);
        assert_close("out", &floats(&run.out), &out, values);
        let found: Vec<f64> = run.lse.iter().map(|&x| f64::from(x)).collect();
        assert_close("lse", &found, &lse, 1e-6);
        let wanted = case.backward(&seen);
        for (i, name) in ["dq", "dk", "dv"].into_iter().enumerate() {
            assert_close(name, &floats(&run.grads[i]), &wanted[i], gradients);
        }
    }
}

#[test]
fn scores_far_above_the_own_one_are_weighed_right() {
    large_scores_stay_exact::<f32>(1e-4, 1e-3);
    large_scores_stay_exact::<bf16>(5e-3, 1.5e-2);
}

/// Later keys, and keys that are not seen, may hold anything.
fn what_is_not_seen_does_not_count<E: Sparse>() {
    let dims = dims([1, 300, 2, 1, 16], [4, 6], [3, 40]);
    let Dims { t, k_heads, d, width, .. } = dims;
    let original = case::<E>(dims, 6);
    let x = Elements::<E>::new(&original);
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let before = run(&cx, &x, &dims);
        let at = 2 * 16;
        let nan = E::from_f32(f32::NAN);
        for query in [30, 131, 250] {
            let mut spoilt = Elements::<E>::new(&original);
            for (data, row) in [(1, k_heads * d), (2, k_heads * d), (4, width)] {
                spoilt.0[data][(query + 1) * row..].fill(nan);
            }
            let after = run(&cx, &spoilt, &dims);
            let [found, wanted] = [&after, &before].map(|run| floats(&run.out[..(query + 1) * at]));
            assert!(found == wanted, "{isa}: keys after {query}");
            assert_eq!(after.threshold[..=query], before.threshold[..=query]);
            assert_eq!(after.boundary[..=query], before.boundary[..=query]);
        }
        let seen = seen(&original, &before, &scores(&cx, &x, &dims), 0, t - 1);
        let mut spoilt = Elements::<E>::new(&original);
        for key in (0..t).filter(|key| !seen.contains(key)) {
            for data in [1, 2] {
                spoilt.0[data][key * k_heads * d..][..k_heads * d].fill(nan);
            }
        }
        let after = run(&cx, &spoilt, &dims);
        let [found, wanted] = [&after, &before].map(|run| floats(&run.out[(t - 1) * at..]));
        assert!(found == wanted, "{isa}: keys that are not seen");
        let [found, wanted] = [&after, &before].map(|run| floats(&run.grads[0][(t - 1) * at..]));
        assert!(found == wanted, "{isa}: gradient by keys that are not seen");
    }
}

#[test]
fn keys_that_are_not_seen_change_no_bit() {
    what_is_not_seen_does_not_count::<f32>();
    what_is_not_seen_does_not_count::<bf16>();
}

fn scores_have_their_gradients<E: Sparse>(tolerance: f64) {
    for (seed, dims) in sizes().into_iter().enumerate() {
        let case = case::<E>(dims, 20 + seed as u64);
        let x = Elements::<E>::new(&case);
        let dscores = Noise(5).values::<f32>(dims.b * dims.t * dims.t, 1.0);
        let wanted = case.indexer_backward(&dscores);
        for isa in Isa::available() {
            let cx = Context::new(isa, 2);
            let dscores: Vec<f32> = dscores.iter().map(|&x| x as f32).collect();
            let like = |x: &Vec<E>| vec![E::from_f32(f32::NAN); x.len()];
            let (mut dq, mut dk, mut dw) =
                (like(&x.0[3]), like(&x.0[4]), vec![f32::NAN; x.1.len()]);
            let mut scratch = vec![f32::NAN; scores_grad_scratch_len::<E>(&cx, &dims)];
            let to = (&mut dq[..], &mut dk[..], &mut dw[..]);
            indexer_scores_grad(&cx, &x.inputs().indexer, &dscores, &dims, to, &mut scratch);
            assert_close("diq", &floats(&dq), &wanted[0], tolerance);
            assert_close("dik", &floats(&dk), &wanted[1], tolerance);
            assert_close("diw", &floats(&dw), &wanted[2], tolerance);
        }
    }
}

#[test]
fn scores_have_gradients() {
    scores_have_their_gradients::<f32>(1e-5);
    scores_have_their_gradients::<bf16>(1e-2);
}
