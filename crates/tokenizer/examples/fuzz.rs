//! Looks for byte strings that do not come back from their ids, for the seconds given.
//!
//! ```text
//! cargo run --release -p kiln-tokenizer --example fuzz -- SECONDS [SEED] [FOLDER]
//! ```
//!
//! Trains a small and a larger vocabulary of each kind on the C and C++ files under FOLDER (default: the current one),
//! then makes texts by chance: pieces of the files, with bytes changed, removed, doubled and put in, and plain noise. Each
//! text is checked with each vocabulary: ids decode to it, encoding in parts on all threads gives the same ids, so does
//! encoding again (now that caches are warm), no id is a special token, and a text with names of special tokens comes back.
//! Stops at the first failure with the text that shows it; else tells how much it has checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_tokenizer::{Error, Kind, Tokenizer};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|argument| argument.parse::<u64>().ok());
    let Some(seconds) = number(0) else {
        eprintln!("usage: fuzz SECONDS [SEED] [FOLDER]");
        return ExitCode::from(2);
    };
    let seed = number(1).unwrap_or(1);
    let folder = arguments.get(2).map_or(".", String::as_str);
    let mut texts = Vec::new();
    read_sources(Path::new(folder), &mut texts);
    if texts.is_empty() {
        eprintln!("{folder} holds no C or C++ file");
        return ExitCode::FAILURE;
    }
    match run(&texts, Duration::from_secs(seconds), seed) {
        Ok((checked, bytes)) => {
            println!("{checked} texts of {bytes} bytes in all came back, seed {seed}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(texts: &[Vec<u8>], time: Duration, seed: u64) -> Result<(u64, u64), String> {
    let mut tokenizers = Vec::new();
    for kind in Kind::ALL {
        for learned in [100, 8000] {
            tokenizers.push(train(kind, texts, learned).map_err(|error| error.to_string())?);
        }
    }
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let end = Instant::now() + time;
    let (mut checked, mut bytes) = (0, 0);
    while Instant::now() < end {
        let text = chance.text(texts);
        for tokenizer in &tokenizers {
            check(tokenizer, &text).map_err(|what| {
                format!(
                    "{} with {} ids: {what}: {text:?}",
                    tokenizer.kind(),
                    tokenizer.vocab_size()
                )
            })?;
        }
        checked += 1;
        bytes += text.len() as u64;
    }
    Ok((checked, bytes))
}

fn train(kind: Kind, texts: &[Vec<u8>], learned: usize) -> Result<Tokenizer, Error> {
    let least = match Tokenizer::train::<&str>(kind, &[], 0) {
        Err(Error::VocabTooSmall { minimum, .. }) => minimum,
        other => return other,
    };
    match Tokenizer::train(kind, texts, least + learned) {
        Err(Error::VocabTooLarge { available, .. }) => Tokenizer::train(kind, texts, available),
        other => other,
    }
}

fn check(tokenizer: &Tokenizer, text: &[u8]) -> Result<(), &'static str> {
    let ids = tokenizer.encode_ordinary(text);
    let comes_back = |ids: &[u32]| tokenizer.decode(ids).is_ok_and(|decoded| decoded == text);
    if !comes_back(&ids) {
        return Err("does not come back");
    }
    if ids.iter().any(|id| tokenizer.is_special(*id)) {
        return Err("has a special token");
    }
    if tokenizer.encode_ordinary(text) != ids {
        return Err("differs when encoded again");
    }
    if tokenizer.encode_documents(&[text]) != [ids] {
        return Err("differs when encoded in parts");
    }
    if !comes_back(&tokenizer.encode_with_special(text)) {
        return Err("does not come back with special tokens");
    }
    Ok(())
}

/// Xorshift: chance that a seed repeats.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A part of one of the texts.
    fn part<'a>(&mut self, texts: &'a [Vec<u8>], longest: usize) -> &'a [u8] {
        let text = &texts[self.below(texts.len())];
        let start = self.below(text.len());
        let len = self.below(longest).min(text.len() - start);
        &text[start..start + len]
    }

    fn text(&mut self, texts: &[Vec<u8>]) -> Vec<u8> {
        const NAMES: [&[u8]; 5] = [b"<|bos|>", b"<FIM_MIDDLE>", b"<EOS>", b"<|", b"<PAD"];
        // Now and then longer than what is encoded in one part.
        let parts = if self.below(500) == 0 { 3000 } else { 1 + self.below(6) };
        let mut text = Vec::new();
        for _ in 0..parts {
            match self.below(12) {
                0 => {
                    let len = self.below(40);
                    text.extend((0..len).map(|_| self.next() as u8));
                }
                1 => text.extend_from_slice(NAMES[self.below(NAMES.len())]),
                2 => {
                    let (unit, times) = (self.part(texts, 4).to_vec(), self.below(200));
                    text.extend(unit.repeat(times));
                }
                _ => text.extend_from_slice(self.part(texts, 200)),
            }
        }
        for _ in 0..self.below(8) {
            let at = self.below(text.len());
            match self.below(4) {
                0 if at < text.len() => text[at] = self.next() as u8,
                1 if at < text.len() => _ = text.remove(at),
                2 => text.insert(at, b" \n\t\r_(\"'"[self.below(8)]),
                _ => text.truncate(text.len().saturating_sub(self.below(4))),
            }
        }
        text
    }
}

fn read_sources(folder: &Path, texts: &mut Vec<Vec<u8>>) {
    const SUFFIXES: [&str; 9] = ["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc"];
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            read_sources(&path, texts);
        } else if path.extension().is_some_and(|end| SUFFIXES.iter().any(|suffix| end == *suffix)) {
            texts.extend(std::fs::read(&path).ok().filter(|text| !text.is_empty()));
        }
    }
}
