//! Documents to rows, without threads: what the loader's thread runs.

use std::sync::Arc;

use crate::batch::Batch;
use crate::encode::Encode;
use crate::error::DataError;
use crate::feed::{Deal, Drawn, Feed};
use crate::fim::{Cuts, FimCounts, Infill};
use crate::loader::LoaderOptions;
use crate::mixture::{Mixture, set_seed};
use crate::packer::Packer;
use crate::source::Patience;
use crate::state::{BufferedPiece, Progress};

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
    /// A feed for each data set, with its share of the tokens.
    feeds: Vec<(Feed, f64)>,
    packer: Packer,
    patience: Box<dyn Patience + Send>,
    row_len: usize,
    /// The row that is being filled.
    row: Vec<u32>,
    has_eos: bool,
    content_tokens: u64,
    fim: FimCounts,
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
        data: &Mixture,
        encoder: &Arc<dyn Encode>,
        options: &LoaderOptions,
        progress: &Progress,
        patience: Box<dyn Patience + Send>,
    ) -> Result<Self, DataError> {
        let mut feeds = Vec::with_capacity(data.parts().len());
        for (set, part) in data.parts().iter().enumerate() {
            let (rank, world) = (options.rank, options.world);
            let deal = Deal { set: set as u32, seed: set_seed(options.seed, set), rank, world };
            let infill = Infill::new(options.fim, encoder.fim_sentinels(), options.seq_len);
            let state = progress.sets.get(set).cloned().unwrap_or_default();
            let feed =
                Feed::new(Arc::clone(&part.source), Arc::clone(encoder), infill, deal, &state)?;
            feeds.push((feed, part.weight));
        }
        let row_len = options.seq_len + 1;
        let mut packer = Packer::new(row_len, encoder.bos_id()).with_counters(
            progress.rows,
            progress.next_sequence,
            &progress.drawn,
        );
        restore(&mut packer, &feeds, options.seq_len, progress)?;
        let epoch_len: Option<usize> = feeds.iter().map(|(feed, _)| feed.epoch_len()).sum();
        Ok(Self {
            packer,
            patience,
            row_len,
            row: Vec::with_capacity(row_len),
            has_eos: encoder.eos_id().is_some(),
            content_tokens: progress.content_tokens,
            fim: progress.fim,
            // A buffer that held a whole epoch would mix it with the next one. A stream's has no known length.
            min_documents: epoch_len
                .map_or(usize::MAX, |len| len / 4)
                .clamp(1, options.buffer_documents),
            max_documents: epoch_len.map_or(usize::MAX, |len| (len / 2).max(1)),
            feeds,
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
        to.sets.clear();
        to.sets.extend(self.feeds.iter().map(|(feed, _)| feed.state()));
        (to.rows, to.next_sequence) = (self.packer.rows(), self.packer.next_sequence());
        to.drawn.clear();
        to.drawn.extend(self.packer.drawn());
        (to.content_tokens, to.fim) = (self.content_tokens, self.fim);
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
            self.place()?;
        }
        self.packer.end_row();
        Ok(())
    }

    fn place(&mut self) -> Result<(), DataError> {
        if let Some((sequence, drawn)) = self.packer.to_loosen(&self.row) {
            let mut plain = self.feeds[drawn.set as usize].0.again(&[(drawn, true)])?;
            if let Some(plain) = plain.pop() {
                self.packer.loosen(sequence, plain.tokens);
                self.fim.undone += 1;
            }
        }
        if let Some(placed) = self.packer.place(&mut self.row) {
            let eos = self.has_eos && placed.ends;
            self.content_tokens += placed.range.len() as u64 - u64::from(eos);
            if let Some(by_piece) = placed.by_piece {
                let content = self.row.split_off(self.row.len() - placed.range.len());
                let content = &content[..content.len() - usize::from(placed.ends)];
                let start = placed.range.start;
                let dice = self.feeds[placed.drawn.set as usize].0.dice(placed.drawn, start);
                self.row.extend(by_piece.rearrange(content, start, dice));
            }
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), DataError> {
        let wanted_tokens = BUFFER_ROWS * self.row_len as u64;
        let grown = FIRST_DOCUMENTS + self.packer.rows() / ROWS_PER_GROWTH;
        let grown = usize::try_from(grown).unwrap_or(usize::MAX);
        let min_documents = self.min_documents.min(grown);
        loop {
            let (len, tokens) = (self.packer.len(), self.packer.buffered_tokens());
            let too_few = len < min_documents;
            let too_short = len < self.max_documents && tokens < wanted_tokens;
            if !too_few && !too_short {
                return Ok(());
            }
            self.add_document(min_documents.saturating_sub(len))?;
        }
    }

    /// Takes a document of the data set that is furthest behind its share.
    fn add_document(&mut self, wanted: usize) -> Result<(), DataError> {
        let behind = |(feed, weight): &(Feed, f64)| feed.tokens() as f64 / weight;
        let next = (0..self.feeds.len())
            .min_by(|a, b| behind(&self.feeds[*a]).total_cmp(&behind(&self.feeds[*b])));
        let Some((feed, weight)) = next.map(|at| &mut self.feeds[at]) else {
            return Err(DataError::NoTokens);
        };
        let wanted = (wanted as f64 * *weight).ceil() as usize;
        let (drawn, prepared) = feed.next(wanted, self.patience.as_mut())?;
        self.fim += feed.take_counts();
        self.packer.add(drawn, prepared.tokens, prepared.cuts);
        Ok(())
    }
}

/// Fills the buffer from references. A state is read from a file, so nothing in it is trusted.
fn restore(
    packer: &mut Packer,
    feeds: &[(Feed, f64)],
    room: usize,
    progress: &Progress,
) -> Result<(), DataError> {
    check_buffer(feeds, progress)?;
    let mut restored = Vec::with_capacity(progress.buffer.len());
    for (set, (feed, _)) in feeds.iter().enumerate() {
        let pieces: Vec<&BufferedPiece> =
            progress.buffer.iter().filter(|piece| piece.set as usize == set).collect();
        for chunk in pieces.chunks(RESTORE_CHUNK) {
            let drawn: Vec<(Drawn, bool)> =
                chunk.iter().map(|piece| (Drawn::of(piece), piece.plain)).collect();
            restored.extend(chunk.iter().copied().zip(feed.again(&drawn)?));
        }
    }
    for (piece, prepared) in restored {
        let (offset, len) = (piece.offset as usize, prepared.tokens.len());
        let whole = prepared.cuts == Cuts::Nowhere;
        if offset >= len || whole && (offset > 0 || len > room) {
            let document = piece.document;
            let why = format!("token {offset} of document {document}, which has {len}");
            return Err(DataError::BadState { why });
        }
        packer.restore(piece, prepared.tokens, prepared.cuts);
    }
    Ok(())
}

fn check_buffer(feeds: &[(Feed, f64)], progress: &Progress) -> Result<(), DataError> {
    let bad = |why: String| Err(DataError::BadState { why });
    let mut sequences = progress.buffer.iter().map(|piece| piece.sequence);
    if !sequences.clone().is_sorted_by(|a, b| a < b) {
        return bad("the buffered pieces are out of order".to_owned());
    }
    if sequences.next_back().is_some_and(|last| last >= progress.next_sequence) {
        return bad(format!("a buffered piece is beyond number {}", progress.next_sequence));
    }
    for piece in &progress.buffer {
        let Some((feed, _)) = feeds.get(piece.set as usize) else {
            return bad(format!(
                "a document of data set {} of {} is buffered",
                piece.set,
                feeds.len()
            ));
        };
        if piece.document as usize >= feed.len() {
            return bad(format!("document {} of {} is buffered", piece.document, feed.len()));
        }
    }
    Ok(())
}
