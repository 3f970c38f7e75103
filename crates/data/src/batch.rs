//! What a training step reads.

/// `rows` sequences of `seq_len` tokens and, for each position, the token that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, shape [rows, seq_len].
    pub ids: Vec<i32>,
    /// The id after each of `ids`, shape [rows, seq_len]; -1 where nothing is to be predicted.
    pub targets: Vec<i32>,
    /// Number of sequences, B.
    pub rows: usize,
    /// Length of each, T.
    pub seq_len: usize,
}

impl Batch {
    /// A batch of zeros. The caller has checked that rows · seq_len does not overflow.
    pub(crate) fn new(rows: usize, seq_len: usize) -> Self {
        let zeros = vec![0; rows * seq_len];
        Self { ids: zeros.clone(), targets: zeros, rows, seq_len }
    }

    /// Splits T+1 tokens into row `at`: all but the last are inputs, all but the first are targets.
    pub(crate) fn set_row(&mut self, at: usize, tokens: &[u32]) {
        debug_assert_eq!(tokens.len(), self.seq_len + 1);
        let here = at * self.seq_len..(at + 1) * self.seq_len;
        copy(&mut self.ids[here.clone()], &tokens[..self.seq_len]);
        copy(&mut self.targets[here], &tokens[1..]);
    }
}

/// Ids are below the vocabulary size, which is checked to fit an i32.
fn copy(to: &mut [i32], from: &[u32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from as i32;
    }
}
