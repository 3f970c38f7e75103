//! What a row of a file holds, and which of its fields make a document.

use std::borrow::Cow;

use crate::fim::structured;

/// Which fields of a JSON object, or columns of a Parquet file, make a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// One text.
    Text {
        /// The field that holds it.
        field: String,
    },
    /// A documented function in the fields `docstring`, `signature` and `body`; others, such as `path`, are passed over.
    Pairs,
}

impl Schema {
    /// The fields, in the order in which [`Record::new`] takes them.
    pub(crate) fn fields(&self) -> Vec<&str> {
        match self {
            Self::Text { field } => vec![field],
            Self::Pairs => vec!["docstring", "signature", "body"],
        }
    }

    /// Whether a row gives nothing to learn: the text, or the body, is empty.
    pub(crate) fn is_empty<S: AsRef<str>>(&self, values: &[S]) -> bool {
        values.last().is_none_or(|value| value.as_ref().is_empty())
    }
}

/// A document as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Text(String),
    Pair { docstring: String, signature: String, body: String },
}

impl Record {
    /// Takes the values of [`Schema::fields`].
    pub(crate) fn new(schema: &Schema, mut values: Vec<String>) -> Self {
        let mut next = || if values.is_empty() { String::new() } else { values.remove(0) };
        match schema {
            Schema::Text { .. } => Self::Text(next()),
            Schema::Pairs => Self::Pair { docstring: next(), signature: next(), body: next() },
        }
    }

    /// The document as it would stand in a source file.
    pub(crate) fn plain(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Pair { docstring, signature, body } => {
                let texts = structured(docstring, signature, body);
                Cow::Owned(texts.prefix + &texts.middle + texts.suffix)
            }
        }
    }
}

/// Stands for the content of a row. Of several values each is preceded by its length, so that none can pass into the
/// next unnoticed.
pub(crate) fn content_hash<S: AsRef<str>>(values: &[S]) -> blake3::Hash {
    if let [value] = values {
        return blake3::hash(value.as_ref().as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    for value in values {
        let bytes = value.as_ref().as_bytes();
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize()
}

/// The first eight bytes of a hash: enough to find that a document has changed.
pub(crate) fn short_hash(hash: &blake3::Hash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_reads_as_it_would_in_a_file() {
        let values = ["Adds.", "int add(int a, int b)", "\n  return a + b;\n"].map(String::from);
        let pair = Record::new(&Schema::Pairs, values.to_vec());
        assert_eq!(pair.plain(), "/*\nAdds.\n*/\nint add(int a, int b) {\n  return a + b;\n}");
    }

    #[test]
    fn values_do_not_pass_into_one_another() {
        assert_ne!(content_hash(&["ab", "c"]), content_hash(&["a", "bc"]));
        assert_eq!(content_hash(&["abc"]), blake3::hash(b"abc"));
    }
}
