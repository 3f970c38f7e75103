//! One line of JSONL to a text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The text in `line`'s field, borrowed where no escape has to be resolved, or why there is none.
pub(crate) fn text<'a>(line: &'a [u8], field: &str) -> Result<Cow<'a, str>, String> {
    let line = std::str::from_utf8(line)
        .map_err(|e| format!("not UTF-8 (byte {} of the line)", e.valid_up_to() + 1))?;
    let mut json = serde_json::Deserializer::from_str(line);
    let found = json.deserialize_map(Object { field }).and_then(|text| {
        json.end()?;
        Ok(text)
    });
    match found {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("no field `{field}`")),
        Err(e) => Err(describe(&e)),
    }
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

/// Takes one field out of an object. Where it occurs twice the last counts, as JSON readers have it.
struct Object<'f> {
    field: &'f str,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut text = None;
        while let Some(is_field) = map.next_key_seed(Key(self.field))? {
            if is_field {
                text = Some(map.next_value_seed(Text(self.field))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(text)
    }
}

/// Compares a key without keeping it.
struct Key<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
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
