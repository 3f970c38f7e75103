//! No token has a part in what comes before it.

use kiln_graph::{Executor, Feed};
use kiln_model::{Compute, logits_graph};

use crate::common::executor;
use crate::models::{self, SEQUENCE, VOCAB, tokens};

/// Changing a token, and all after it, changes no logit before it, to the last bit.
#[test]
fn what_comes_later_changes_nothing() {
    for (name, config) in models::all() {
        for compute in [Compute::F32, Compute::Bf16] {
            let mut cpu = executor(&config, compute);
            let graph = logits_graph(&config, compute, 2, SEQUENCE).unwrap().graph;
            let program = cpu.prepare(&graph).unwrap();
            let mut logits = |ids: &[i32]| {
                cpu.run(program, &[Feed::I32(ids)]).unwrap();
                cpu.output(program, 0).to_vec()
            };
            let ids = tokens(2 * SEQUENCE, 5);
            let other = tokens(2 * SEQUENCE, 6);
            let before = logits(&ids);
            for t in [1, 2, 9, 40, 64, SEQUENCE - 1] {
                let mut changed = ids.clone();
                for row in 0..2 {
                    let part = row * SEQUENCE + t..(row + 1) * SEQUENCE;
                    changed[part.clone()].copy_from_slice(&other[part]);
                    changed[row * SEQUENCE + t] = (ids[row * SEQUENCE + t] + 1) % VOCAB as i32;
                }
                let after = logits(&changed);
                for row in 0..2 {
                    let at = row * SEQUENCE * VOCAB;
                    let same = at..at + t * VOCAB;
                    assert!(before[same.clone()] == after[same], "{name}, {compute}: {t} is seen");
                    let own = at + t * VOCAB..at + (t + 1) * VOCAB;
                    assert!(before[own.clone()] != after[own], "{name}: {t} counts for nothing");
                }
            }
        }
    }
}
