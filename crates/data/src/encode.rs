//! What this crate needs of a tokenizer.

use crate::fim::FimSentinels;

/// Text to token ids.
pub trait Encode: Send + Sync {
    /// Appends the ids of `text` to `out`: no BOS, no EOS. Text that spells a special token is ordinary text.
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>);
    /// The token that starts every row and every document.
    fn bos_id(&self) -> u32;
    /// The token that ends every document, where there is one.
    fn eos_id(&self) -> Option<u32>;
    /// All ids are below this.
    fn vocab_size(&self) -> usize;

    /// The tokens that mark the parts of a rearranged document, where there are any.
    fn fim_sentinels(&self) -> Option<FimSentinels> {
        None
    }

    /// Two tokenizers that give different ids have different fingerprints, but for chance: the hash of the
    /// special ids, the vocabulary size and the ids of a text with C++ of all kinds. An encoder that knows its
    /// own content better may hash that instead.
    fn fingerprint(&self) -> String {
        let mut ids = Vec::new();
        self.encode_into(PROBE.as_bytes(), &mut ids);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.vocab_size() as u64).to_le_bytes());
        hasher.update(&self.bos_id().to_le_bytes());
        hasher.update(&self.eos_id().map_or(-1, i64::from).to_le_bytes());
        ids.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

impl Encode for kiln_tokenizer::Tokenizer {
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
        self.encode_into(text, out);
    }

    fn bos_id(&self) -> u32 {
        self.bos_id()
    }

    fn eos_id(&self) -> Option<u32> {
        self.eos_id()
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size()
    }

    fn fim_sentinels(&self) -> Option<FimSentinels> {
        Some(FimSentinels {
            prefix: self.special("<FIM_PREFIX>")?,
            middle: self.special("<FIM_MIDDLE>")?,
            suffix: self.special("<FIM_SUFFIX>")?,
            eos: self.eos_id()?,
        })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint().to_owned()
    }
}

/// Long and mixed enough that vocabularies learned from different text cut it differently.
const PROBE: &str = r#"// Copyright (c) 2011 The Authors. All rights reserved. Grüße, 世界 🙂
#ifndef STORAGE_INCLUDE_CACHE_H_
#define STORAGE_INCLUDE_CACHE_H_
#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include "port/thread_annotations.h"
namespace storage::internal {
template <typename Key, typename Value, size_t kShards = 16>
class ShardedCache final : public Cache<Key, Value> {
 public:
  explicit ShardedCache(size_t capacity, std::shared_ptr<Logger> info_log = nullptr);
  ~ShardedCache() override { MutexLock l(&mutex_); table_.clear(); }
	virtual Status Insert(const Slice& key, void* value, size_t charge, Handle** handle) noexcept {
    const uint32_t hash = HashSlice(key.data(), static_cast<uint32_t>(key.size()), 0xbc9f1d34u);
    for (int i = 0; i < 4096; ++i) { if (lru_[i & 15] != hash) continue; }
    return s.ok() ? Status::OK() : Status::Corruption("bad block handle", "offset=1234567890");
  }
  #define ASSERT_OK(s) ASSERT_TRUE((s).ok()) << (s).ToString();
 private:
  std::unordered_map<std::string, std::unique_ptr<Entry>> table_ GUARDED_BY(mutex_);
  double ratio_{0.75}, eps_ = 1.0e-6; mutable port::Mutex mutex_; bool is_valid_ = true;
};
}  // namespace storage::internal
#endif
"#;

#[cfg(test)]
mod tests {
    use kiln_tokenizer::{Kind, Tokenizer};

    use super::*;

    struct Chunks {
        size: usize,
        bos: u32,
    }

    impl Encode for Chunks {
        fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
            out.extend(
                text.chunks(self.size).map(|c| c.iter().map(|b| u32::from(*b)).sum::<u32>()),
            );
        }

        fn bos_id(&self) -> u32 {
            self.bos
        }

        fn eos_id(&self) -> Option<u32> {
            None
        }

        fn vocab_size(&self) -> usize {
            4096
        }
    }

    #[test]
    fn fingerprints_tell_encoders_apart() {
        let print = |size, bos| Chunks { size, bos }.fingerprint();
        assert_eq!(print(1, 0), print(1, 0));
        assert_ne!(print(1, 0), print(2, 0));
        assert_ne!(print(1, 0), print(1, 5));
    }

    #[test]
    fn a_trained_tokenizer_encodes_through_the_trait() {
        let documents = ["int main() { return 0; } // <|bos|>"];
        let tokenizer = Tokenizer::train(Kind::Bpe, &documents, 270).unwrap();
        let encode: &dyn Encode = &tokenizer;
        let mut ids = vec![7];
        encode.encode_into(documents[0].as_bytes(), &mut ids);
        assert_eq!(tokenizer.decode(&ids[1..]).unwrap(), documents[0].as_bytes());
        assert!(!ids.contains(&encode.bos_id()) && encode.bos_id() < 270);
        assert_eq!((encode.vocab_size(), encode.eos_id()), (270, None));
        assert_eq!(encode.fingerprint(), tokenizer.fingerprint());
    }
}
