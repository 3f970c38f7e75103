//! Drafts change nothing but the time that greedy decoding takes.

use kiln_graph::{Executor, Feed};
use kiln_model::{Compute, DecodeShape, LogitsOf, ModelConfig, decode_graph, trunk_graph};
use kiln_train::generate::{Flow, Generator};
use kiln_train::sampler::Sampling;
use kiln_train::speculate::Speculator;

use crate::common::executor;
use crate::models::{self, VOCAB, tokens};

/// Models with a block that drafts: alone, and beside every other option.
fn with_drafts() -> Vec<(&'static str, ModelConfig)> {
    let mut models = models::all();
    models.retain(|(_, model)| model.mtp);
    assert_eq!(models.len(), 2);
    models
}

fn plain(config: &ModelConfig, compute: Compute, prompt: &[u32], most: usize) -> Vec<u32> {
    let mut cpu = executor(config, compute);
    let capacity = prompt.len() + most;
    let mut generator = Generator::new(&mut cpu, config, compute, 1, capacity).unwrap();
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let mut made = Vec::new();
    let emit = |_, token| {
        made.push(token);
        Flow::Continue
    };
    generator.generate(&mut cpu, prompt, most, greedy, emit).unwrap();
    made
}

fn prompt(count: usize, seed: u64) -> Vec<u32> {
    tokens(count, seed).into_iter().map(|id| id as u32).collect()
}

#[test]
fn speculative_decoding_yields_what_greedy_decoding_yields() {
    for (name, config) in with_drafts() {
        for compute in [Compute::F32, Compute::Bf16] {
            let (mut drafted, mut accepted) = (0, 0);
            for (length, most) in [(1, 60), (2, 1), (17, 80), (64, 33), (70, 2), (300, 50)] {
                let prompt = prompt(length, 7 + length as u64);
                let wanted = plain(&config, compute, &prompt, most);
                let mut cpu = executor(&config, compute);
                let mut speculator =
                    Speculator::new(&mut cpu, &config, compute, length + most).unwrap();
                // The second time caches hold what the first one left.
                for _ in 0..2 {
                    let mut made = Vec::new();
                    let emit = |token| {
                        made.push(token);
                        Flow::Continue
                    };
                    let counts = speculator.generate(&mut cpu, &prompt, most, emit).unwrap();
                    assert_eq!(made, wanted, "{name}, {compute}, a prompt of {length}");
                    assert_eq!(counts.made, wanted.len());
                    (drafted, accepted) = (drafted + counts.drafted, accepted + counts.accepted);
                }
            }
            assert!(drafted > accepted, "{name}: nothing was refused");
        }
    }
}

/// Both kinds of steps sum in the same order: else a tie could be decided in two ways.
#[test]
fn two_tokens_at_once_have_the_logits_of_one_after_the_other() {
    const SEEN: usize = 70;
    for (name, config) in models::all() {
        for compute in [Compute::F32, Compute::Bf16] {
            let mut cpu = executor(&config, compute);
            let text = tokens(SEEN + 2, 3);
            let shape = |tokens| DecodeShape { rows: 1, tokens, capacity: 128 };
            let mut prepare = |tokens, of| {
                let graph = trunk_graph(&config, compute, shape(tokens), of).unwrap().graph;
                cpu.prepare(&graph).unwrap()
            };
            let (prefill, two) = (prepare(SEEN, LogitsOf::Last), prepare(2, LogitsOf::Every));
            let one = decode_graph(&config, compute, 1, 1, 128).unwrap().graph;
            let one = cpu.prepare(&one).unwrap();
            let last = [SEEN as i32 - 1];
            cpu.run(prefill, &[Feed::I32(&text[..SEEN]), Feed::I32(&[0]), Feed::I32(&last)])
                .unwrap();
            cpu.run(two, &[Feed::I32(&text[SEEN..]), Feed::I32(&[SEEN as i32])]).unwrap();
            let both = cpu.output(two, 0).to_vec();
            for (i, expected) in both.chunks_exact(VOCAB).enumerate() {
                let (id, start) = ([text[SEEN + i]], [(SEEN + i) as i32]);
                cpu.run(one, &[Feed::I32(&id), Feed::I32(&start), Feed::I32(&[0])]).unwrap();
                assert!(cpu.output(one, 0) == expected, "{name}, {compute}, token {i}");
            }
        }
    }
}

/// A model whose second next token is always the same is drafted right after the first.
#[test]
fn what_is_drafted_right_saves_passes() {
    let (_, config) = with_drafts().swap_remove(0);
    let mut cpu = executor(&config, Compute::F32);
    // One row of the output layer wins whatever the state is: it is zero, all others are pushed down by none.
    let lm_head = config.parameters().into_iter().find(|p| p.name == "lm_head.weight").unwrap();
    cpu.write("lm_head.weight", lm_head.tensor_type(), &vec![0.0; lm_head.count()]).unwrap();
    let mut speculator = Speculator::new(&mut cpu, &config, Compute::F32, 64).unwrap();
    let mut made = Vec::new();
    let emit = |token| {
        made.push(token);
        Flow::Continue
    };
    let counts = speculator.generate(&mut cpu, &[5, 6, 7], 41, emit).unwrap();
    assert_eq!(made.len(), 41);
    assert!(made.iter().all(|token| *token == made[0]));
    assert_eq!((counts.made, counts.drafted, counts.accepted), (41, 20, 20));
}

#[test]
fn a_model_without_drafts_is_refused() {
    let (_, config) = models::all().swap_remove(0);
    let mut cpu = executor(&config, Compute::F32);
    let error = Speculator::new(&mut cpu, &config, Compute::F32, 8).err().unwrap();
    assert!(error.to_string().contains("no multi-token prediction"), "{error}");
}
