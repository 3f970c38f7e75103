//! The smallest use of a trained tokenizer: `encode TOKENIZER_DIR FILE...` writes the ids of the
//! files, one after the other, as little-endian u32.

use std::error::Error;
use std::io::Write;

use kiln_tokenizer::Tokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("usage: encode TOKENIZER_DIR FILE...")?;
    let tokenizer = Tokenizer::load(folder)?;
    let mut ids = Vec::new();
    for path in arguments {
        tokenizer.encode_into(&std::fs::read(path)?, &mut ids);
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    Ok(std::io::stdout().write_all(&bytes)?)
}
