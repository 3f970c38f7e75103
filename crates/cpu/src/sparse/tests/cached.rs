use super::*;
use half::bf16;

/// The part of `data` (`[b, t, row]`) that rows have from their starts on, as far as it goes.
fn rows_from<X: Copy>(data: &[X], (t, row): (usize, usize), start: &[i32], new: usize) -> Vec<X> {
    let mut part = Vec::new();
    for (b, &start) in start.iter().enumerate() {
        for at in 0..new {
            // Queries beyond the end repeat the last.
            let at = (start as usize + at).min(t - 1);
            part.extend_from_slice(&data[(b * t + at) * row..][..row]);
        }
    }
    part
}

/// Caches with room for more than `t` positions, which hold NaN there.
fn cache<E: Sparse>(data: &[E], t: usize, row: usize, capacity: usize) -> Vec<E> {
    let mut cache = Vec::new();
    for data in data.chunks_exact(t * row) {
        cache.extend_from_slice(data);
        cache.resize(cache.len() + (capacity - t) * row, E::from_f32(f32::NAN));
    }
    cache
}

fn check<E: Sparse>(whole: Dims, starts: &[(usize, &[i32])]) {
    let Dims { b, t, h, k_heads, d, heads, width, .. } = whole;
    let x = Elements::<E>::new(&case::<E>(whole, 30));
    let [q, k, v, iq, ik, _] = &x.0;
    let capacity = t + 77;
    let caches = [(k, k_heads * d), (v, k_heads * d), (ik, width)]
        .map(|(data, row)| cache(data, t, row, capacity));
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let all = run(&cx, &x, &whole);
        for &(new, start) in starts {
            let q = rows_from(q, (t, h * d), start, new);
            let iq = rows_from(iq, (t, heads * width), start, new);
            let iw = rows_from(&x.1, (t, heads), start, new);
            let dims = Dims { b, t: new, positions: capacity, ..whole };
            let indexer = Indexer { q: &iq, k: &caches[2], w: &iw };
            let inputs = Inputs { q: &q, k: &caches[0], v: &caches[1], indexer };
            let mut out = vec![E::from_f32(f32::NAN); q.len()];
            let mut scratch = vec![f32::NAN; cached_scratch_len::<E>(&cx, &dims)];
            cached(&cx, &inputs, start, &dims, &mut out, &mut scratch);
            let wanted = rows_from(&all.out, (t, h * d), start, new);
            assert!(floats(&out) == floats(&wanted), "{isa} {dims:?} from {start:?}");
        }
    }
}

#[test]
fn a_cache_gives_the_same_bits() {
    let small = dims([3, 150, 4, 2, 24], [3, 6], [4, 20]);
    let starts: [(usize, &[i32]); 4] =
        [(1, &[0, 149, 77]), (5, &[3, 140, 60]), (16, &[0, 134, 21]), (140, &[0, 10, 5])];
    check::<f32>(small, &starts);
    check::<bf16>(small, &starts);
    let long = dims([1, 700, 2, 1, 32], [16, 32], [16, 100]);
    let starts: [(usize, &[i32]); 3] = [(1, &[699]), (64, &[600]), (300, &[400])];
    check::<bf16>(long, &starts);
    // Rows in two panels of columns, and where they lie.
    let wide = dims([2, 140, 2, 1, 128], [2, 4], [3, 20]);
    let starts: [(usize, &[i32]); 3] = [(1, &[139, 60]), (7, &[100, 128]), (20, &[10, 120])];
    check::<f32>(wide, &starts);
    check::<bf16>(Dims { d: 256, ..wide }, &starts);
}

/// Queries beyond the capacity, a cache without room, negative starts.
#[test]
fn what_lies_outside_a_cache_is_harmless() {
    let whole = dims([2, 40, 2, 1, 8], [2, 4], [3, 10]);
    let x = Elements::<f32>::new(&case::<f32>(whole, 31));
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        for start in [[-5, 36], [40, 1000], [i32::MAX, i32::MIN]] {
            let mut out = vec![f32::NAN; x.0[0].len()];
            let mut scratch = vec![f32::NAN; cached_scratch_len::<f32>(&cx, &whole)];
            cached(&cx, &x.inputs(), &start, &whole, &mut out, &mut scratch);
            assert!(out.iter().all(|x| x.is_finite()));
        }
        let empty = Dims { positions: 0, ..whole };
        let inputs = Inputs {
            k: &[],
            v: &[],
            indexer: Indexer { k: &[], ..x.inputs().indexer },
            ..x.inputs()
        };
        let mut out = vec![f32::NAN; x.0[0].len()];
        let mut scratch = vec![0.0; cached_scratch_len::<f32>(&cx, &empty)];
        cached(&cx, &inputs, &[0, 0], &empty, &mut out, &mut scratch);
        assert!(out.iter().all(|&x| x == 0.0));
    }
}
