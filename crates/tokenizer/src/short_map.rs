//! A hash map from short pieces, held in the table itself, to small values.
//!
//! Nearly all pieces are at most [`ShortKey::MAX_LEN`] bytes long. Packing such a piece and its
//! length into 128 bits makes hashing one multiplication, comparing two words, and keeps a lookup
//! to one cache line.

/// A piece of 1 to [`Self::MAX_LEN`] bytes: the bytes from the lowest on, the length in the top
/// byte. Never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShortKey {
    low: u64,
    high: u64,
}

impl ShortKey {
    pub(crate) const MAX_LEN: usize = 15;

    /// Key of `text[start..end]`, if that is short enough; `start < end <= text.len()`.
    #[inline]
    pub(crate) fn of(text: &[u8], start: usize, end: usize) -> Option<ShortKey> {
        let len = end - start;
        if len > Self::MAX_LEN {
            return None;
        }
        // Reading 16 bytes and masking is several times faster than copying `len` bytes.
        let bytes = match text[start..].first_chunk::<16>() {
            Some(block) => u128::from_le_bytes(*block) & ((1 << (8 * len)) - 1),
            None => {
                let mut block = [0; 16];
                block[..len].copy_from_slice(&text[start..end]);
                u128::from_le_bytes(block)
            }
        };
        let packed = bytes | (len as u128) << 120;
        Some(ShortKey { low: packed as u64, high: (packed >> 64) as u64 })
    }

    /// Number of bytes of the piece.
    pub(crate) fn len(self) -> usize {
        (self.high >> 56) as usize
    }

    /// The piece in the first [`Self::len`] bytes.
    pub(crate) fn bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_le_bytes()
    }

    #[inline]
    pub(crate) fn hash(self) -> u64 {
        // Folded multiplication of both halves; the constants are digits of pi.
        let product = u128::from(self.low ^ 0x243f_6a88_85a3_08d3)
            * u128::from(self.high ^ 0x1319_8a2e_0370_7344);
        product as u64 ^ (product >> 64) as u64
    }
}

#[derive(Clone, Copy, Default)]
struct Entry<V> {
    key: ShortKey,
    value: V,
}

/// Open addressing with linear probing, at most half full.
#[derive(Clone)]
pub(crate) struct ShortMap<V> {
    entries: Vec<Entry<V>>,
    len: usize,
}

impl<V: Copy + Default> ShortMap<V> {
    /// Room for `capacity` keys before the table grows.
    pub(crate) fn with_capacity(capacity: usize) -> ShortMap<V> {
        let slots = (capacity.max(8) * 2).next_power_of_two();
        ShortMap { entries: vec![Entry::default(); slots], len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: ShortKey) -> Option<V> {
        let entry = &self.entries[self.find(key)];
        (entry.key == key).then_some(entry.value)
    }

    /// The value of `key`, inserted as the default if it is new.
    #[inline]
    pub(crate) fn entry(&mut self, key: ShortKey) -> &mut V {
        let mut slot = self.find(key);
        if self.entries[slot].key != key {
            if 2 * (self.len + 1) > self.entries.len() {
                self.grow();
                slot = self.find(key);
            }
            self.len += 1;
            self.entries[slot].key = key;
        }
        &mut self.entries[slot].value
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShortKey, V)> {
        self.entries
            .iter()
            .filter(|entry| entry.key != ShortKey::default())
            .map(|entry| (entry.key, entry.value))
    }

    /// The slot that holds `key`, or the empty slot where it belongs.
    #[inline]
    fn find(&self, key: ShortKey) -> usize {
        let mask = self.entries.len() - 1;
        let mut slot = key.hash() as usize & mask;
        loop {
            let found = self.entries[slot].key;
            if found == key || found == ShortKey::default() {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = ShortMap::with_capacity(self.entries.len());
        for (key, value) in self.iter() {
            *larger.entry(key) = value;
        }
        *self = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_holds_bytes_and_length() {
        let text = b"0123456789abcdefghij";
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                match ShortKey::of(text, start, end) {
                    Some(key) => {
                        assert_eq!(&key.bytes()[..key.len()], &text[start..end]);
                    }
                    None => assert!(end - start > ShortKey::MAX_LEN),
                }
            }
        }
        assert_ne!(ShortKey::of(b"a", 0, 1), ShortKey::of(b"a\0", 0, 2));
    }

    #[test]
    fn map_grows_and_keeps_everything() {
        let mut map = ShortMap::with_capacity(1);
        let words: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
        for (value, word) in words.iter().enumerate() {
            *map.entry(ShortKey::of(word.as_bytes(), 0, word.len()).unwrap()) = value as u32;
        }
        assert_eq!(map.len(), words.len());
        assert_eq!(map.iter().count(), words.len());
        for (value, word) in words.iter().enumerate() {
            let key = ShortKey::of(word.as_bytes(), 0, word.len()).unwrap();
            assert_eq!(map.get(key), Some(value as u32));
        }
        assert_eq!(map.get(ShortKey::of(b"x", 0, 1).unwrap()), None);
    }
}
