//! What a run writes at intervals, so that a person sees it learn.

use kiln_graph::Executor;
use kiln_tokenizer::{Tokenizer, Utf8Stream};

use crate::TrainError;
use crate::generate::{Flow, Generator};
use crate::sampler::Sampling;

/// Beginnings that the samples continue, in turn.
const PROMPTS: [&str; 3] = ["int main(", "class ", "// Returns the "];
/// Tokens of a sample.
const TOKENS: usize = 48;

/// A prompt, in turn by step, and the model's continuation.
///
/// # Errors
/// When generation fails.
pub(crate) fn write(
    generator: &mut Generator,
    executor: &mut dyn Executor,
    tokenizer: &Tokenizer,
    step: u64,
) -> Result<String, TrainError> {
    let prompt = PROMPTS[step as usize % PROMPTS.len()];
    let mut text = prompt.to_owned();
    text += &complete(
        generator,
        executor,
        tokenizer,
        prompt,
        TOKENS,
        Sampling { seed: step, ..Sampling::default() },
    )?;
    Ok(text)
}

/// The ids of a prompt: the beginning of a document.
pub fn prompt_ids(tokenizer: &Tokenizer, prompt: &str) -> Vec<u32> {
    let mut ids = vec![tokenizer.bos_id()];
    tokenizer.encode_into(prompt.as_bytes(), &mut ids);
    ids
}

/// Whether a token ends a document.
pub fn ends_document(tokenizer: &Tokenizer, id: u32) -> bool {
    id == tokenizer.bos_id() || Some(id) == tokenizer.eos_id()
}

/// The tokens that no continuation of a document has: special ones, but for those that end it. A model that has learned
/// little gives them some probability, as it does any token.
pub fn masked_ids(tokenizer: &Tokenizer) -> Vec<u32> {
    let ids = tokenizer.specials().map(|(_, id)| id);
    ids.filter(|&id| !ends_document(tokenizer, id)).collect()
}

/// The model's continuation of a prompt, as text.
///
/// # Errors
/// When generation fails.
pub fn complete(
    generator: &mut Generator,
    executor: &mut dyn Executor,
    tokenizer: &Tokenizer,
    prompt: &str,
    max_tokens: usize,
    sampling: Sampling,
) -> Result<String, TrainError> {
    let ids = prompt_ids(tokenizer, prompt);
    let mut made = Vec::new();
    generator.mask(masked_ids(tokenizer));
    generator.generate(executor, &ids, max_tokens, sampling, |_, id| {
        if ends_document(tokenizer, id) {
            return Flow::Stop;
        }
        made.push(id);
        Flow::Continue
    })?;
    let mut stream = Utf8Stream::new(tokenizer);
    let mut text = String::new();
    for id in made {
        text += &stream.push(id)?;
    }
    Ok(text + &stream.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_tokenizer::Kind;

    #[test]
    fn a_continuation_has_only_the_special_tokens_that_end_it() {
        let tokenizer = Tokenizer::train(Kind::Bpe, &["int a;"], 265).unwrap();
        let masked = masked_ids(&tokenizer);
        assert_eq!(masked.len(), tokenizer.specials().count() - 1);
        assert!(!masked.contains(&tokenizer.bos_id()));
        assert!(masked.iter().all(|&id| tokenizer.is_special(id)));
    }
}
