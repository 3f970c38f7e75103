//! Which optimizer each parameter gets, and at what rate.

use kiln_graph::TensorType;

use crate::Settings;

/// Batch that rates are given for, in tokens.
const REFERENCE_BATCH: f64 = (1 << 19) as f64;
/// Width that the rates of tables are given for.
const REFERENCE_WIDTH: f64 = 768.0;

/// An optimizer with its learning rate before the schedule's factor.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// AdamW: tables, the output layer, scalars.
    AdamW {
        /// Learning rate.
        lr: f64,
    },
    /// Muon: matrices.
    Muon {
        /// Learning rate.
        lr: f64,
    },
}

/// A parameter with its optimizer.
#[derive(Clone, PartialEq, Debug)]
pub struct ParamGroup {
    /// Name of the parameter.
    pub name: String,
    /// Its type.
    pub ty: TensorType,
    /// Its optimizer.
    pub kind: Kind,
}

/// The optimizer of each parameter, in the given order, for a model of width `n_embd` and steps of `tokens_per_batch`.
///
/// Matrices inside blocks (`transformer.h.`, `mtp.`) go to Muon, all else to AdamW. The rates of tables and of the output
/// layer fall with the root of the width; all rates grow with the root of the batch.
pub fn groups(
    parameters: &[(String, TensorType)],
    n_embd: usize,
    tokens_per_batch: usize,
    settings: &Settings,
) -> Vec<ParamGroup> {
    let width = (n_embd as f64 / REFERENCE_WIDTH).powf(-0.5);
    let batch = (tokens_per_batch as f64 / REFERENCE_BATCH).sqrt();
    let group = |(name, ty): &(String, TensorType)| {
        let in_block = name.starts_with("transformer.h.") || name.starts_with("mtp.");
        let kind = if in_block && ty.shape().rank() == 2 {
            Kind::Muon { lr: settings.matrix_lr * batch }
        } else {
            Kind::AdamW { lr: adamw_lr(name, width, settings) * batch }
        };
        ParamGroup { name: name.clone(), ty: *ty, kind }
    };
    parameters.iter().map(group).collect()
}

fn adamw_lr(name: &str, width: f64, settings: &Settings) -> f64 {
    match name {
        "lm_head.weight" => settings.unembedding_lr * width,
        "transformer.wte.weight" => settings.embedding_lr * width,
        "resid_lambdas" => settings.resid_lambda_lr,
        "x0_lambdas" => settings.x0_lambda_lr,
        _ if name.starts_with("value_embeds.") => settings.value_embedding_lr * width,
        _ => settings.scalar_lr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that the reference gives for width 32 and 128 tokens a step.
    #[test]
    fn rates_equal_the_reference() {
        let (matrix, vector) = (TensorType::f32(&[32, 32]), TensorType::f32(&[3]));
        let muon = Kind::Muon { lr: 0.0003125 };
        let adamw = |lr| Kind::AdamW { lr };
        let expected = [
            ("transformer.wte.weight", matrix, adamw(0.022963966338592295)),
            ("lm_head.weight", matrix, adamw(0.0003061862178478973)),
            ("resid_lambdas", vector, adamw(7.8125e-05)),
            ("x0_lambdas", vector, adamw(0.0078125)),
            ("smear_gate.weight", TensorType::f32(&[1, 24]), adamw(0.003125)),
            ("smear_lambda", TensorType::f32(&[1]), adamw(0.003125)),
            ("backout_lambda", TensorType::f32(&[1]), adamw(0.003125)),
            ("transformer.h.0.attn.c_q.weight", matrix, muon),
            ("transformer.h.0.mlp.c_proj.weight", matrix, muon),
            ("value_embeds.0.weight", matrix, adamw(0.011481983169296148)),
            ("transformer.h.0.attn.ve_gate.weight", TensorType::f32(&[2, 12]), muon),
            ("mtp.proj.weight", matrix, muon),
        ];
        let parameters: Vec<_> = expected.iter().map(|&(n, ty, _)| (n.to_owned(), ty)).collect();
        for (group, (name, ty, kind)) in
            groups(&parameters, 32, 128, &Settings::default()).into_iter().zip(expected)
        {
            assert_eq!((group.name.as_str(), group.ty), (name, ty));
            let close = match (group.kind, kind) {
                (Kind::AdamW { lr: a }, Kind::AdamW { lr: b })
                | (Kind::Muon { lr: a }, Kind::Muon { lr: b }) => (a / b - 1.0).abs() < 1e-14,
                _ => false,
            };
            assert!(close, "{name}: {:?}, not {kind:?}", group.kind);
        }
    }
}
