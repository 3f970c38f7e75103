//! The conditions of `if()`.

use super::pattern;

/// What conditions need to know.
pub(super) trait Facts {
    fn variable(&self, name: &str) -> Option<String>;
    fn is_target(&self, name: &str) -> bool;
    fn is_command(&self, name: &str) -> bool;
    fn exists(&self, path: &str) -> bool;
}

/// A word of a condition, and whether it was quoted: a quoted one names no variable and no operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub quoted: bool,
}

/// Whether the condition holds. Where it is not a condition, it does not.
pub(super) fn holds(words: &[Word], facts: &dyn Facts) -> bool {
    let mut reader = Reader { words, at: 0, facts, depth: 0 };
    reader.any()
}

/// Whether CMake takes `value` for false.
pub(super) fn is_false(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    matches!(upper.as_str(), "" | "0" | "OFF" | "NO" | "FALSE" | "N" | "IGNORE" | "NOTFOUND")
        || upper.ends_with("-NOTFOUND")
}

fn is_true_constant(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    matches!(upper.as_str(), "1" | "ON" | "YES" | "TRUE" | "Y")
        || value.parse::<f64>().is_ok_and(|number| number != 0.0)
}

/// Compares versions part by part.
pub(super) fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    let parts = |text: &str| -> Vec<u64> {
        text.split('.')
            .map(|part| {
                part.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
                    .parse()
                    .unwrap_or(0)
            })
            .collect()
    };
    let (mut a, mut b) = (parts(a), parts(b));
    let length = a.len().max(b.len());
    a.resize(length, 0);
    b.resize(length, 0);
    a.cmp(&b)
}

struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    facts: &'a dyn Facts,
    depth: usize,
}

impl Reader<'_> {
    fn operator(&self, offset: usize) -> Option<&str> {
        self.words.get(self.at + offset).filter(|word| !word.quoted).map(|word| word.text.as_str())
    }

    fn any(&mut self) -> bool {
        let mut result = self.all();
        while self.operator(0) == Some("OR") {
            self.at += 1;
            result |= self.all();
        }
        result
    }

    fn all(&mut self) -> bool {
        let mut result = self.negated();
        while self.operator(0) == Some("AND") {
            self.at += 1;
            result &= self.negated();
        }
        result
    }

    fn negated(&mut self) -> bool {
        let mut negated = false;
        while self.operator(0) == Some("NOT") {
            self.at += 1;
            negated = !negated;
        }
        self.test() != negated
    }

    fn test(&mut self) -> bool {
        if self.operator(0) == Some("(") && self.depth < 100 {
            self.at += 1;
            self.depth += 1;
            let result = self.any();
            self.depth -= 1;
            if self.operator(0) == Some(")") {
                self.at += 1;
            }
            return result;
        }
        if let Some(result) = self.unary() {
            return result;
        }
        let Some(left) = self.words.get(self.at).cloned() else {
            return false;
        };
        self.at += 1;
        let operator = self.operator(0).map(ToString::to_string);
        match (operator, self.words.get(self.at + 1).cloned()) {
            (Some(operator), Some(right)) if is_binary(&operator) => {
                self.at += 2;
                self.compare(&left, &operator, &right)
            }
            _ => self.truth(&left),
        }
    }

    fn unary(&mut self) -> Option<bool> {
        let operator = self.operator(0)?;
        let operand = self.words.get(self.at + 1)?.text.clone();
        let result = match operator {
            "DEFINED" => match operand.strip_prefix("CACHE{").or(operand.strip_prefix("ENV{")) {
                Some(_) => false,
                None => self.facts.variable(&operand).is_some(),
            },
            "TARGET" => self.facts.is_target(&operand),
            "COMMAND" => self.facts.is_command(&operand),
            "EXISTS" | "IS_DIRECTORY" => self.facts.exists(&operand),
            "IS_ABSOLUTE" => operand.starts_with('/'),
            "POLICY" => true,
            "TEST" | "IS_SYMLINK" => false,
            _ => return None,
        };
        self.at += 2;
        Some(result)
    }

    fn truth(&self, word: &Word) -> bool {
        if is_true_constant(&word.text) {
            return true;
        }
        if word.quoted || is_false(&word.text) {
            return false;
        }
        self.facts.variable(&word.text).is_some_and(|value| !is_false(&value))
    }

    /// A word that names a variable stands for its value.
    fn value(&self, word: &Word) -> String {
        let named = if word.quoted { None } else { self.facts.variable(&word.text) };
        named.unwrap_or_else(|| word.text.clone())
    }

    fn compare(&self, left: &Word, operator: &str, right: &Word) -> bool {
        let a = self.value(left);
        if operator == "MATCHES" {
            return pattern::find(&right.text, &a).is_some();
        }
        let b = self.value(right);
        if operator == "IN_LIST" {
            return b.split(';').any(|item| item == a);
        }
        let (kind, relation) = match operator.strip_prefix("VERSION_") {
            Some(relation) => (compare_versions(&a, &b), relation),
            None => match operator.strip_prefix("STR") {
                Some(relation) => (a.cmp(&b), relation),
                None => match (a.parse::<f64>(), b.parse::<f64>()) {
                    (Ok(a), Ok(b)) => (a.total_cmp(&b), operator),
                    _ => return false,
                },
            },
        };
        match relation {
            "EQUAL" => kind.is_eq(),
            "LESS" => kind.is_lt(),
            "GREATER" => kind.is_gt(),
            "LESS_EQUAL" => kind.is_le(),
            _ => kind.is_ge(),
        }
    }
}

