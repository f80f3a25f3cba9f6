//! Parameters of the Query protocol: lists as `Name.N`, structures as `A.N.B`.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;

/// The parameters of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Parses a form.
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Returns parameters with these values.
    pub(super) fn of(values: impl Iterator<Item = (String, String)>) -> Self {
        Self(values.collect())
    }

    /// Returns a value; `None` if missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a value, or an error that names it.
    pub(super) fn need(&self, name: &str) -> Result<&str, Fault> {
        let message = || format!("The request must contain the parameter {name}");
        self.get(name).ok_or_else(|| Fault::new("MissingParameter", message()))
    }

    /// Returns a boolean.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Fault::value(name, other)),
        }
    }

    /// Returns a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Fault> {
        let read = |text: &str| text.parse().map_err(|_| Fault::value(name, text));
        self.get(name).map(read).transpose()
    }

    /// Returns the values of `name.1`, `name.2`, … in order.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.members(name).iter().filter_map(|n| self.get(&format!("{name}.{n}"))).collect()
    }

    /// Returns the numbers `N` of all `name.N` and `name.N.…`.
    pub(super) fn members(&self, name: &str) -> BTreeSet<u32> {
        let prefix = format!("{name}.");
        let all = self.0.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        all.filter_map(|(key, _)| key[prefix.len()..].split('.').next()?.parse().ok()).collect()
    }

    /// Returns all names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns all names with their values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone()))
    }

    /// Returns all other parameters as text, equal for equal parameters.
    pub(super) fn text_without(&self, left_out: &[&str]) -> String {
        let kept = self.0.iter().filter(|(key, _)| !left_out.contains(&key.as_str()));
        kept.fold(String::new(), |text, (key, value)| text + key + "=" + value + "\n")
    }
}
