//! Which licences a user wants.

use crate::pattern;

/// Stands for documents whose licence is not known.
const UNKNOWN: &str = "unknown";

/// Patterns of licence identifiers to keep and to refuse, compared without regard to case.
#[derive(Debug, Clone)]
pub(crate) struct LicencePolicy {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl LicencePolicy {
    pub(crate) fn new(allow: &[String], deny: &[String]) -> Self {
        let lower = |list: &[String]| list.iter().map(|p| p.to_ascii_lowercase()).collect();
        Self { allow: lower(allow), deny: lower(deny) }
    }

    /// Whether a document under this licence may stay. In an expression one side of an `OR` is enough, while of an
    /// `AND`, and of a list as several licence files of a project give it, everything must be allowed.
    pub(crate) fn allows(&self, licence: Option<&str>) -> bool {
        if self.allow.is_empty() && self.deny.is_empty() {
            return true;
        }
        let licence = licence.unwrap_or(UNKNOWN).to_ascii_lowercase();
        let spaced = licence.replace('(', " ( ").replace(')', " ) ").replace(',', " and ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = &words[..];
        let allowed = self.either(&mut rest, 0);
        // What is no expression is one strange name.
        if rest.is_empty() { allowed } else { self.allows_name(licence.trim()) }
    }

    /// `all (OR all)*`
    fn either(&self, rest: &mut &[&str], depth: usize) -> bool {
        let mut allowed = self.all(rest, depth);
        while let [word, after @ ..] = *rest
            && matches!(*word, "or" | "/")
        {
            *rest = after;
            allowed |= self.all(rest, depth);
        }
        allowed
    }

    /// `one (AND one)*`
    fn all(&self, rest: &mut &[&str], depth: usize) -> bool {
        let mut allowed = self.one(rest, depth);
        while let [word, after @ ..] = *rest
            && *word == "and"
        {
            *rest = after;
            allowed &= self.one(rest, depth);
        }
        allowed
    }

    /// A name, with an exception or without, or an expression in parentheses.
    fn one(&self, rest: &mut &[&str], depth: usize) -> bool {
        const DEEPEST: usize = 20;
        match *rest {
            ["(", after @ ..] if depth < DEEPEST => {
                *rest = after;
                let allowed = self.either(rest, depth + 1);
                if let [")", after @ ..] = *rest {
                    *rest = after;
                }
                allowed
            }
            [name, "with", _, after @ ..] | [name, after @ ..] => {
                *rest = after;
                self.allows_name(name)
            }
            [] => false,
        }
    }

    fn allows_name(&self, name: &str) -> bool {
        let among =
            |list: &[String]| list.iter().any(|p| pattern::matches(p.as_bytes(), name.as_bytes()));
        (self.allow.is_empty() || among(&self.allow)) && !among(&self.deny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], deny: &[&str]) -> LicencePolicy {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        LicencePolicy::new(&owned(allow), &owned(deny))
    }

    #[test]
    fn without_wishes_everything_stays() {
        assert!(policy(&[], &[]).allows(None));
        assert!(policy(&[], &[]).allows(Some("GPL-2.0-only")));
    }

    #[test]
    fn names_and_patterns_are_compared_without_case() {
        let permissive = policy(&["mit", "BSD-*"], &[]);
        assert!(permissive.allows(Some("MIT")) && permissive.allows(Some("BSD-3-Clause")));
        assert!(!permissive.allows(Some("GPL-3.0-or-later")) && !permissive.allows(None));
        let any_but_gpl = policy(&[], &["gpl*"]);
        assert!(any_but_gpl.allows(None) && any_but_gpl.allows(Some("LGPL-2.1-only")));
        assert!(!any_but_gpl.allows(Some("GPL-2.0-only")));
        assert!(policy(&["unknown"], &[]).allows(None));
        assert!(!policy(&[], &["unknown"]).allows(None));
    }

    #[test]
    fn expressions_are_understood() {
        let no_gpl = policy(&[], &["GPL-*"]);
        assert!(no_gpl.allows(Some("GPL-2.0-only OR Apache-2.0")));
        assert!(!no_gpl.allows(Some("GPL-2.0-only AND Apache-2.0")));
        assert!(!no_gpl.allows(Some("Apache-2.0, GPL-2.0")));
        assert!(!no_gpl.allows(Some("GPL-2.0-only WITH Classpath-exception-2.0")));
        assert!(no_gpl.allows(Some("(GPL-2.0-only AND Zlib) OR MIT")));
        assert!(!no_gpl.allows(Some("(GPL-2.0-only OR MIT) AND GPL-3.0-only")));
        let mit = policy(&["MIT"], &[]);
        assert!(mit.allows(Some("MIT OR Apache-2.0")) && !mit.allows(Some("MIT AND Apache-2.0")));
    }

    #[test]
    fn nonsense_is_a_name_that_nobody_allowed() {
        let mit = policy(&["MIT"], &[]);
        let deep = format!("{}MIT", "(".repeat(10_000));
        for text in ["", "(", ") MIT", "MIT MIT", "see the licence file", &deep] {
            assert!(!mit.allows(Some(text)), "{text}");
        }
    }
}
