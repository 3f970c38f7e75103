//! The training loop, checkpoints, evaluation, generation and metrics.
