//! Which documents are held out for validation.

/// Number of the smallest hashes that are held out: a document is when its hash is below this.
///
/// The choice depends on the document's content alone. So it does not change when other documents come or go,
/// and copies of one text are never on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldOut {
    below: u64,
}

/// First eight bytes of the text's BLAKE3 hash.
pub(crate) fn content_hash(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl HoldOut {
    /// Holds out this share of all hashes, `share` in [0, 1).
    pub(crate) fn share(share: f64) -> Self {
        Self { below: (share * 2f64.powi(64)) as u64 }
    }

    pub(crate) fn takes(self, hash: u64) -> bool {
        hash < self.below
    }

    /// The rule to use instead when this one would leave one side empty although `range`, the smallest and the
    /// largest hash of the set, holds two different documents: then that one document changes sides.
    pub(crate) fn corrected(self, range: Option<(u64, u64)>) -> Option<Self> {
        let (smallest, largest) = range?;
        if self.below == 0 || smallest == largest {
            return None;
        }
        if !self.takes(smallest) {
            return Some(Self { below: smallest + 1 });
        }
        self.takes(largest).then_some(Self { below: largest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_many_documents_is_close_to_what_was_asked() {
        let rule = HoldOut::share(0.05);
        let held =
            (0..20_000).filter(|n| rule.takes(content_hash(&format!("int f{n}();")))).count();
        assert!((850..=1150).contains(&held), "{held} of 20000");
        assert!((0..1000).all(|n| !HoldOut::share(0.0).takes(content_hash(&n.to_string()))));
    }

    #[test]
    fn neither_side_stays_empty_when_two_documents_differ() {
        let rule = HoldOut { below: 100 };
        let none_held = rule.corrected(Some((200, 300))).unwrap();
        assert!(none_held.takes(200) && !none_held.takes(201));
        let all_held = rule.corrected(Some((3, 90))).unwrap();
        assert!(all_held.takes(89) && !all_held.takes(90));
        assert_eq!(rule.corrected(Some((50, 150))), None);
        assert_eq!(rule.corrected(Some((200, 200))), None);
        assert_eq!(rule.corrected(None), None);
        assert_eq!(HoldOut::share(0.0).corrected(Some((200, 300))), None);
    }
}