fn is_binary(operator: &str) -> bool {
    let relation =
        operator.strip_prefix("VERSION_").or(operator.strip_prefix("STR")).unwrap_or(operator);
    matches!(relation, "EQUAL" | "LESS" | "GREATER" | "LESS_EQUAL" | "GREATER_EQUAL")
        || matches!(operator, "MATCHES" | "IN_LIST")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Facts for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "UNIX" | "A" => "1",
                "CMAKE_SYSTEM_NAME" => "Linux",
                "V" => "12.2.0",
                "OFFVAR" => "OFF",
                "L" => "a;b",
                _ => return None,
            };
            Some(value.to_string())
        }
        fn is_target(&self, name: &str) -> bool {
            name == "lib"
        }
        fn is_command(&self, _: &str) -> bool {
            false
        }
        fn exists(&self, path: &str) -> bool {
            path == "/here"
        }
    }

    fn check(text: &str) -> bool {
        let words: Vec<Word> = text
            .split(' ')
            .map(|word| Word {
                quoted: word.starts_with('"'),
                text: word.trim_matches('"').to_string(),
            })
            .collect();
        holds(&words, &Fixed)
    }

    #[test]
    fn decides() {
        for text in [
            "UNIX",
            "NOT WIN32",
            "CMAKE_SYSTEM_NAME STREQUAL \"Linux\"",
            "CMAKE_SYSTEM_NAME MATCHES Lin.x",
            "V VERSION_GREATER 9.5",
            "V VERSION_GREATER_EQUAL 12.2",
            "UNIX AND NOT APPLE",
            "WIN32 OR UNIX",
            "( WIN32 OR UNIX ) AND A",
            "DEFINED A",
            "NOT DEFINED B",
            "TARGET lib",
            "EXISTS /here",
            "3 LESS 4",
            "a IN_LIST L",
            "NOT OFFVAR",
            "NOT \"\"",
            "ON",
            "A EQUAL 1",
        ] {
            assert!(check(text), "{text}");
        }
        for text in [
            "WIN32",
            "NOT UNIX",
            "MSVC AND UNIX",
            "OFFVAR",
            "\"UNIX\"",
            "x-NOTFOUND",
            "V VERSION_LESS 9",
            "c IN_LIST L",
            "TARGET x",
            "AND",
            "(",
            "a LESS b",
        ] {
            assert!(!check(text), "{text}");
        }
    }
}
