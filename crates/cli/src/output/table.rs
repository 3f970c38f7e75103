//! Plain-text tables.

use std::borrow::Cow;
use std::io::{self, Write};

/// Side of its column on which a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells in columns as wide as they need to be, two blanks apart.
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without header.
    pub fn new(align: &[Align]) -> Self {
        Self { align: align.to_vec(), rows: Vec::new() }
    }

    /// A table of names and values.
    pub fn pairs() -> Self {
        Self::new(&[Align::Left, Align::Left])
    }

    /// Adds a row; a header is the first one.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) -> &mut Self {
        debug_assert_eq!(N, self.align.len());
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
        self
    }

    /// Writes all rows, each on a line of its own.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths = vec![0; self.align.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), align) in row.iter().zip(&widths).zip(&self.align) {
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Control characters escaped: names of files must not move the cursor of a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
        table.row(["Name", "Files", "Note"]).row(["é", "12", ""]).row([
            "longer",
            "3",
            "x\u{1b}[1m",
        ]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = "\
Name    Files  Note
é          12
longer      3  x\\u{1b}[1m
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
