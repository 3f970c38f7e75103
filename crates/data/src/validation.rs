//! Validation batches: the same ones each time.

use crate::batch::Batch;
use crate::encode::Encode;
use crate::error::DataError;
use crate::feed;
use crate::loader::check_ids;
use crate::source::{Source, Split};

/// The validation documents in file order, packed one after the other into rows that start with BOS.
///
/// Every token of every document is the target of exactly one position, and so is the BOS between two documents,
/// until `max_tokens` targets have been given; all others are -1. So the set of predicted tokens depends neither
/// on the number of rows in a batch nor on chance. Every batch has all its rows.
pub struct ValidationBatches<'a> {
    source: &'a Source,
    encoder: &'a dyn Encode,
    rows: usize,
    seq_len: usize,
    /// Targets still to be given.
    left: u64,
    next_document: usize,
    /// Tokens of the document before `next_document` ...
    tokens: Vec<u32>,
    /// ... of which so many have been given.
    given: usize,
    row: Vec<u32>,
    failed: bool,
}

impl Source {
    /// Batches of `rows` x `seq_len` over the validation documents with at most `max_tokens` targets in all
    /// (`u64::MAX` for all of them). No batch at all when there are no validation documents.
    ///
    /// # Errors
    ///
    /// Here: a size of 0, or special ids outside the vocabulary. From the iterator, once and then no more: a file
    /// that changed or cannot be read, an id outside the vocabulary.
    pub fn validation_batches<'a>(
        &'a self,
        encoder: &'a dyn Encode,
        rows: usize,
        seq_len: usize,
        max_tokens: u64,
    ) -> Result<ValidationBatches<'a>, DataError> {
        for (option, value) in [("rows", rows), ("sequence length", seq_len)] {
            if value == 0 || value > 1 << 30 || rows.saturating_mul(seq_len) > 1 << 30 {
                let why = "expected at least 1, and at most 2^30 tokens in a batch";
                return Err(DataError::BadOption { option, value: value.to_string(), why });
            }
        }
        check_ids(encoder)?;
        Ok(ValidationBatches {
            source: self,
            encoder,
            rows,
            seq_len,
            left: max_tokens,
            next_document: 0,
            tokens: Vec::new(),
            given: 0,
            row: Vec::with_capacity(seq_len + 1),
            failed: false,
        })
    }
}

impl Iterator for ValidationBatches<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}

impl ValidationBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Batch>, DataError> {
        let mut batch = Batch::new(self.rows, self.seq_len);
        let mut targets = 0;
        for at in 0..self.rows {
            let real = if self.left > 0 { self.fill_row()? } else { 0 };
            let real = self.left.min(real as u64);
            self.row.resize(self.seq_len + 1, self.encoder.bos_id());
            batch.set_row(at, &self.row);
            batch.targets[at * self.seq_len..][real as usize..self.seq_len].fill(-1);
            self.left -= real;
            targets += real;
            self.row.clear();
        }
        Ok((targets > 0).then_some(batch))
    }

    /// Packs one row, as long as there are tokens, and counts its targets.
    fn fill_row(&mut self) -> Result<usize, DataError> {
        self.row.clear();
        self.row.push(self.encoder.bos_id());
        while self.row.len() <= self.seq_len {
            if self.given == self.tokens.len() {
                if !self.next_document()? {
                    break;
                }
                if self.row.len() > 1 {
                    self.row.push(self.encoder.bos_id());
                }
            }
            let free = self.seq_len + 1 - self.row.len();
            let end = self.tokens.len().min(self.given + free);
            self.row.extend_from_slice(&self.tokens[self.given..end]);
            self.given = end;
        }
        Ok(self.row.len() - 1)
    }

    /// Encodes the next document that has any token.
    fn next_document(&mut self) -> Result<bool, DataError> {
        while self.next_document < self.source.len(Split::Validation) {
            let index = self.next_document;
            self.next_document += 1;
            self.tokens = feed::encode(self.source, self.encoder, Split::Validation, index)?;
            self.given = 0;
            if !self.tokens.is_empty() {
                return Ok(true);
            }
        }
        self.tokens.clear();
        self.given = 0;
        Ok(false)
    }
}
