//! One line of JSONL to the texts in its fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The texts in `line`'s fields `names`, borrowed where no escape has to be resolved, or why one is missing.
pub(crate) fn strings<'a>(line: &'a [u8], names: &[&str]) -> Result<Vec<Cow<'a, str>>, String> {
    let line = std::str::from_utf8(line)
        .map_err(|e| format!("not UTF-8 (byte {} of the line)", e.valid_up_to() + 1))?;
    let mut json = serde_json::Deserializer::from_str(line);
    let found = json.deserialize_map(Object { names }).and_then(|texts| {
        json.end()?;
        Ok(texts)
    });
    let texts = found.map_err(|e| describe(&e))?;
    let or_missing =
        |(text, name): (Option<_>, &&str)| text.ok_or_else(|| format!("no field `{name}`"));
    texts.into_iter().zip(names).map(or_missing).collect()
}

/// serde_json names line 1, which is not the line that a reader knows.
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let kind = if error.is_data() { "" } else { "not JSON: " };
    match error.column() {
        0 => format!("{kind}{message}"),
        column => format!("{kind}{message} (column {column})"),
    }
}

/// Takes some fields out of an object. Where one occurs twice the last counts, as JSON readers have it.
struct Object<'f> {
    names: &'f [&'f str],
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Option<Cow<'de, str>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = vec![None; self.names.len()];
        while let Some(wanted) = map.next_key_seed(Key(self.names))? {
            match wanted {
                Some(at) => texts[at] = Some(map.next_value_seed(Text(self.names[at]))?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(texts)
    }
}

/// Compares a key without keeping it: which of the names it is.
struct Key<'f>(&'f [&'f str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

struct Text<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string in field `{}`", self.0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(line: &'a [u8], field: &str) -> Result<Cow<'a, str>, String> {
        strings(line, &[field]).map(|mut texts| texts.remove(0))
    }

    #[test]
    fn several_fields_come_in_the_order_of_the_names() {
        let line = br#"{"body":"b","path":"p","docstring":"d"}"#;
        assert_eq!(strings(line, &["docstring", "body"]).unwrap(), ["d", "b"]);
        assert_eq!(strings(line, &["docstring", "signature"]).unwrap_err(), "no field `signature`");
    }

    #[test]
    fn the_field_is_found_wherever_it_stands() {
        for line in [
            r#"{"text":"a"}"#,
            r#" { "id" : [1, {"text": 5}], "text" : "a" , "x": null } "#,
            r#"{"text":"no","text":"a"}"#,
            "{\"te\\u0078t\":\"\\u0061\"}\r",
        ] {
            assert_eq!(text(line.as_bytes(), "text").unwrap(), "a", "{line}");
        }
        assert_eq!(text(br#"{"text":"a","body":"b"}"#, "body").unwrap(), "b");
        assert_eq!(text(br#"{"text":"q\"\n\ud83d\ude00"}"#, "text").unwrap(), "q\"\n😀");
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(text(br#"{"text":"plain"}"#, "text"), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn every_fault_is_named() {
        let why = |line: &[u8]| text(line, "text").unwrap_err();
        assert_eq!(why(br#"{"text":"a""#), "not JSON: EOF while parsing an object (column 11)");
        assert_eq!(why(b"int main() {}"), "not JSON: expected value (column 1)");
        assert_eq!(why(br#"{"text":"a"} x"#), "not JSON: trailing characters (column 14)");
        assert_eq!(why(br#"{"body":"a"}"#), "no field `text`");
        assert_eq!(
            why(br#"{"text":5}"#),
            "invalid type: integer `5`, expected a string in field `text` (column 9)"
        );
        assert_eq!(
            why(br#"{"text":null}"#),
            "invalid type: null, expected a string in field `text` (column 12)"
        );
        assert_eq!(why(b"[1]"), "invalid type: sequence, expected a JSON object");
        assert_eq!(why(b"{\"text\":\"\xff\"}"), "not UTF-8 (byte 10 of the line)");
        assert!(why(br#"{"text":"\ud83d"}"#).starts_with("not JSON: "));
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(why(deep.as_bytes()).starts_with("not JSON: "));
    }
}
