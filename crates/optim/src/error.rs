//! What can be wrong with how a run is to be optimized.

use kiln_graph::GraphError;

/// An error of settings, batch sizes or the horizon.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// A setting's value is impossible.
    #[error("{setting}: {reason}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No way to orthogonalise has that name.
    #[error("there is no muon method {name:?}; there are polar-express and newton-schulz")]
    UnknownMethod {
        /// The name.
        name: String,
    },
    /// The batch does not divide into micro-batches.
    #[error(
        "the total batch of {total} tokens is not a multiple of {micro} tokens \
         ({device_batch_size} rows x {seq_len} tokens{}); {} would be",
        over_ranks(*ranks),
        nearest(*total, *micro)
    )]
    Batch {
        /// Tokens per step that were asked for.
        total: usize,
        /// Tokens per micro-batch over all ranks.
        micro: usize,
        /// Rows per micro-batch.
        device_batch_size: usize,
        /// Tokens per row.
        seq_len: usize,
        /// Number of ranks.
        ranks: usize,
    },
    /// The graph of the updates cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The factor that ranks are; one alone is not worth a word.
fn over_ranks(ranks: usize) -> String {
    if ranks > 1 { format!(" x {ranks} ranks") } else { String::new() }
}

/// The multiple of `micro` next to `total`, at least one.
fn nearest(total: usize, micro: usize) -> usize {
    let below = total / micro;
    let up = usize::from(total % micro >= micro.div_ceil(2));
    (below + up).max(1).saturating_mul(micro)
}
