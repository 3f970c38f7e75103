//! Generation with caches computes what the model computes without them.

mod common;

use common::executor;
use kiln_cpu::Cpu;
use kiln_graph::{Executor, Feed};
use kiln_model::{Compute, ModelConfig, Preset, decode_graph, logits_graph};
use kiln_train::generate::{Flow, Generator};
use kiln_train::sampler::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCAB: usize = 211;
const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

/// Two layers with a window of half the length, one over all of it; two query heads to each key/value head.
fn config(preset: Preset, sequence_len: usize) -> ModelConfig {
    let mut config = ModelConfig {
        n_layer: 3,
        n_embd: 64,
        n_head: 4,
        n_kv_head: 2,
        sequence_len,
        vocab_size: VOCAB,
        window_pattern: "SL".into(),
        ..ModelConfig::default()
    };
    config.apply_preset(preset);
    config.validate().unwrap();
    config
}

/// All configurations: with a length of 96 windows close long before the longest prompts end, with 512 they do not.
fn configs() -> Vec<ModelConfig> {
    let presets = [Preset::Classic, Preset::Modern];
    presets.into_iter().flat_map(|p| [96, 512].map(|length| config(p, length))).collect()
}

fn tokens(count: usize, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.next_u32() % VOCAB as u32).collect()
}

fn as_ids(tokens: &[u32]) -> Vec<i32> {
    tokens.iter().map(|&token| token as i32).collect()
}

/// Logits after each of the tokens, without a cache.
fn uncached(cpu: &mut Cpu, config: &ModelConfig, tokens: &[u32]) -> Vec<Vec<f32>> {
    let program =
        cpu.prepare(&logits_graph(config, Compute::F32, 1, tokens.len()).unwrap().graph).unwrap();
    cpu.run(program, &[Feed::I32(&as_ids(tokens))]).unwrap();
    cpu.output(program, 0).chunks_exact(VOCAB).map(<[f32]>::to_vec).collect()
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..VOCAB).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.unwrap() as u32
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let range = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(range > 0.5, "{what}: logits of at most {range} would be near to any others");
    assert!(difference <= 1e-4, "{what}: logits differ by {difference}");
}

/// Rows of what the generator makes of one prompt.
fn generate(
    generator: &mut Generator,
    cpu: &mut Cpu,
    prompt: &[u32],
    max_tokens: usize,
    rows: usize,
) -> Vec<Vec<u32>> {
    let mut made = vec![Vec::new(); rows];
    let count = generator.generate(cpu, prompt, max_tokens, GREEDY, |row, token| {
        made[row].push(token);
        Flow::Continue
    });
    assert_eq!(count.unwrap(), made.iter().map(Vec::len).sum::<usize>());
    made
}

/// That each token is the likeliest after those before it, by logits without a cache.
#[track_caller]
fn assert_greedy(cpu: &mut Cpu, config: &ModelConfig, prompt: &[u32], made: &[u32]) {
    let whole = [prompt, made].concat();
    let logits = uncached(cpu, config, &whole[..whole.len() - 1]);
    let expected: Vec<u32> = logits[prompt.len() - 1..].iter().map(|l| likeliest(l)).collect();
    assert_eq!(made, expected, "{} after {} tokens", config.preset, prompt.len());
}

#[test]
fn greedy_generation_equals_greedy_decoding_without_a_cache() {
    for config in configs() {
        let mut cpu = executor(&config, Compute::F32);
        let mut one = Generator::new(&mut cpu, &config, Compute::F32, 1, 320).unwrap();
        for length in [1, 15, 16, 17, 64, 100, 300] {
            let prompt = tokens(length, length as u64);
            let made = generate(&mut one, &mut cpu, &prompt, 12, 1).remove(0);
            assert_eq!(made.len(), 12);
            assert_greedy(&mut cpu, &config, &prompt, &made);
        }
    }
}

#[test]
fn rows_of_one_prompt_are_equal_when_greedy() {
    for config in configs() {
        let mut cpu = executor(&config, Compute::F32);
        let mut three = Generator::new(&mut cpu, &config, Compute::F32, 3, 128).unwrap();
        for length in [1, 17, 100] {
            let prompt = tokens(length, 5 + length as u64);
            let made = generate(&mut three, &mut cpu, &prompt, 8, 3);
            assert!(made.iter().all(|row| *row == made[0]), "{made:?}");
            assert_greedy(&mut cpu, &config, &prompt, &made[0]);
        }
    }
}

/// Prompts go through in pieces whose padding may reach beyond the room that there is.
#[test]
fn a_prompt_may_fill_the_room() {
    for config in configs() {
        for (capacity, length) in
            [(1, 1), (2, 1), (15, 14), (16, 16), (20, 18), (70, 67), (260, 258)]
        {
            let mut cpu = executor(&config, Compute::F32);
            let mut generator =
                Generator::new(&mut cpu, &config, Compute::F32, 1, capacity).unwrap();
            let prompt = tokens(length, 3);
            let made = generate(&mut generator, &mut cpu, &prompt, 100, 1).remove(0);
            // The last token needs no room, as nothing follows it.
            assert_eq!(made.len(), capacity - length + 1);
            assert_greedy(&mut cpu, &config, &prompt, &made);
        }
    }
}

#[test]
fn a_second_generation_sees_nothing_of_the_first() {
    let config = config(Preset::Modern, 96);
    let mut cpu = executor(&config, Compute::F32);
    let mut generator = Generator::new(&mut cpu, &config, Compute::F32, 2, 128).unwrap();
    let prompt = tokens(20, 1);
    let first = generate(&mut generator, &mut cpu, &prompt, 10, 2);
    generate(&mut generator, &mut cpu, &tokens(90, 2), 30, 2);
    assert_eq!(generate(&mut generator, &mut cpu, &prompt, 10, 2), first);
}

