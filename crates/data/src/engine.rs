//! Documents to rows, without threads: what the loader's thread runs.

use std::sync::Arc;

use crate::batch::Batch;
use crate::encode::Encode;
use crate::error::DataError;
use crate::feed::{Feed, Place, encode_all};
use crate::loader::LoaderOptions;
use crate::packer::Packer;
use crate::source::{Source, Split};
use crate::state::Progress;

/// The buffer holds documents for at least so many rows: with short documents, the more there are to choose from,
/// the fewer are cut.
const BUFFER_ROWS: u64 = 64;
/// The buffer starts with so many documents and gets room for one more every few rows. Were it full at once, the
/// first batches would hold little but the beginnings of documents: licence texts and includes.
const FIRST_DOCUMENTS: u64 = 16;
const ROWS_PER_GROWTH: u64 = 8;
/// References are turned into tokens in chunks, so that few texts are in memory at a time.
const RESTORE_CHUNK: usize = 64;

pub(crate) struct Engine {
    feed: Feed,
    packer: Packer,
    row_len: usize,
    /// The row that is being filled.
    row: Vec<u32>,
    has_eos: bool,
    content_tokens: u64,
    /// The buffer, once it has grown, is filled up to so many documents whatever their length ...
    min_documents: usize,
    /// ... and never beyond so many.
    max_documents: usize,
}

impl Engine {
    /// Stands where `progress` says; the default is the beginning.
    ///
    /// # Errors
    ///
    /// [`DataError::BadState`] when it contradicts the data; whatever reading the buffered documents gives.
    pub(crate) fn new(
        source: &Arc<Source>,
        encoder: &Arc<dyn Encode>,
        options: &LoaderOptions,
        progress: &Progress,
    ) -> Result<Self, DataError> {
        let deal = (options.seed, options.rank, options.world);
        let place = Place { epoch: progress.epoch, position: progress.position };
        let feed = Feed::new(Arc::clone(source), Arc::clone(encoder), deal, place);
        let row_len = options.seq_len + 1;
        let mut packer = Packer::new(row_len, encoder.bos_id())
            .with_counters(progress.rows, progress.next_sequence);
        restore(&mut packer, source, encoder.as_ref(), progress)?;
        // A buffer that held a whole epoch would mix it with the next one.
        let epoch_len = feed.epoch_len();
        Ok(Self {
            packer,
            row_len,
            row: Vec::with_capacity(row_len),
            has_eos: encoder.eos_id().is_some(),
            content_tokens: progress.content_tokens,
            min_documents: options.buffer_documents.min(epoch_len / 4).max(1),
            max_documents: (epoch_len / 2).max(1),
            feed,
        })
    }

    /// Fills all rows of a batch.
    pub(crate) fn fill(&mut self, batch: &mut Batch) -> Result<(), DataError> {
        for at in 0..batch.rows {
            self.next_row()?;
            batch.set_row(at, &self.row);
        }
        Ok(())
    }

    /// Writes down where the engine stands between two batches.
    pub(crate) fn progress(&self, to: &mut Progress) {
        let place = self.feed.place();
        (to.epoch, to.position) = (place.epoch, place.position);
        (to.rows, to.next_sequence) = (self.packer.rows(), self.packer.next_sequence());
        to.content_tokens = self.content_tokens;
        to.buffer.clear();
        to.buffer.extend(self.packer.buffered());
    }

    fn next_row(&mut self) -> Result<(), DataError> {
        self.refill()?;
        self.row.clear();
        while self.row.len() < self.row_len {
            if self.packer.len() == 0 {
                self.add_document(1)?;
            }
            self.place();
        }
        self.packer.end_row();
        Ok(())
    }

    fn place(&mut self) {
        if let Some(placed) = self.packer.place(&mut self.row) {
            let eos = self.has_eos && placed.ends;
            self.content_tokens += placed.range.len() as u64 - u64::from(eos);
        }
    }

    fn refill(&mut self) -> Result<(), DataError> {
        let wanted_tokens = BUFFER_ROWS * self.row_len as u64;
        let grown = FIRST_DOCUMENTS + self.packer.rows() / ROWS_PER_GROWTH;
        let min_documents = self.min_documents.min(usize::try_from(grown).unwrap_or(usize::MAX));
        loop {
            let len = self.packer.len();
            let too_few = len < min_documents;
            let too_short =
                len < self.max_documents && self.packer.buffered_tokens() < wanted_tokens;
            if !too_few && !too_short {
                return Ok(());
            }
            self.add_document(min_documents.saturating_sub(len))?;
        }
    }

    fn add_document(&mut self, wanted: usize) -> Result<(), DataError> {
        let (drawn, tokens) = self.feed.next(wanted)?;
        self.packer.add(drawn, tokens);
        Ok(())
    }
}

/// Fills the buffer from references. A state is read from a file, so nothing in it is trusted.
fn restore(
    packer: &mut Packer,
    source: &Source,
    encoder: &dyn Encode,
    progress: &Progress,
) -> Result<(), DataError> {
    let bad = |why: String| DataError::BadState { why };
    let count = source.len(Split::Train);
    let mut sequences = progress.buffer.iter().map(|piece| piece.sequence);
    if !sequences.clone().is_sorted_by(|a, b| a < b) {
        return Err(bad("the buffered pieces are out of order".to_owned()));
    }
    if sequences.next_back().is_some_and(|last| last >= progress.next_sequence) {
        return Err(bad(format!("a buffered piece is beyond number {}", progress.next_sequence)));
    }
    if let Some(piece) = progress.buffer.iter().find(|piece| piece.document as usize >= count) {
        return Err(bad(format!("document {} of {count} is buffered", piece.document)));
    }
    for chunk in progress.buffer.chunks(RESTORE_CHUNK) {
        let documents: Vec<u32> = chunk.iter().map(|piece| piece.document).collect();
        for (piece, tokens) in chunk.iter().zip(encode_all(source, encoder, &documents)?) {
            if piece.offset as usize >= tokens.len() {
                let (document, offset, len) = (piece.document, piece.offset, tokens.len());
                return Err(bad(format!("token {offset} of document {document}, which has {len}")));
            }
            packer.restore(piece, tokens);
        }
    }
    Ok(())
}
