//! Where a page of runs ends: the last run that was gone past.

use crate::model::RunName;

/// When the run was made, in microseconds of Unix time, and its name. Newest first is descending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the run was made, in microseconds of Unix time.
    pub created: i64,
    /// The run's name.
    pub name: String,
}

impl Cursor {
    /// From what [`Self::text`] wrote. The error is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let plain = String::from_utf8(hex::decode(text).ok()?).ok()?;
            let (created, name) = plain.split_once(' ')?;
            let name = name.parse::<RunName>().ok()?.to_string();
            Some(Self { created: created.parse().ok()?, name })
        };
        let shown: String = text.chars().take(60).collect();
        parse().ok_or_else(|| {
            format!(
                "`{}` is not a cursor: take the `next` of the page before",
                shown.escape_debug()
            )
        })
    }

    /// As answers carry it.
    pub fn text(&self) -> String {
        hex::encode(format!("{} {}", self.created, self.name))
    }
}
