//! What should not be trained on: copies, near copies, secrets and generated files.
//!
//! Everything here looks at one text, or at what was kept of earlier texts, and says what it is; the commands decide
//! what to do about it.

mod content;
mod generated;
mod lsh;
mod minhash;
mod near;
mod secrets;
mod sets;

pub use content::{SHINGLE_WORDS, Shingles, exact_jaccard};
pub use generated::generated_marker;
pub use lsh::Banding;
pub use minhash::{PERMUTATIONS, Signature};
pub(crate) use near::{Clusters, DuplicateIndex, cluster};
pub use secrets::{SecretKind, find_secret};
pub(crate) use sets::SetStore;

/// A fast mix of 64 bits that does not change between releases, so that equal input gives equal output.
/// Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
