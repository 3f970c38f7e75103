//! Blocks whose activations the backward pass computes again.

use kiln_cpu::{Context, Cpu, Isa};
use kiln_model::{Compute, ModelConfig, Preset};
use kiln_train::micro_batch::{MicroBatches, Step, dropout_key};
use kiln_train::programs::{gradient_name, training_graph};

use crate::common::executor;
use crate::models::{self, tokens};

const ROWS: usize = 2;
const TOKENS: usize = 64;

/// Losses of two micro-batches and the gradients after them.
fn gradients(config: &ModelConfig, compute: Compute) -> Vec<Vec<u32>> {
    let mut cpu = executor(config, compute);
    let program = MicroBatches::prepare(&mut cpu, config, compute, ROWS, TOKENS).unwrap();
    let mut found = Vec::new();
    for micro in 0..2 {
        let ids = tokens(ROWS * TOKENS, micro);
        let mut targets = tokens(ROWS * TOKENS, micro + 10);
        targets[5] = -1;
        let key = dropout_key(3, micro);
        let step = Step { keep: if micro == 0 { 0.0 } else { 1.0 }, loss_scale: 0.5, key };
        let losses = program.run(&mut cpu, (&ids, &targets), step).unwrap();
        assert_eq!(losses.mtp.is_some(), config.mtp);
        found.push(vec![
            (losses.main as f32).to_bits(),
            (losses.mtp.unwrap_or(0.0) as f32).to_bits(),
        ]);
    }
    for parameter in config.trained_parameters() {
        let gradient = kiln_graph::Executor::read(&cpu, &gradient_name(&parameter.name)).unwrap();
        assert!(gradient.iter().any(|g| *g != 0.0), "{} has no gradient", parameter.name);
        found.push(gradient.iter().map(|g| g.to_bits()).collect());
    }
    found
}

#[test]
fn losses_and_gradients_are_the_same_bits() {
    for (name, config) in models::all() {
        // Dropout must drop the same again.
        let config = ModelConfig { engram_dropout: 0.2, ..config };
        let again = ModelConfig { checkpoint_blocks: true, ..config.clone() };
        for compute in [Compute::F32, Compute::Bf16] {
            let (kept, recomputed) = (gradients(&config, compute), gradients(&again, compute));
            assert!(kept == recomputed, "{name}, {compute}");
        }
    }
}

/// Bytes of activations of training at depth 12.
fn activations(config: &ModelConfig, checkpoint_blocks: bool) -> usize {
    let config = ModelConfig { checkpoint_blocks, ..config.clone() };
    let graph = training_graph(&config, Compute::Bf16, 8, 512).unwrap();
    Cpu::measure(&Context::new(Isa::detect(), 2), &graph).unwrap().arena
}

#[test]
fn at_depth_12_a_third_of_the_memory_is_enough() {
    let classic =
        ModelConfig { n_layer: 12, n_embd: 768, n_head: 6, n_kv_head: 6, ..ModelConfig::default() };
    let mut modern = classic.clone();
    modern.apply_preset(Preset::Modern);
    let dsa = ModelConfig { dsa: true, dsa_start: 0, ..modern.clone() };
    let mtp = ModelConfig { mtp: true, ..modern.clone() };
    let mixed = ModelConfig { mhc: true, engram: "0,-1".into(), ..mtp.clone() };
    for config in [classic, modern, dsa, mtp, mixed] {
        let [kept, recomputed] = [false, true].map(|again| activations(&config, again));
        assert!(3 * recomputed <= kept, "{recomputed} of {kept} bytes: {config:?}");
    }
}

/// Twice the row takes twice the memory, although twice as many keys are seen.
#[test]
fn memory_of_sparse_attention_is_linear_in_the_row() {
    let bytes = |sequence_len: usize| {
        let config = ModelConfig {
            n_layer: 2,
            n_embd: 256,
            n_head: 2,
            n_kv_head: 2,
            vocab_size: 512,
            sequence_len,
            dsa: true,
            dsa_start: 0,
            dsa_ratio: 0.125,
            ..ModelConfig::default()
        };
        let graph = training_graph(&config, Compute::Bf16, 1, sequence_len).unwrap();
        Cpu::measure(&Context::new(Isa::detect(), 2), &graph).unwrap().arena as f64
    };
    let (short, long, longest) = (bytes(4096), bytes(8192), bytes(16384));
    assert!(long / short <= 2.05 && longest / long <= 2.05, "{short}, {long}, {longest}");
}
