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
/// let mut total = BitsPerByte::default();
/// total.add(&[0.7, 2.1, 9.9], &[1, 2, -1], &token_bytes)?;
/// assert!((total.value()? - 2.8 / (4.0 * std::f64::consts::LN_2)).abs() < 1e-7);
/// # Ok::<(), kiln_train::bits_per_byte::BitsPerByteError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BitsPerByte {
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

impl BitsPerByte {
    /// Adds a batch: `losses` in nats, one for each of `targets`; `token_bytes[i]` is the number of
    /// bytes that token `i` stands for. Sums in f64 and in the order given, so that the result does
    /// not depend on how the text was cut into batches.
    ///
    /// # Errors
    ///
    /// [`BitsPerByteError::Lengths`] or [`BitsPerByteError::Target`]; then nothing was added.
    pub fn add(
        &mut self,
        losses: &[f32],
        targets: &[i32],
        token_bytes: &[u32],
    ) -> Result<(), BitsPerByteError> {
        if losses.len() != targets.len() {
            let (losses, targets) = (losses.len(), targets.len());
            return Err(BitsPerByteError::Lengths { losses, targets });
        }
        let mut sum = *self;
        for (index, (&target, &loss)) in targets.iter().zip(losses).enumerate() {
            if target == -1 {
                continue;
            }
            let vocab_size = token_bytes.len();
            let bytes = usize::try_from(target).ok().and_then(|token| token_bytes.get(token));
            let bytes = bytes.ok_or(BitsPerByteError::Target { target, index, vocab_size })?;
            if *bytes > 0 {
                sum.nats += f64::from(loss);
                sum.bytes += u64::from(*bytes);
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
    pub fn value(&self) -> Result<f64, BitsPerByteError> {
        if self.bytes == 0 {
            return Err(BitsPerByteError::NoText);
        }
        Ok(self.nats / (LN_2 * self.bytes as f64))
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
            losses: &[0.13658013939857483, 4.01821231842041, 5.998651027679443, 5.966999530792236, 7.053264141082764, 8.52707290649414, 7.505323886871338, 8.1073579788208, 3.511996030807495, 3.362504720687866],
            targets: &[1, 0, 11, 2, 7, 6, 2, 11, 1, 2],
            token_bytes: &[0, 5, 8, 6, 4, 8, 3, 2, 1, 3, 2, 3],
            expected: 1.6084366677957844,
        },
        Case {
            losses: &[5.368378639221191, 4.323015213012695, 6.367903709411621, 7.908768177032471, 1.300045132637024, 7.709238052368164, 4.9895758628845215, 5.241815567016602, 5.461596965789795, 3.129645347595215, 0.7487095594406128, 8.346094131469727, 8.327040672302246, 6.646107196807861, 6.492208480834961, 8.165431022644043, 1.7482719421386719],
            targets: &[-1, 0, 12, 7, 1, 9, 1, 9, 7, 7, 5, 11, 2, 10, 10, 8, 0],
            token_bytes: &[0, 1, 6, 0, 1, 8, 7, 2, 7, 7, 7, 8, 3],
            expected: 1.7149863300684687,
        },
    ];

    #[test]
    fn equals_the_reference() {
        for case in CASES {
            let mut total = BitsPerByte::default();
            total.add(case.losses, case.targets, case.token_bytes).unwrap();
            let value = total.value().unwrap();
            assert!((value / case.expected - 1.0).abs() < 1e-6, "{value} for {}", case.expected);
        }
    }

    #[test]
    fn batches_add_up_to_the_same_bits() {
        let case = &CASES[1];
        let mut whole = BitsPerByte::default();
        whole.add(case.losses, case.targets, case.token_bytes).unwrap();
        let mut parts = BitsPerByte::default();
        for (losses, targets) in case.losses.chunks(4).zip(case.targets.chunks(4)) {
            parts.add(losses, targets, case.token_bytes).unwrap();
        }
        assert_eq!(whole, parts);
        let has_bytes = |target: &i32| *target >= 0 && case.token_bytes[*target as usize] > 0;
        let counted = case.targets.iter().filter(|target| has_bytes(target)).count();
        assert_eq!(whole.tokens(), counted as u64);
    }

    #[test]
    fn no_text_is_an_error() {
        let mut total = BitsPerByte::default();
        assert_eq!(total.value(), Err(BitsPerByteError::NoText));
        total.add(&[1.0, 2.0], &[-1, 0], &[0, 4]).unwrap();
        assert_eq!(total.value(), Err(BitsPerByteError::NoText));
    }

    #[test]
    fn bad_input_is_named_and_adds_nothing() {
        let mut total = BitsPerByte::default();
        let lengths = BitsPerByteError::Lengths { losses: 2, targets: 1 };
        assert_eq!(total.add(&[1.0, 2.0], &[1], &[0, 4]), Err(lengths));
        for target in [2, -2, i32::MIN, i32::MAX] {
            let error = BitsPerByteError::Target { target, index: 1, vocab_size: 2 };
            assert_eq!(total.add(&[1.0, 2.0], &[1, target], &[0, 4]), Err(error));
        }
        assert_eq!(total, BitsPerByte::default());
    }
}
