//! CMake's regular expressions: `^ $ . [] * + ? | ()`, matched by backtracking within a bounded number of steps.

/// More steps than any honest pattern needs.
const MAX_STEPS: usize = 100_000;

/// The first place in `text` that `pattern` matches: the whole, then the groups.
pub(super) fn find(pattern: &str, text: &str) -> Option<Vec<(usize, usize)>> {
    let parsed = Parser { chars: pattern.chars().collect(), at: 0, groups: 0 }.parse()?;
    let chars: Vec<char> = text.chars().collect();
    let mut offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    offsets.push(text.len());
    let mut matcher = Matcher { chars: &chars, steps: 0, groups: Vec::new() };
    for start in 0..=chars.len() {
        matcher.groups.clear();
        matcher.groups.resize(parsed.groups + 1, (0, 0));
        let mut end = None;
        if matcher.alternatives(&parsed.root, start, &mut |_, at| {
            end = Some(at);
            true
        }) {
            let mut places = matcher.groups;
            places[0] = (start, end?);
            return Some(
                places.into_iter().map(|(start, end)| (offsets[start], offsets[end])).collect(),
            );
        }
    }
    None
}

type Alternatives = Vec<Vec<(Atom, Repeat)>>;

enum Atom {
    Start,
    End,
    Any,
    One(char),
    Set(Vec<(char, char)>, bool),
    Group(Alternatives, usize),
}

#[derive(Clone, Copy)]
struct Repeat {
    least: usize,
    most: usize,
}

struct Parsed {
    root: Alternatives,
    groups: usize,
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    groups: usize,
}

impl Parser {
    fn parse(mut self) -> Option<Parsed> {
        let root = self.alternatives()?;
        (self.at == self.chars.len()).then_some(Parsed { root, groups: self.groups })
    }

    fn alternatives(&mut self) -> Option<Alternatives> {
        let mut all = vec![Vec::new()];
        while let Some(&next) = self.chars.get(self.at) {
            match next {
                '|' => {
                    self.at += 1;
                    all.push(Vec::new());
                }
                ')' => break,
                _ => {
                    let atom = self.atom()?;
                    let repeat = self.repeat();
                    all.last_mut()?.push((atom, repeat));
                }
            }
        }
        Some(all)
    }

    fn atom(&mut self) -> Option<Atom> {
        let next = self.chars[self.at];
        self.at += 1;
        Some(match next {
            '^' => Atom::Start,
            '$' => Atom::End,
            '.' => Atom::Any,
            '[' => return self.set(),
            '(' => {
                self.groups += 1;
                let number = self.groups;
                let inner = self.alternatives()?;
                if self.chars.get(self.at) != Some(&')') {
                    return None;
                }
                self.at += 1;
                Atom::Group(inner, number)
            }
            '\\' => {
                let escaped = *self.chars.get(self.at)?;
                self.at += 1;
                Atom::One(escaped)
            }
            other => Atom::One(other),
        })
    }

    fn set(&mut self) -> Option<Atom> {
        let negated = self.chars.get(self.at) == Some(&'^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        loop {
            let low = *self.chars.get(self.at)?;
            self.at += 1;
            if low == ']' && !ranges.is_empty() {
                return Some(Atom::Set(ranges, negated));
            }
            let high = match (self.chars.get(self.at), self.chars.get(self.at + 1)) {
                (Some('-'), Some(high)) if *high != ']' => {
                    self.at += 2;
                    *high
                }
                _ => low,
            };
            ranges.push((low, high));
        }
    }

    fn repeat(&mut self) -> Repeat {
        let (least, most) = match self.chars.get(self.at) {
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            _ => return Repeat { least: 1, most: 1 },
        };
        self.at += 1;
        Repeat { least, most }
    }
}

struct Matcher<'a> {
    chars: &'a [char],
    steps: usize,
    groups: Vec<(usize, usize)>,
}

/// What remains to be matched from a place on.
type Then<'f> = &'f mut dyn FnMut(&mut Matcher<'_>, usize) -> bool;

impl Matcher<'_> {
    fn alternatives(&mut self, all: &Alternatives, at: usize, then: Then<'_>) -> bool {
        all.iter().any(|sequence| self.sequence(sequence, at, then))
    }

    fn sequence(&mut self, atoms: &[(Atom, Repeat)], at: usize, then: Then<'_>) -> bool {
        match atoms.split_first() {
            None => then(self, at),
            Some(((atom, repeat), rest)) => self.repeated(atom, *repeat, rest, at, then),
        }
    }

    /// As many as there are, then fewer.
    fn repeated(
        &mut self,
        atom: &Atom,
        repeat: Repeat,
        rest: &[(Atom, Repeat)],
        at: usize,
        then: Then<'_>,
    ) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        if repeat.most > 0 {
            let fewer = Repeat { least: repeat.least.saturating_sub(1), most: repeat.most - 1 };
            let more = self.atom(atom, at, &mut |matcher: &mut Matcher<'_>, next| {
                // An empty match that repeats would repeat for ever.
                (next > at || repeat.least > 0) && matcher.repeated(atom, fewer, rest, next, then)
            });
            if more {
                return true;
            }
        }
        repeat.least == 0 && self.sequence(rest, at, then)
    }

    fn atom(&mut self, atom: &Atom, at: usize, then: Then<'_>) -> bool {
        let next = self.chars.get(at).copied();
        let one = match atom {
            Atom::Start => return at == 0 && then(self, at),
            Atom::End => return next.is_none() && then(self, at),
            Atom::Any => next.is_some(),
            Atom::One(wanted) => next == Some(*wanted),
            Atom::Set(ranges, negated) => next.is_some_and(|next| {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&next)) != *negated
            }),
            Atom::Group(inner, number) => {
                return self.alternatives(inner, at, &mut |matcher: &mut Matcher<'_>, end| {
                    let before = matcher.groups[*number];
                    matcher.groups[*number] = (at, end);
                    let matched = then(matcher, end);
                    if !matched {
                        matcher.groups[*number] = before;
                    }
                    matched
                });
            }
        };
        one && then(self, at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn matches(pattern: &str, text: &str) -> bool {
        find(pattern, text).is_some()
    }

    #[test]
    fn matches_as_cmake_does() {
        assert!(matches("Linux", "Linux"));
        assert!(matches("Clang|GNU", "AppleClang"));
        assert!(matches("^(powerpc|ppc)64", "ppc64le"));
        assert!(!matches("^(powerpc|ppc)64", "x86_64"));
        assert!(matches("arm64|aarch64|AARCH64", "aarch64"));
        assert!(matches("^[0-9]+\\.[0-9]+$", "12.25"));
        assert!(!matches("^[0-9]+$", "12a"));
        assert!(matches("a[^b]c", "axc"));
        assert!(!matches("a[^b]c", "abc"));
        assert!(matches("", ""));
        assert!(matches("x?(ab)*$", "ababab"));
    }

    #[test]
    fn gives_places() {
        assert_eq!(find("v([0-9]+)", "äv12"), Some(vec![(2, 5), (3, 5)]));
    }

    #[test]
    fn ends_on_evil_patterns() {
        assert!(!matches("(a*)*b", &"a".repeat(200)));
        for pattern in ["(", "[", "a)", "*", "\\", "[]", "(|"] {
            matches(pattern, "text");
        }
    }
}
