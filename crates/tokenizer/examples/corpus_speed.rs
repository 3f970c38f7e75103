//! Trains on a folder of C++ and measures: `corpus_speed CORPUS VOCAB_SIZE [OUT]`.
//!
//! Prints seconds of training and MB/s of encoding, the best of nine runs, on the threads that
//! `RAYON_NUM_THREADS` allows, and saves the tokenizer in OUT if given.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_tokenizer::{Kind, PieceCounts, Tokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let corpus = arguments.next().ok_or("usage: corpus_speed CORPUS VOCAB_SIZE [OUT]")?;
    let vocab_size = arguments.next().ok_or("VOCAB_SIZE is missing")?.parse()?;
    let mut paths = Vec::new();
    sources(Path::new(&corpus), &mut paths)?;
    paths.sort();
    let documents = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = documents.iter().map(Vec::len).sum();
    println!("{} documents, {bytes} bytes", documents.len());

    let counting = best_seconds(|| PieceCounts::new(Kind::Bpe).add_documents(&documents));
    println!("counting: {counting:.3} s");
    let training = best_seconds(|| {
        Tokenizer::train(Kind::Bpe, &documents, vocab_size)
            .map(drop)
            .unwrap_or_else(|e| panic!("{e}"))
    });
    println!("training {vocab_size}: {training:.3} s");
    let tokenizer = Tokenizer::train(Kind::Bpe, &documents, vocab_size)?;
    let mut ids = Vec::new();
    let encoding = best_seconds(|| {
        ids.clear();
        documents.iter().for_each(|document| tokenizer.encode_into(document, &mut ids));
    });
    println!("encoding, 1 thread: {:.1} MB/s, {} ids", bytes as f64 / encoding / 1e6, ids.len());
    let encoding = best_seconds(|| drop(tokenizer.encode_documents(&documents)));
    let threads = rayon::current_num_threads();
    println!("encoding, {threads} threads: {:.1} MB/s", bytes as f64 / encoding / 1e6);
    if let Some(out) = arguments.next() {
        tokenizer.save(out)?;
    }
    Ok(())
}

fn best_seconds(mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[0]
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| {
            ["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc"]
                .iter()
                .any(|e| extension == *e)
        }) {
            found.push(path);
        }
    }
    Ok(())
}
