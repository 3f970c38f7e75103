//! What `--data` names: paths of documents with their weights.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// One data set of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSet {
    /// A file of documents or a folder of them.
    pub path: PathBuf,
    /// Its share of the tokens, relative to that of the other sets. Without weights the sets count by their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

impl DataSet {
    /// A set without a weight.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DataSet { path: path.into(), weight: None }
    }
}

impl FromStr for DataSet {
    type Err = Infallible;

    /// `PATH` or `PATH=WEIGHT`. What follows the last `=` is a part of the path unless it is a number.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let weighted = text.rsplit_once('=').and_then(|(path, weight)| {
            let weight = weight.parse().ok().filter(|_| !path.is_empty())?;
            Some(DataSet { path: path.into(), weight: Some(weight) })
        });
        Ok(weighted.unwrap_or_else(|| DataSet::new(text)))
    }
}

impl<'de> Deserialize<'de> for DataSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Fields { path: PathBuf, weight: Option<f64> },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().unwrap_or_else(|never: Infallible| match never {}),
            Form::Fields { path, weight } => DataSet { path, weight },
        })
    }
}

/// One set or a list of them.
///
/// # Errors
/// When it is neither.
pub fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DataSet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(DataSet),
        More(Vec<DataSet>),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::One(set) => vec![set],
        Form::More(sets) => sets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, Option<f64>) {
        let set: DataSet = text.parse().unwrap();
        (set.path.to_str().unwrap().to_owned(), set.weight)
    }

    #[test]
    fn a_number_behind_the_last_equals_sign_is_a_weight() {
        assert_eq!(parse("docs"), ("docs".to_owned(), None));
        assert_eq!(parse("a/b=0.7"), ("a/b".to_owned(), Some(0.7)));
        assert_eq!(parse("x=y"), ("x=y".to_owned(), None));
        assert_eq!(parse("x=2=1"), ("x=2".to_owned(), Some(1.0)));
        assert_eq!(parse("=3"), ("=3".to_owned(), None));
    }

    #[test]
    fn a_saved_list_reads_back_and_so_does_a_single_path() {
        #[derive(Deserialize)]
        struct Settings {
            #[serde(deserialize_with = "one_or_more")]
            data: Vec<DataSet>,
        }
        let read = |json: &str| serde_json::from_str::<Settings>(json).unwrap().data;
        assert_eq!(read("{\"data\": \"docs\"}"), [DataSet::new("docs")]);
        let sets = vec![DataSet::new("a"), DataSet { path: "b".into(), weight: Some(0.3) }];
        let json = serde_json::to_string(&sets).unwrap();
        assert_eq!(read(&format!("{{\"data\": {json}}}")), sets);
        assert_eq!(read("{\"data\": [\"a\", \"b=0.3\"]}"), sets);
    }
}
