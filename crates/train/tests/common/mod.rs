//! Models whose parameters are random numbers.

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::Executor;
use kiln_model::{Compute, ModelConfig};
use kiln_train::programs::make_compute_copies;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Between -1 and 1.
pub fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// An executor with parameters under which every part of the model counts, unlike initial values, where output layers
/// are zero and logits next to nothing.
pub fn executor(config: &ModelConfig, compute: Compute) -> Cpu {
    let mut cpu = Cpu::new(Context::new(Isa::detect(), 2));
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for parameter in config.parameters() {
        let ty = parameter.tensor_type();
        let scale = if parameter.shape.len() == 2 && !parameter.name.contains("embed") {
            2.0 / (parameter.shape[1] as f32).sqrt()
        } else {
            0.7
        };
        let values: Vec<f32> = (0..ty.len()).map(|_| scale * uniform(&mut rng)).collect();
        cpu.write(&parameter.name, ty, &values).unwrap();
    }
    make_compute_copies(&mut cpu, config, compute).unwrap();
    cpu
}
