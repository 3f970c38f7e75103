//! The kind `cpp`: its pre-tokenizer and its fixed vocabulary.

mod fixed;
mod lexicon;
mod pattern;
mod split;
mod words;

pub(crate) use fixed::{FIXED, Fixed, base_merges};
pub(crate) use pattern::PATTERN;
pub(crate) use split::CppSplitter;
pub use words::KEYWORDS;

/// The special tokens, ids 0 to 19. They are part of what trained models mean: never reordered.
pub(crate) const SPECIAL_TOKENS: [&str; 20] = [
    "<PAD>",
    "<UNK>",
    "<BOS>",
    "<EOS>",
    "<FIM_PREFIX>",
    "<FIM_MIDDLE>",
    "<FIM_SUFFIX>",
    "<CODE_START>",
    "<CODE_END>",
    "<THOUGHT_START>",
    "<THOUGHT_END>",
    "<QUERY_TOOL>",
    "<INDEX>",
    "<DEBUG_CONTEXT>",
    "<FILE_SEP>",
    "<DIFF_START>",
    "<DIFF_END>",
    "<COMMENT_START>",
    "<COMMENT_END>",
    "<TOOL_RESULT>",
];
