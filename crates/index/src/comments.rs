//! Finds the comment directly above a definition, by its text alone.

use std::ops::Range;

/// The comment that ends on the line before byte `start` of `text`, or before it on its line: a run of `//` lines or
/// one `/* */`. Nothing but blanks may stand between, and the comment must have its lines to itself.
pub fn comment_above(text: &str, start: usize) -> Option<Range<usize>> {
    let before = text.get(..start)?;
    let head = before.trim_end_matches([' ', '\t']);
    // Either the definition begins its line, or a block comment stands before it on the same line.
    let end = if head.ends_with("*/") {
        head.len()
    } else {
        let above = head.strip_suffix('\n')?;
        above.trim_end_matches(['\r', ' ', '\t']).len()
    };
    if let Some(block) = block_ending_at(text, end) {
        return Some(block);
    }
    line_comments_ending_at(text, end)
}

/// The `/* */` whose last byte stands before `end`, if only blanks precede it on its first line.
fn block_ending_at(text: &str, end: usize) -> Option<Range<usize>> {
    let head = text[..end].strip_suffix("*/")?;
    // A line comment may end so too, as in `// see foo/*/bar/*/`.
    let last_line = head.rfind('\n').map_or(0, |at| at + 1);
    if text[last_line..end].trim_start().starts_with("//") {
        return None;
    }
    let open = head.rfind("/*")?;
    begins_its_line(text, open).then_some(open..end)
}

/// The run of lines that are nothing but `//` comments, the last of which ends at `end`.
fn line_comments_ending_at(text: &str, end: usize) -> Option<Range<usize>> {
    let mut found: Option<usize> = None;
    let mut line_end = end;
    loop {
        let line_start = text[..line_end].rfind('\n').map_or(0, |at| at + 1);
        let line = &text[line_start..line_end];
        let content = line.trim_start();
        if !content.starts_with("//") {
            break;
        }
        found = Some(line_end - content.len());
        if line_start == 0 {
            break;
        }
        line_end = line_start - 1;
    }
    found.map(|start| start..end)
}

fn begins_its_line(text: &str, at: usize) -> bool {
    let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    text[line_start..at].trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::comment_above;

    fn above<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        comment_above(text, text.find(name).unwrap()).map(|range| &text[range])
    }

    #[test]
    fn takes_a_run_of_line_comments() {
        let text = "int x;  // not this\n// One.\n  // Two.\r\n\t// Three.  \n  void f();";
        assert_eq!(above(text, "void"), Some("// One.\n  // Two.\r\n\t// Three."));
    }

    #[test]
    fn takes_one_block() {
        let text = "/* licence */\n/**\n * Does it.\n */\nvoid f();";
        assert_eq!(above(text, "void"), Some("/**\n * Does it.\n */"));
        assert_eq!(above("/** Short. */ void f();", "void"), Some("/** Short. */"));
    }

    #[test]
    fn leaves_what_is_not_directly_above() {
        assert_eq!(above("// Far.\n\nvoid f();", "void"), None);
        assert_eq!(above("int x; // mine\nvoid f();", "void"), None);
        assert_eq!(above("int x; /* mine */\nvoid f();", "void"), None);
        assert_eq!(above("// Named.\nint x; void f();", "void"), None);
        assert_eq!(above("void f();", "void"), None);
        assert_eq!(above("", "").map(str::len), None);
    }

    #[test]
    fn a_line_comment_may_end_like_a_block() {
        assert_eq!(above("// all of a/*/b/*/\nvoid f();", "void"), Some("// all of a/*/b/*/"));
    }

    #[test]
    fn stays_on_character_boundaries() {
        let text = "// größer ≥ 3\nvoid f();";
        assert_eq!(above(text, "void"), Some("// größer ≥ 3"));
        assert_eq!(comment_above("ä", 1), None);
    }
}
