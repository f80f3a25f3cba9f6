//! The cursor of a page of runs: the last run on it.

use crate::model::RunName;

/// The creation time and name of the last run on a page. Newest first is descending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Creation time of the run, in microseconds since the Unix epoch.
    pub created: i64,
    /// The run's name.
    pub name: String,
}

impl Cursor {
    /// Parses what [`Self::text`] wrote.
    ///
    /// # Errors
    /// Returns a message for people if the text is not a cursor.
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
                "invalid cursor `{}`: use the `next` of the previous page",
                shown.escape_debug()
            )
        })
    }

    /// Returns the cursor as text for answers.
    pub fn text(&self) -> String {
        hex::encode(format!("{} {}", self.created, self.name))
    }
}
