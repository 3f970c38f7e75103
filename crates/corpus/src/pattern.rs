//! Folder name patterns of the skip list.

/// Whether `name` matches `pattern`, where `*` stands for any run of characters (also none) and every other
/// byte for itself.
///
/// On a mismatch the last `*` takes one byte more, so the cost is at most |pattern| · |name|.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    p = after_star;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    fn check(pattern: &str, name: &str) -> bool {
        matches(pattern.as_bytes(), name.as_bytes())
    }

    #[test]
    fn plain_names_match_whole_names_only() {
        assert!(check("build", "build"));
        assert!(!check("build", "builder"));
        assert!(!check("build", "buil"));
        assert!(!check("", "x"));
        assert!(check("", ""));
    }

    #[test]
    fn a_star_takes_any_run() {
        assert!(check("cmake-build*", "cmake-build"));
        assert!(check("cmake-build*", "cmake-build-debug"));
        assert!(!check("cmake-build*", "my-cmake-build"));
        assert!(check("*.bak", "old.bak.bak"));
        assert!(check("a*b*c", "aXbYbZc"));
        assert!(!check("a*b*c", "aXbYbZ"));
        assert!(check("*", ""));
    }
}
