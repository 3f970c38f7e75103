//! Which columns the documents have, and of what type: Parquet has to know before the first row.

use serde_json::Value;

use super::record::{Record, in_order};

/// What all values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Strings.
    Text,
    /// Whole numbers of 64 bits with sign.
    Integer,
    /// Anything, also different things: written as its JSON text.
    Json,
}

impl ColumnKind {
    fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::Text,
            Value::Number(n) if n.is_i64() => Self::Integer,
            _ => Self::Json,
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    pub kind: ColumnKind,
    /// How many documents have a value in it.
    pub values: u64,
}

/// All columns that any document has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    list: Vec<Column>,
}

impl Columns {
    /// Takes note of a document's columns.
    pub(crate) fn add(&mut self, record: &Record) {
        for (name, value) in record.fields() {
            self.add_value(name, value);
        }
    }

    pub(crate) fn add_value(&mut self, name: &str, value: &Value) {
        let kind = ColumnKind::of(value);
        match self.list.iter_mut().find(|column| column.name == name) {
            Some(column) => {
                column.values += 1;
                if column.kind != kind {
                    column.kind = ColumnKind::Json;
                }
            }
            None => self.list.push(Column { name: name.to_owned(), kind, values: 1 }),
        }
    }

    /// Known columns first, the others as they were met.
    pub(crate) fn into_sorted(self) -> Vec<Column> {
        let mut names: Vec<String> = self.list.iter().map(|c| c.name.clone()).collect();
        in_order(&mut names);
        let mut list = self.list;
        list.sort_by_key(|column| names.iter().position(|name| *name == column.name));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_all_values() {
        let mut columns = Columns::default();
        for json in [
            r#"{"z":1,"level":3,"text":"a","mixed":1}"#,
            r#"{"level":-4,"text":"b","mixed":"x","big":18446744073709551615}"#,
        ] {
            columns.add(&Record::from_json(json.as_bytes()).unwrap());
        }
        let found: Vec<_> =
            columns.into_sorted().into_iter().map(|c| (c.name, c.kind, c.values)).collect();
        let expected = [
            ("text", ColumnKind::Text, 2),
            ("z", ColumnKind::Integer, 1),
            ("level", ColumnKind::Integer, 2),
            ("mixed", ColumnKind::Json, 2),
            ("big", ColumnKind::Json, 1),
        ];
        assert_eq!(found, expected.map(|(name, kind, n)| (name.to_owned(), kind, n)));
    }
}
