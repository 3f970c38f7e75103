//! Pieces of files to the text of a document.

use std::ops::Range;

use kiln_index::{File, FileId};

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub file: FileId,
    /// In bytes of its text.
    pub range: Range<usize>,
}

/// Puts pieces together, a blank line between them. Nothing but newlines is added: pieces that follow one another
/// in their file, with only white space between, come out as they stand there.
pub(crate) fn assemble(files: &[File], slices: &[Slice]) -> String {
    let mut out = String::new();
    let mut last: Option<Slice> = None;
    for slice in slices {
        let text = &files[slice.file as usize].text;
        let range = without_blank_lines(text, slice.range.clone());
        if range.is_empty() {
            continue;
        }
        let start = match last.take() {
            Some(before) if continues(text, &before, slice.file, range.start) => before.range.end,
            Some(_) => {
                end_line(&mut out);
                out.push('\n');
                range.start
            }
            None => range.start,
        };
        out.push_str(&text[start..range.end]);
        last = Some(Slice { file: slice.file, range });
    }
    end_line(&mut out);
    out
}

fn continues(text: &str, before: &Slice, file: FileId, start: usize) -> bool {
    before.file == file && before.range.end <= start && is_blank(&text[before.range.end..start])
}

fn end_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

/// Whether there is nothing to see.
pub(crate) fn is_blank(text: &str) -> bool {
    text.trim_ascii().is_empty()
}

/// The range without blank lines at its ends; the newline of the last line stays.
fn without_blank_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let lead = piece.len() - piece.trim_ascii_start().len();
    if lead == piece.len() {
        return range.start..range.start;
    }
    let start = piece[..lead].rfind('\n').map_or(0, |newline| newline + 1);
    let last = piece.trim_ascii_end().len();
    let end = piece[last..].find('\n').map_or(piece.len(), |newline| last + newline + 1);
    range.start + start..range.start + end
}

/// The range, widened to whole lines where these lie within `limits`, so that `extern "C"` before it or a name
/// after it stay with it. A comment that goes on in the next line is left to what follows.
pub(crate) fn whole_lines(text: &str, range: Range<usize>, limits: Range<usize>) -> Range<usize> {
    let line_start = text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
    let start = if line_start >= limits.start {
        line_start
    } else {
        let between = &text[limits.start..range.start];
        if is_blank(between) { limits.start } else { range.start }
    };
    let line_end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at + 1);
    let rest = &text[range.end..line_end];
    let comment_goes_on = rest.rfind("/*").is_some_and(|at| !rest[at..].contains("*/"));
    let end = if line_end <= limits.end && !comment_goes_on { line_end } else { range.end };
    start..end
}

/// The range, made one that can be sliced.
pub(crate) fn within(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.min(text.len()));
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { name: "a.cc".to_owned(), text: text.to_owned(), preamble: Vec::new() }
    }

    fn join(text: &str, ranges: &[Range<usize>]) -> String {
        let slices = ranges.iter().map(|range| Slice { file: 0, range: range.clone() });
        assemble(&[file(text)], &slices.collect::<Vec<_>>())
    }

    #[test]
    fn neighbours_come_out_as_they_stand() {
        let text = "\n\nint a;\n\n\n  int b;\nint c;";
        let joined = join(text, &[0..9, 9..20, 20..text.len()]);
        assert_eq!(joined, format!("{}\n", &text[2..]));
    }

    #[test]
    fn strangers_are_parted_by_a_blank_line() {
        let text = "int a;\nint b;\nint c;\n\n";
        assert_eq!(join(text, &[0..7, 14..text.len()]), "int a;\n\nint c;\n");
        assert_eq!(join(text, &[14..20, 0..6]), "int c;\n\nint a;\n");
        assert_eq!(join(text, &[20..text.len(), 0..0]), "");
    }

    #[test]
    fn carriage_returns_stay() {
        assert_eq!(join("a\r\n\r\nb\r\n", &[0..5, 5..8]), "a\r\n\r\nb\r\n");
    }

    #[test]
    fn lines_are_taken_whole_when_nothing_else_is_on_them() {
        let text = "  int f() {} // f\nextern int g() {} int h() {} x;\nint i() {} /* a\n*/\n";
        let at = |piece: &str| {
            let start = text.find(piece).unwrap();
            start..start + piece.len()
        };
        let (f, g, h, i) = (at("int f() {}"), at("int g() {}"), at("int h() {}"), at("int i() {}"));
        let widened = |range: &Range<usize>, from, until| {
            let range = whole_lines(text, range.clone(), from..until);
            &text[range]
        };
        assert_eq!(widened(&f, 0, g.start), "  int f() {} // f\n");
        assert_eq!(widened(&g, 18, h.start), "extern int g() {}");
        assert_eq!(widened(&h, g.end, i.start), " int h() {} x;\n");
        assert_eq!(widened(&i, h.end, text.len()), "int i() {}");
    }

    #[test]
    fn ranges_are_made_to_fit() {
        assert_eq!(within("aüb", &(2..9)), 1..4);
        assert_eq!(within("ab", &Range { start: 7, end: 3 }), 2..2);
    }
}
