//! Bits per byte: the loss on text, comparable between tokenizers.
//!
//! ```text
//! bits per byte = Σ nats / (ln 2 · Σ bytes)
//! ```
//!
//! both over the tokens that stand for text: the target is not -1 (nothing to predict) and the
//! token has bytes (special tokens have none). A tokenizer with longer tokens has fewer and higher
//! losses; per byte of text that cancels out.

use std::f64::consts::LN_2;

/// Sums up losses of batch after batch.
///
/// ```
/// use kiln_train::bits_per_byte::BitsPerByte;
///
/// let token_bytes = [0, 1, 3]; // of each token of the vocabulary
/// let mut total = BitsPerByte::new(&token_bytes);
/// total.add(&[0.7, 2.1, 9.9], &[1, 2, -1])?;
/// assert!((total.finish()? - 2.8 / (4.0 * std::f64::consts::LN_2)).abs() < 1e-7);
/// # Ok::<(), kiln_train::bits_per_byte::BitsPerByteError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BitsPerByte<'a> {
    token_bytes: &'a [u32],
    nats: f64,
    bytes: u64,
    tokens: u64,
}

/// Why there are no bits per byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitsPerByteError {
    /// Not one loss for each target.
    #[error("{losses} losses for {targets} targets")]
    Lengths {
        /// Number of losses.
        losses: usize,
        /// Number of targets.
        targets: usize,
    },
    /// A target that is neither -1 nor a token.
    #[error("target {target} at {index} is no token of a vocabulary of {vocab_size}")]
    Target {
        /// The target.
        target: i32,
        /// Where it stands in the slice.
        index: usize,
        /// Number of tokens.
        vocab_size: usize,
    },
    /// No target stands for text.
    #[error("bits per byte of no text: no target is a token that has bytes")]
    NoText,
}

impl<'a> BitsPerByte<'a> {
    /// Nothing yet. Token `i` of the vocabulary stands for `token_bytes[i]` bytes.
    pub fn new(token_bytes: &'a [u32]) -> Self {
        Self { token_bytes, nats: 0.0, bytes: 0, tokens: 0 }
    }

    /// Adds a batch: `losses` in nats, one for each of `targets`. Sums in f64 and in the order
    /// given, so that the result does not depend on how the text was cut into batches.
    ///
    /// # Errors
    ///
    /// [`BitsPerByteError::Lengths`] or [`BitsPerByteError::Target`]; then nothing was added.
    pub fn add(&mut self, losses: &[f32], targets: &[i32]) -> Result<(), BitsPerByteError> {
        if losses.len() != targets.len() {
            let (losses, targets) = (losses.len(), targets.len());
            return Err(BitsPerByteError::Lengths { losses, targets });
        }
        let vocab_size = self.token_bytes.len();
        let mut sum = *self;
        for (index, (&target, &loss)) in targets.iter().zip(losses).enumerate() {
            if target == -1 {
                continue;
            }
            let token = usize::try_from(target).ok().filter(|token| *token < vocab_size);
            let token = token.ok_or(BitsPerByteError::Target { target, index, vocab_size })?;
            let bytes = self.token_bytes[token];
            if bytes > 0 {
                sum.nats += f64::from(loss);
                sum.bytes += u64::from(bytes);
                sum.tokens += 1;
            }
        }
        *self = sum;
        Ok(())
    }

    /// Bits per byte of all that was added.
    ///
    /// # Errors
    ///
    /// [`BitsPerByteError::NoText`] if that was no text.
    pub fn finish(&self) -> Result<f64, BitsPerByteError> {
        if self.bytes == 0 {
            return Err(BitsPerByteError::NoText);
        }
        Ok(self.nats / (LN_2 * self.bytes as f64))
    }

    /// Mean loss of the tokens that counted, in nats; NaN if there were none.
    pub fn mean_loss(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Sum of the losses that counted, in nats.
    pub fn nats(&self) -> f64 {
        self.nats
    }

    /// Bytes of text that counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Tokens that counted.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        losses: &'static [f32],
        targets: &'static [i32],
        token_bytes: &'static [u32],
        expected: f64,
    }

    const CASES: &[Case] = &[
        Case {
            losses: &[
                0.13658014, 4.0182123, 5.998651, 5.9669995, 7.053264, 8.527073, 7.505324, 8.107358,
                3.511996, 3.3625047,
            ],
            targets: &[1, 0, 11, 2, 7, 6, 2, 11, 1, 2],
            token_bytes: &[0, 5, 8, 6, 4, 8, 3, 2, 1, 3, 2, 3],
            expected: 1.6084366677957844,
        },
        Case {
            losses: &[
                5.3683786, 4.323015, 6.3679037, 7.908768, 1.3000451, 7.709238, 4.989576, 5.2418156,
                5.461597, 3.1296453, 0.74870956, 8.346094, 8.327041, 6.646107, 6.4922085, 8.165431,
                1.748272,
            ],
            targets: &[-1, 0, 12, 7, 1, 9, 1, 9, 7, 7, 5, 11, 2, 10, 10, 8, 0],
            token_bytes: &[0, 1, 6, 0, 1, 8, 7, 2, 7, 7, 7, 8, 3],
            expected: 1.7149863300684687,
        },
    ];

    #[test]
    fn equals_the_reference() {
        for case in CASES {
            let mut total = BitsPerByte::new(case.token_bytes);
            total.add(case.losses, case.targets).unwrap();
            let value = total.finish().unwrap();
            assert!((value / case.expected - 1.0).abs() < 1e-6, "{value} for {}", case.expected);
        }
    }

    #[test]
    fn batches_add_up_to_the_same_bits() {
        let case = &CASES[1];
        let mut whole = BitsPerByte::new(case.token_bytes);
        whole.add(case.losses, case.targets).unwrap();
        let mut parts = BitsPerByte::new(case.token_bytes);
        for (losses, targets) in case.losses.chunks(4).zip(case.targets.chunks(4)) {
            parts.add(losses, targets).unwrap();
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn only_text_counts() {
        let mut total = BitsPerByte::new(&[0, 4, 1]);
        total.add(&[1.0, 8.0, 2.0, 5.0], &[1, 0, 2, -1]).unwrap();
        assert_eq!((total.nats(), total.bytes(), total.tokens()), (3.0, 5, 2));
        assert_eq!(total.mean_loss(), 1.5);
        assert_eq!(total.finish().unwrap(), 3.0 / (LN_2 * 5.0));
    }

    #[test]
    fn no_text_is_an_error() {
        let mut total = BitsPerByte::new(&[0, 4]);
        assert_eq!(total.finish(), Err(BitsPerByteError::NoText));
        total.add(&[1.0, 2.0], &[-1, 0]).unwrap();
        assert_eq!(total.finish(), Err(BitsPerByteError::NoText));
        assert!(total.mean_loss().is_nan());
    }

    #[test]
    fn bad_input_is_named_and_adds_nothing() {
        let mut total = BitsPerByte::new(&[0, 4]);
        let lengths = BitsPerByteError::Lengths { losses: 2, targets: 1 };
        assert_eq!(total.add(&[1.0, 2.0], &[1]), Err(lengths));
        for target in [2, -2, i32::MIN, i32::MAX] {
            let error = BitsPerByteError::Target { target, index: 1, vocab_size: 2 };
            assert_eq!(total.add(&[1.0, 2.0], &[1, target]), Err(error));
        }
        assert_eq!(total, BitsPerByte::new(&[0, 4]));
    }
}
