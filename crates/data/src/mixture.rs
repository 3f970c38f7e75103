//! Several data sets that give batches together, each its share of the tokens.

use std::sync::Arc;

use crate::batch::Batch;
use crate::encode::Encode;
use crate::error::DataError;
use crate::record::Schema;
use crate::source::{Source, Split};

/// Data sets and the share of the tokens that each gives. The set that is furthest behind its share gives the next
/// document, so shares hold over any stretch of the training to within a document.
#[derive(Clone)]
pub struct Mixture {
    parts: Vec<Part>,
}

/// One data set of a mixture.
#[derive(Clone)]
pub struct Part {
    /// The documents.
    pub source: Arc<Source>,
    /// Share of the tokens; all shares together are 1.
    pub weight: f64,
}

impl From<Arc<Source>> for Mixture {
    fn from(source: Arc<Source>) -> Self {
        Self { parts: vec![Part { source, weight: 1.0 }] }
    }
}

impl Mixture {
    /// Mixes data sets by weight, which need not sum to 1. Where none has a weight, they count by the bytes of their
    /// training texts: a document of each is seen equally often.
    ///
    /// # Errors
    ///
    /// No set; a weight that is no positive number; weights of some sets only; none at all where one set is a stream,
    /// whose size is not known.
    pub fn new(sets: Vec<(Arc<Source>, Option<f64>)>) -> Result<Self, DataError> {
        let bad =
            |value: String, why| Err(DataError::BadOption { option: "data weights", value, why });
        if let [(source, _)] = &sets[..] {
            return Ok(Self::from(Arc::clone(source)));
        }
        let given: Vec<f64> = sets.iter().filter_map(|(_, weight)| *weight).collect();
        if let Some(weight) = given.iter().find(|weight| !(**weight > 0.0 && weight.is_finite())) {
            return bad(weight.to_string(), "expected positive numbers");
        }
        if sets.is_empty() || !(given.is_empty() || given.len() == sets.len()) {
            return bad(format!("{given:?}"), "expected one for each data set, or none");
        }
        if given.is_empty() && sets.iter().any(|(source, _)| source.is_stream()) {
            return bad(
                "none".to_owned(),
                "a stream's size is not known, so each data set needs one",
            );
        }
        let weight = |(source, weight): &(Arc<Source>, Option<f64>)| {
            weight.unwrap_or(source.report().train_text_bytes as f64)
        };
        let total: f64 = sets.iter().map(weight).sum();
        let part = |set: &(Arc<Source>, Option<f64>)| Part {
            source: Arc::clone(&set.0),
            weight: weight(set) / total,
        };
        Ok(Self { parts: sets.iter().map(part).collect() })
    }

    /// Gives `share` of the tokens, within (0, 1), to one more set and what is left to those that are there.
    ///
    /// # Errors
    ///
    /// Another share.
    pub fn with(mut self, source: Arc<Source>, share: f64) -> Result<Self, DataError> {
        if !(share > 0.0 && share < 1.0) {
            let (option, value) = ("pairs share", share.to_string());
            return Err(DataError::BadOption {
                option,
                value,
                why: "expected more than 0 and less than 1",
            });
        }
        self.parts.iter_mut().for_each(|part| part.weight *= 1.0 - share);
        self.parts.push(Part { source, weight: share });
        Ok(self)
    }

    /// The data sets.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Number of documents on one side, as far as known.
    pub fn len(&self, split: Split) -> usize {
        self.parts.iter().map(|part| part.source.len(split)).sum()
    }

    /// Whether one side has no documents.
    pub fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// Whether more files may come while training.
    pub fn is_stream(&self) -> bool {
        self.parts.iter().any(|part| part.source.is_stream())
    }

    /// Whether some of the documents are pairs.
    pub(crate) fn has_pairs(&self) -> bool {
        self.parts.iter().any(|part| *part.source.schema() == Schema::Pairs)
    }

    /// Batches of `rows` x `seq_len` over the validation documents of one set after the other, with at most
    /// `max_tokens` targets in all (`u64::MAX` for all of them), each set its share of these.
    ///
    /// # Errors
    ///
    /// Those of [`Source::validation_batches`].
    pub fn validation_batches<'a>(
        &'a self,
        encoder: &'a dyn Encode,
        rows: usize,
        seq_len: usize,
        max_tokens: u64,
    ) -> Result<impl Iterator<Item = Result<Batch, DataError>> + 'a, DataError> {
        let held = || self.parts.iter().filter(|part| !part.source.is_empty(Split::Validation));
        let total: f64 = held().map(|part| part.weight).sum();
        let (mut weight, mut given) = (0.0, 0);
        let batches = held().map(|part| {
            weight += part.weight;
            // The last set gets what is left, whatever was rounded.
            let upto = if weight >= total {
                max_tokens
            } else {
                (max_tokens as f64 * (weight / total)) as u64
            };
            let tokens = if max_tokens == u64::MAX { max_tokens } else { upto - given };
            given = upto;
            part.source.validation_batches(encoder, rows, seq_len, tokens)
        });
        Ok(batches.collect::<Result<Vec<_>, _>>()?.into_iter().flatten())
    }
}

/// The seed of a data set: sets with the same documents are not to be read in step.
pub(crate) fn set_seed(seed: u64, set: usize) -> u64 {
    if set == 0 {
        return seed;
    }
    let mut hasher = blake3::Hasher::new_derive_key("kiln data set seed 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(set as u64).to_le_bytes());
    crate::record::short_hash(&hasher.finalize())
}
