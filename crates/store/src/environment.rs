//! The variables that say how stores are reached: the process's own, or others in their place.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// In place of the process's; none of its own are seen then.
    given: Option<BTreeMap<String, String>>,
}

impl Environment {
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { given: Some(variables.iter().map(owned).collect()) }
    }

    /// A variable's value; an empty one counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.given {
            Some(given) => given.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        match &self.given {
            Some(_) => self.get(name).map(PathBuf::from),
            None => std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from),
        }
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "on" | "y")
    }

    /// All variables whose names begin so, the names in small letters as clients want them.
    pub(crate) fn beginning(&self, prefix: &str) -> Vec<(String, String)> {
        let all: Vec<(String, String)> = match &self.given {
            Some(given) => given.clone().into_iter().collect(),
            None => std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        };
        let wanted = all.into_iter().filter(|(name, _)| name.starts_with(prefix));
        wanted.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }
}
