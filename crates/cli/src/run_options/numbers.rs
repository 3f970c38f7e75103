//! Lists of whole numbers: `0,-1` as a flag; that, `[0, -1]` or one number in a file.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::Error;

/// Whole numbers in the order in which they were given, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<i64>);

impl Numbers {
    /// The numbers.
    pub fn values(&self) -> &[i64] {
        &self.0
    }

    /// As a flag has them.
    pub fn joined(&self) -> String {
        let names: Vec<String> = self.0.iter().map(i64::to_string).collect();
        names.join(",")
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<i64>().ok();
        let numbers: Option<Vec<i64>> = text.split(',').map(number).collect();
        numbers.map(Numbers).ok_or_else(|| "expected whole numbers, as in 0,-1".to_owned())
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected whole numbers, as in [0, -1]")]
        enum Form {
            One(i64),
            Many(Vec<i64>),
            Text(String),
        }
        let numbers = match Form::deserialize(deserializer)? {
            Form::One(number) => vec![number],
            Form::Many(numbers) => numbers,
            Form::Text(text) => text.parse::<Numbers>().map_err(D::Error::custom)?.0,
        };
        if numbers.is_empty() {
            return Err(D::Error::custom("expected at least one number"));
        }
        Ok(Numbers(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        list: Numbers,
    }

    #[test]
    fn lists_are_numbers_with_commas() {
        let values = |text: &str| text.parse::<Numbers>().map(|numbers| numbers.0);
        assert_eq!(values("0,-1"), Ok(vec![0, -1]));
        assert_eq!(values(" 3 , 2"), Ok(vec![3, 2]));
        assert_eq!("0,-1".parse::<Numbers>().unwrap().joined(), "0,-1");
        for bad in ["", "all", "1,", "1;2", "1.5", "99999999999999999999"] {
            assert!(values(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_have_them_in_three_forms() {
        let values = |text: &str| toml::from_str::<File>(text).map(|file| file.list.0);
        assert_eq!(values("list = [0, -1]").unwrap(), [0, -1]);
        assert_eq!(values("list = -1").unwrap(), [-1]);
        assert_eq!(values("list = '0,-1'").unwrap(), [0, -1]);
        for bad in ["list = []", "list = 'x'", "list = true", "list = [0.5]"] {
            assert!(values(bad).is_err(), "{bad}");
        }
    }
}
