//! Pauses: classes that launch nothing until a person resumes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::ClassName;
use crate::text::cut;

/// The maximum length of a name in a message, in columns.
const NAME: usize = 60;

/// A pause: no new machine is launched, and nothing that runs is touched. The store keeps it, so
/// that it holds for every replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Pause {
    /// The class; `null` for every class.
    #[serde(default)]
    pub class: Option<ClassName>,
    /// Time at which it began.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// The caller who asked for it: the name of a token, or `uid 1000`.
    #[serde(default)]
    pub by: String,
}

impl Pause {
    /// Returns whether it covers this class.
    pub fn covers(&self, class: &ClassName) -> bool {
        self.class.as_ref().is_none_or(|own| own == class)
    }

    /// Says what is paused, by whom, and how to end it.
    pub fn message(&self) -> String {
        let by = cut(&self.by, NAME);
        match &self.class {
            None => format!("all launches are paused by {by}; `tinqs-ci resume` ends that"),
            Some(class) => {
                let class = cut(&class.0, NAME);
                format!(
                    "launches of class {class} are paused by {by}; `tinqs-ci resume {class}` ends \
                     that"
                )
            }
        }
    }
}

/// Returns the pause that covers a class, that of every class first.
pub fn paused<'a>(pauses: &'a [Pause], class: &ClassName) -> Option<&'a Pause> {
    let covering = pauses.iter().filter(|pause| pause.covers(class));
    covering.min_by_key(|pause| pause.class.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(class: Option<&str>) -> Pause {
        let class = class.map(|name| ClassName(name.to_owned()));
        Pause { class, since: Timestamp::UNIX_EPOCH, by: "ops".to_owned() }
    }

    #[test]
    fn a_class_is_paused_by_its_own_pause_or_by_that_of_all() {
        let linux = ClassName("linux".to_owned());
        let (own, other, all) = (pause(Some("linux")), pause(Some("gpu")), pause(None));
        assert_eq!(paused(&[], &linux), None);
        assert_eq!(paused(std::slice::from_ref(&other), &linux), None);
        assert_eq!(paused(&[other, own.clone()], &linux), Some(&own));
        assert_eq!(paused(&[own, all.clone()], &linux), Some(&all), "what must end first");
    }

    #[test]
    fn the_message_says_how_to_end_it() {
        let own = pause(Some("linux")).message();
        assert_eq!(
            own,
            "launches of class linux are paused by ops; `tinqs-ci resume linux` ends that"
        );
        let all = pause(None).message();
        assert_eq!(all, "all launches are paused by ops; `tinqs-ci resume` ends that");
    }
}
