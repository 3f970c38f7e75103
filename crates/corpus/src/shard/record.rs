//! One document as it stands in a file: named values in order.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The columns that Kiln knows, in the order in which they are written; all others follow as they were found.
const KNOWN: &[&str] =
    &["text", "docstring", "signature", "body", "project", "file", "path", "name", "licence"];

/// Name of the column of a plain document's text.
pub(crate) const TEXT: &str = "text";
/// Name of the column of a document's licence.
pub(crate) const LICENCE: &str = "licence";
/// Names of the columns that make a pair's text.
const PAIR: [&str; 3] = ["docstring", "signature", "body"];

/// A document, or a pair, with all its columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Record {
    fields: Vec<(String, Value)>,
}

impl Record {
    pub(crate) fn new(fields: Vec<(String, Value)>) -> Self {
        let mut record = Self::default();
        for (name, value) in fields {
            // As JSON readers have it, the last of several counts. A null is as good as nothing.
            record.fields.retain(|(known, _)| *known != name);
            if !value.is_null() {
                record.fields.push((name, value));
            }
        }
        record
    }

    /// Of a line of JSONL, or why it is none.
    pub(crate) fn from_json(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line)
            .map_err(|e| format!("not UTF-8 (byte {} of the line)", e.valid_up_to() + 1))?;
        serde_json::from_str(text).map_err(|e| {
            let message = e.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("{message} (column {})", e.column())
        })
    }

    /// Appends a line of JSONL, known columns first.
    pub(crate) fn write_json(&self, line: &mut Vec<u8>) {
        serde_json::to_writer(&mut *line, self).expect("values into memory always serialise");
        line.push(b'\n');
    }

    /// A column that holds a string.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Adds a string, or replaces what the column held.
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        let value = Value::String(text.to_owned());
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// What would be trained on: the text, or the parts of a pair one after another. `None` when neither is there.
    pub(crate) fn content(&self) -> Option<Cow<'_, str>> {
        if let Some(text) = self.string(TEXT) {
            return Some(Cow::Borrowed(text));
        }
        let [docstring, signature, body] = PAIR.map(|name| self.string(name));
        Some(Cow::Owned(format!("{}\n{} {{{}}}", docstring.unwrap_or(""), signature?, body?)))
    }

    /// Names and values in the order in which they were found.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// `project/file` for messages, as far as known.
    pub(crate) fn origin(&self) -> Option<String> {
        let file = self.string("file").or_else(|| self.string("path"))?;
        Some(match self.string("project") {
            Some(project) => format!("{project}/{file}"),
            None => file.to_owned(),
        })
    }
}

/// Sorts column names into the order in which they are written.
pub(crate) fn in_order(names: &mut [String]) {
    names.sort_by_key(|name| rank(name));
}

fn rank(name: &str) -> usize {
    KNOWN.iter().position(|known| *known == name).unwrap_or(KNOWN.len())
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields: Vec<_> = self.fields.iter().collect();
        fields.sort_by_key(|(name, _)| rank(name));
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Record::new(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        Record::from_json(json.as_bytes()).unwrap()
    }

    fn json(record: &Record) -> String {
        let mut line = Vec::new();
        record.write_json(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn known_columns_come_first_and_all_others_stay() {
        let found = record(r#"{"level":3,"file":"a.cc","z":[1,{"q":null}],"text":"é\n","a":"b"}"#);
        let expected = "{\"text\":\"é\\n\",\"file\":\"a.cc\",\"level\":3,\"z\":[1,{\"q\":null}],\"a\":\"b\"}\n";
        assert_eq!(json(&found), expected);
        assert_eq!(found.origin().as_deref(), Some("a.cc"));
    }

    #[test]
    fn the_last_of_equal_names_counts_and_null_is_nothing() {
        let found = record(r#"{"text":"a","x":1,"text":"b","x":null}"#);
        assert_eq!(json(&found), "{\"text\":\"b\"}\n");
    }

    #[test]
    fn a_pair_has_content_too() {
        let pair = record(r#"{"docstring":"Adds.","signature":"int f()","body":" return 1; "}"#);
        assert_eq!(pair.content().unwrap(), "Adds.\nint f() { return 1; }");
        assert_eq!(
            record(r#"{"signature":"int f()","body":""}"#).content().unwrap(),
            "\nint f() {}"
        );
        assert_eq!(record(r#"{"signature":"int f()"}"#).content(), None);
        assert_eq!(record(r#"{"text":5}"#).content(), None);
    }

    #[test]
    fn faults_are_described() {
        let why = |line: &[u8]| Record::from_json(line).unwrap_err();
        assert!(why(b"int main").contains("column"), "{}", why(b"int main"));
        assert!(why(b"[1]").contains("a JSON object"));
        assert!(why(b"{\"text\":\"\xff\"}").contains("not UTF-8"));
        assert!(why(b"{\"text\":\"a\"").contains("EOF"));
    }

    #[test]
    fn setting_replaces_or_adds() {
        let mut found = record(r#"{"text":"a"}"#);
        found.set("licence", "MIT");
        found.set("licence", "Zlib");
        assert_eq!(json(&found), "{\"text\":\"a\",\"licence\":\"Zlib\"}\n");
    }
}
