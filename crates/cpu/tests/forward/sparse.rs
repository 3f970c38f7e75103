//! Sparse attention over caches.

use kiln_cpu::Isa;
use kiln_graph::ops::{Indexer, Selection};
use kiln_graph::{DType, Feed, Graph, GraphError, TensorType};

use crate::common::{Random, run};

/// Prefill of many tokens and steps of one, over rows that begin at positions of their own: the same bits as sparse
/// attention over the whole sequence.
pub fn attention_cached(isa: Isa) -> Result<(), GraphError> {
    let (b, capacity, h, kh, d, heads, width) = (2, 61, 4, 2, 6, 3, 5);
    let selection = Selection { local: 4, top_k: 12 };
    let mut random = Random(41);
    let mut values = |row: usize| random.values(b * capacity * row, 1.0);
    let rows = [h * d, kh * d, kh * d, heads * width, width, heads];
    let [q, k, v, iq, ik, iw] = rows.map(&mut values);
    for dtype in [DType::F32, DType::Bf16] {
        let build = |t: usize, cached: bool| -> Result<Graph, GraphError> {
            let mut g = Graph::new();
            let mut input = |name: &str, dims: &[usize], dtype| {
                let x = g.input(name, TensorType::f32(dims));
                g.cast(x, dtype)
            };
            let q = input("q", &[b, t, h, d], dtype)?;
            let k = input("k", &[b, capacity, kh, d], dtype)?;
            let v = input("v", &[b, capacity, kh, d], dtype)?;
            let iq = input("iq", &[b, t, heads, width], dtype)?;
            let ik = input("ik", &[b, capacity, 1, width], dtype)?;
            let w = input("iw", &[b, t, heads], DType::F32)?;
            let out = if cached {
                let start = g.input("start", TensorType::i32(&[b]));
                let indexer = Indexer { q: iq, k: ik, w };
                g.sparse_attention_cached((q, k, v), indexer, start, selection)?
            } else {
                let indexer = Indexer { q: iq, k: g.reshape(ik, &[b, capacity, width])?, w };
                g.sparse_attention((q, k, v), indexer, selection)?
            };
            let out = g.cast(out, DType::F32)?;
            g.output("out", out);
            Ok(g)
        };
        let feeds = [&q, &k, &v, &iq, &ik, &iw].map(|x| Feed::F32(x));
        let whole = run(isa, &build(capacity, false)?, &[], &feeds).remove(0);
        for (t, start) in [(1, [0, 60]), (3, [17, 4]), (37, [16, 24])] {
            let part = |data: &[f32], row: usize| -> Vec<f32> {
                let rows = start.iter().enumerate().map(|(b, &first)| {
                    let first = b * capacity + first as usize;
                    &data[first * row..(first + t) * row]
                });
                rows.flatten().copied().collect()
            };
            let (q, iq, iw) = (part(&q, h * d), part(&iq, heads * width), part(&iw, heads));
            let feeds = [&q, &k, &v, &iq, &ik, &iw].map(|x| Feed::F32(x));
            let feeds: Vec<Feed<'_>> = feeds.into_iter().chain([Feed::I32(&start)]).collect();
            let found = run(isa, &build(t, true)?, &[], &feeds).remove(0);
            assert_eq!(found, part(&whole, h * d), "{isa} {dtype}: {t} from {start:?}");
        }
    }
    Ok(())
}
