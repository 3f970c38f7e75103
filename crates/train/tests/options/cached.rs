//! Generation with caches computes what the model computes without them.

use kiln_graph::{Executor, Feed};
use kiln_model::{Compute, ModelConfig, decode_graph, logits_graph};

use crate::common::executor;
use crate::models::{self, VOCAB, tokens};

/// Of the prompts.
const LENGTHS: [usize; 3] = [1, 37, 64];
const PREFILL: usize = 64;
const DECODED: usize = 200;
const CAPACITY: usize = PREFILL + DECODED;

fn close(name: &str, found: &[f32], expected: &[f32], position: usize) {
    let range = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(range > 0.5, "{name}: logits of at most {range} would be near to any others");
    // What is no number is not near.
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4;
    let off = found.iter().zip(expected).position(|pair| !near(pair));
    let off = off.map(|i| (i, found[i], expected[i]));
    assert!(off.is_none(), "{name}: at {position} logits differ: {off:?}");
}

/// Logits after each token, without a cache.
fn uncached(config: &ModelConfig, text: &[i32]) -> Vec<f32> {
    let mut cpu = executor(config, Compute::F32);
    let graph = logits_graph(config, Compute::F32, 1, text.len()).unwrap().graph;
    let program = cpu.prepare(&graph).unwrap();
    cpu.run(program, &[Feed::I32(text)]).unwrap();
    cpu.output(program, 0).to_vec()
}

/// Three prompts of different lengths in one batch: a padded prefill, then one token at a time.
#[test]
fn cached_logits_equal_uncached_ones() {
    let rows = LENGTHS.len();
    for (name, config) in models::all() {
        let texts = [0, 1, 2].map(|row| tokens(LENGTHS[row] + DECODED, 40 + row as u64));
        let expected = texts.each_ref().map(|text| uncached(&config, text));
        let mut cpu = executor(&config, Compute::F32);
        let mut prepare = |tokens| {
            let built = decode_graph(&config, Compute::F32, rows, tokens, CAPACITY).unwrap();
            // Whatever a cache held before must not matter.
            for (name, ty) in built.caches {
                cpu.write(&name, ty, &vec![1e3; ty.len()]).unwrap();
            }
            cpu.prepare(&built.graph).unwrap()
        };
        let (prefill, decode) = (prepare(PREFILL), prepare(1));
        let mut ids = Vec::new();
        for (text, length) in texts.iter().zip(LENGTHS) {
            ids.extend(&text[..length]);
            ids.resize(ids.len() + PREFILL - length, 0);
        }
        let compare = |logits: &[f32], after: usize| {
            for (row, found) in logits.chunks_exact(VOCAB).enumerate() {
                let at = LENGTHS[row] - 1 + after;
                close(name, found, &expected[row][at * VOCAB..][..VOCAB], at);
            }
        };
        let last = LENGTHS.map(|length| length as i32 - 1);
        cpu.run(prefill, &[Feed::I32(&ids), Feed::I32(&[0; 3]), Feed::I32(&last)]).unwrap();
        compare(cpu.output(prefill, 0), 0);
        for step in 0..DECODED {
            let at = LENGTHS.map(|length| length + step);
            let ids: Vec<i32> = (0..rows).map(|row| texts[row][at[row]]).collect();
            let start = at.map(|position| position as i32);
            cpu.run(decode, &[Feed::I32(&ids), Feed::I32(&start), Feed::I32(&[0; 3])]).unwrap();
            compare(cpu.output(decode, 0), step + 1);
        }
    }
}