#[test]
fn a_row_that_stops_is_not_heard_again() {
    let config = config(Preset::Modern, 96);
    let mut cpu = executor(&config, Compute::F32);
    let mut generator = Generator::new(&mut cpu, &config, Compute::F32, 2, 64).unwrap();
    let mut heard = [0; 2];
    let made = generator.generate(&mut cpu, &tokens(5, 1), 10, GREEDY, |row, _| {
        heard[row] += 1;
        if row == 0 && heard[0] == 3 { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!((heard, made.unwrap()), ([3, 10], 13));
}

#[test]
fn masked_tokens_are_never_made() {
    let config = config(Preset::Classic, 96);
    let mut cpu = executor(&config, Compute::F32);
    let mut generator = Generator::new(&mut cpu, &config, Compute::F32, 1, 64).unwrap();
    let free = generate(&mut generator, &mut cpu, &tokens(9, 3), 12, 1).remove(0);
    generator.mask(vec![free[0]]);
    let masked = generate(&mut generator, &mut cpu, &tokens(9, 3), 12, 1).remove(0);
    assert_eq!(masked.len(), 12);
    assert!(!masked.contains(&free[0]), "{masked:?}");
}

#[test]
fn prompts_that_do_not_fit_are_refused() {
    let config = config(Preset::Classic, 96);
    let mut cpu = executor(&config, Compute::F32);
    let mut generator = Generator::new(&mut cpu, &config, Compute::F32, 1, 8).unwrap();
    let mut refused = |prompt: &[u32]| {
        let result = generator.generate(&mut cpu, prompt, 1, GREEDY, |_, _| Flow::Continue);
        result.unwrap_err().to_string()
    };
    assert!(refused(&[]).contains("from 1 to 8"));
    assert!(refused(&[0; 9]).contains("has 9 tokens"));
    assert!(refused(&[VOCAB as u32]).contains("token 211"));
}

/// Rows of different lengths in one batch: a padded prefill, then decoding, each row at its own position.
#[test]
fn cached_logits_equal_uncached_logits_in_rows_of_different_lengths() {
    const LENGTHS: [usize; 4] = [1, 15, 17, 64];
    const PREFILL: usize = 64;
    const DECODED: usize = 50;
    let rows = LENGTHS.len();
    for config in configs() {
        let mut cpu = executor(&config, Compute::F32);
        let texts = [0, 1, 2, 3].map(|row| tokens(LENGTHS[row] + DECODED, 40 + row as u64));
        let expected = texts.each_ref().map(|text| uncached(&mut cpu, &config, text));
        let mut prepare = |tokens| {
            let built = decode_graph(&config, Compute::F32, rows, tokens, 128).unwrap();
            (cpu.prepare(&built.graph).unwrap(), built.caches)
        };
        let ((prefill, caches), (decode, _)) = (prepare(PREFILL), prepare(1));
        for (name, ty) in caches {
            // Whatever a cache held before must not matter.
            cpu.write(&name, ty, &vec![1e3; ty.len()]).unwrap();
        }
        let mut ids = Vec::new();
        for (text, length) in texts.iter().zip(LENGTHS) {
            ids.extend(as_ids(&text[..length]));
            ids.resize(ids.len() + PREFILL - length, 0);
        }
        let last: Vec<i32> = LENGTHS.iter().map(|&length| length as i32 - 1).collect();
        cpu.run(prefill, &[Feed::I32(&ids), Feed::I32(&[0; 4]), Feed::I32(&last)]).unwrap();
        let compare = |logits: &[f32], after: usize| {
            for (row, found) in logits.chunks_exact(VOCAB).enumerate() {
                let what = format!("{}, row {row}, {after} decoded", config.preset);
                assert_close(found, &expected[row][LENGTHS[row] - 1 + after], &what);
            }
        };
        compare(cpu.output(prefill, 0), 0);
        for step in 0..DECODED {
            let at = LENGTHS.map(|length| length + step);
            let ids: Vec<i32> = (0..rows).map(|row| texts[row][at[row]] as i32).collect();
            let start = at.map(|position| position as i32);
            cpu.run(decode, &[Feed::I32(&ids), Feed::I32(&start), Feed::I32(&[0; 4])]).unwrap();
            compare(cpu.output(decode, 0), step + 1);
        }
    }
}

/// Logits after a prompt that goes through in several pieces.
#[test]
fn pieces_of_a_prompt_add_up() {
    for config in configs() {
        let mut cpu = executor(&config, Compute::F32);
        let text = tokens(300, 9);
        let expected = uncached(&mut cpu, &config, &text);
        for pieces in [vec![256, 44], vec![1; 40], vec![16, 1, 16, 64, 200], vec![300]] {
            let mut at = 0;
            for (index, &size) in pieces.iter().enumerate() {
                let built = decode_graph(&config, Compute::F32, 1, size, 300).unwrap();
                let program = cpu.prepare(&built.graph).unwrap();
                for (name, ty) in built.caches.iter().filter(|_| index == 0) {
                    cpu.write(name, *ty, &vec![0.0; ty.len()]).unwrap();
                }
                let (ids, start) = (as_ids(&text[at..at + size]), [at as i32]);
                let last = [size as i32 - 1];
                cpu.run(program, &[Feed::I32(&ids), Feed::I32(&start), Feed::I32(&last)]).unwrap();
                at += size;
                let what = format!("{}, {at} tokens of {pieces:?}", config.preset);
                assert_close(cpu.output(program, 0), &expected[at - 1], &what);
            }
        }
    }
}
