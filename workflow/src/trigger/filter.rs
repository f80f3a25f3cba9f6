//! Evaluates one filter of an event.

use std::fmt;

use serde_json::Value;

use super::super::Dialect;
use super::super::glob::{Patterns, TypesPattern};
use super::super::on::Filter;
use super::{Changed, Event};

/// The result of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The filter's key, as written.
    pub key: String,
    /// Whether it lets the event through.
    pub satisfied: bool,
    /// The reason.
    pub why: FilterReason,
}

/// The reason why a filter is satisfied, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterReason {
    /// A list without patterns lets everything through.
    NoPatterns,
    /// This input is included by this pattern.
    Included {
        /// The branch, tag, path or name.
        input: String,
        /// The pattern that decided, as written.
        pattern: String,
    },
    /// No input is included; the first is excluded by this pattern, if by any.
    NotIncluded {
        /// The first branch, tag, path or name.
        input: String,
        /// The pattern that excluded it, as written.
        pattern: Option<String>,
        /// The number of inputs.
        inputs: usize,
    },
    /// This input is not ignored.
    NotIgnored {
        /// The branch, tag, path or name.
        input: String,
    },
    /// All inputs are ignored, the first by this pattern.
    Ignored {
        /// The first branch, tag, path or name.
        input: String,
        /// The first pattern that ignores it, as written.
        pattern: String,
        /// The number of inputs.
        inputs: usize,
    },
    /// No file has changed: no pattern includes anything, and every one ignores everything.
    NothingChanged,
    /// Git cannot tell what has changed.
    ChangedUnknown(String),
    /// A filter of branches while a tag was pushed, or the other way round.
    OtherKindOfRef,
    /// Every tag passes filters of paths.
    TagPushed,
    /// A pattern does not compile, which disables the filter.
    NoPattern(String),
    /// A pattern of `types` does not compile; the server then ignores the event.
    NoTypesPattern(String),
    /// The activity is one of these.
    Activity {
        /// GitHub's names for it.
        activities: Vec<String>,
    },
    /// The activity is none of these.
    OtherActivity {
        /// GitHub's names for it.
        activities: Vec<String>,
    },
    /// The event does not support this filter.
    UnknownFilter,
}

impl fmt::Display for FilterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPatterns => f.write_str("it has no patterns"),
            Self::Included { input, pattern } => write!(f, "`{input}` is included by `{pattern}`"),
            Self::NotIncluded { input, pattern: Some(pattern), inputs: 1 } => {
                write!(f, "`{input}` is excluded by `{pattern}`")
            }
            Self::NotIncluded { input, pattern: None, inputs: 1 } => {
                write!(f, "no pattern includes `{input}`")
            }
            Self::NotIncluded { input, pattern, inputs } => {
                write!(f, "none of {inputs} is included: not `{input}`")?;
                pattern.as_ref().map_or(Ok(()), |pattern| write!(f, ", by `{pattern}`"))
            }
            Self::NotIgnored { input } => write!(f, "`{input}` is not ignored"),
            Self::Ignored { input, pattern, inputs: 1 } => {
                write!(f, "`{input}` is ignored by `{pattern}`")
            }
            Self::Ignored { input, pattern, inputs } => {
                write!(f, "all of {inputs} are ignored: `{input}` by `{pattern}`")
            }
            Self::NothingChanged => f.write_str("no file has changed"),
            Self::ChangedUnknown(why) => write!(f, "the changed files are unknown: {why}"),
            Self::OtherKindOfRef => f.write_str("a ref of another kind was pushed"),
            Self::TagPushed => f.write_str("every tag passes"),
            Self::NoPattern(why) | Self::NoTypesPattern(why) => f.write_str(why),
            Self::Activity { activities } => write!(f, "the activity is {}", activities.join(", ")),
            Self::OtherActivity { activities } if activities.is_empty() => {
                f.write_str("the activity has no name")
            }
            Self::OtherActivity { activities } => {
                write!(
                    f,
                    "the activity is {}, which `types` does not include",
                    activities.join(", ")
                )
            }
            Self::UnknownFilter => f.write_str("the event does not support this filter"),
        }
    }
}

impl Judgement {
    fn new(filter: &Filter, satisfied: bool, why: FilterReason) -> Self {
        Self { key: filter.key.clone(), satisfied, why }
    }

    /// A filter that the event does not support is never satisfied.
    pub(super) fn unknown(filter: &Filter) -> Self {
        Self::new(filter, false, FilterReason::UnknownFilter)
    }
}

/// Whether a list of patterns includes or ignores.
#[derive(Clone, Copy)]
enum Sense {
    Include,
    Ignore,
}

use Sense::{Ignore, Include};

pub(super) fn push(
    filter: &Filter,
    event: &Event<'_>,
    changed: &Changed,
    dialect: Dialect,
) -> Judgement {
    let pushed = event.pushed_ref();
    let name = |prefix, sense| match pushed.strip_prefix(prefix) {
        Some(name) => patterns(filter, sense, &[name], dialect),
        None => Judgement::new(filter, false, FilterReason::OtherKindOfRef),
    };
    match filter.key.as_str() {
        "branches" => name(BRANCH, Include),
        "branches-ignore" => name(BRANCH, Ignore),
        "tags" => name(TAG, Include),
        "tags-ignore" => name(TAG, Ignore),
        "paths" | "paths-ignore" if pushed.starts_with(TAG) => {
            Judgement::new(filter, true, FilterReason::TagPushed)
        }
        "paths" => paths(filter, Include, changed, dialect),
        "paths-ignore" => paths(filter, Ignore, changed, dialect),
        _ => Judgement::unknown(filter),
    }
}

/// Prefix of the full name of a branch.
pub(crate) const BRANCH: &str = "refs/heads/";
/// Prefix of the full name of a tag.
pub(crate) const TAG: &str = "refs/tags/";

pub(super) fn pull_request(
    filter: &Filter,
    event: &Event<'_>,
    changed: &Changed,
    dialect: Dialect,
) -> Judgement {
    let base = event.text("/pull_request/base/ref");
    let base = [BRANCH, TAG, "refs/remotes/"]
        .iter()
        .find_map(|prefix| base.strip_prefix(prefix))
        .unwrap_or(base);
    match filter.key.as_str() {
        "branches" => patterns(filter, Include, &[base], dialect),
        "branches-ignore" => patterns(filter, Ignore, &[base], dialect),
        "paths" => paths(filter, Include, changed, dialect),
        "paths-ignore" => paths(filter, Ignore, changed, dialect),
        _ => Judgement::unknown(filter),
    }
}

pub(super) fn workflow_run(filter: &Filter, event: &Event<'_>, dialect: Dialect) -> Judgement {
    let branch = event.text("/workflow_run/head_branch");
    match filter.key.as_str() {
        "workflows" => patterns(filter, Include, &[event.text("/workflow/name")], dialect),
        "branches" => patterns(filter, Include, &[branch], dialect),
        "branches-ignore" => patterns(filter, Ignore, &[branch], dialect),
        _ => Judgement::unknown(filter),
    }
}

fn paths(filter: &Filter, sense: Sense, changed: &Changed, dialect: Dialect) -> Judgement {
    match changed {
        Changed::Files(files) => patterns(filter, sense, files, dialect),
        Changed::Unknown(why) => {
            Judgement::new(filter, false, FilterReason::ChangedUnknown(why.clone()))
        }
    }
}

fn patterns<S: AsRef<str>>(
    filter: &Filter,
    sense: Sense,
    inputs: &[S],
    dialect: Dialect,
) -> Judgement {
    let list = match Patterns::new(&filter.patterns, dialect) {
        Ok(list) => list,
        Err(error) => {
            return Judgement::new(filter, false, FilterReason::NoPattern(error.to_string()));
        }
    };
    let Some(first) = inputs.first().map(AsRef::as_ref) else {
        let empty = filter.patterns.is_empty();
        let why = if empty { FilterReason::NoPatterns } else { FilterReason::NothingChanged };
        return Judgement::new(filter, empty, why);
    };
    if filter.patterns.is_empty() {
        return Judgement::new(filter, true, FilterReason::NoPatterns);
    }
    let pattern = |index: usize| filter.patterns[index].clone();
    let each = || inputs.iter().map(AsRef::as_ref);
    let decided = |index: Option<usize>| index.map(pattern).unwrap_or_default();
    let count = inputs.len();
    let (satisfied, why) = match sense {
        Include => each().find(|input| list.includes(input)).map_or_else(
            || {
                let pattern = list.deciding(first).map(pattern);
                (
                    false,
                    FilterReason::NotIncluded { input: first.to_owned(), pattern, inputs: count },
                )
            },
            |input: &str| {
                let pattern = decided(list.deciding(input));
                (true, FilterReason::Included { input: input.to_owned(), pattern })
            },
        ),
        Ignore => each().find(|input| list.ignoring(input).is_none()).map_or_else(
            || {
                let pattern = decided(list.ignoring(first));
                (false, FilterReason::Ignored { input: first.to_owned(), pattern, inputs: count })
            },
            |input: &str| (true, FilterReason::NotIgnored { input: input.to_owned() }),
        ),
    };
    Judgement::new(filter, satisfied, why)
}

/// Evaluates `types`: GitHub's name of the activity against patterns.
pub(super) fn types(filter: &Filter, event: &Event<'_>) -> Judgement {
    let activities = activities(event);
    for pattern in &filter.patterns {
        match TypesPattern::new(pattern) {
            Err(error) => {
                return Judgement::new(
                    filter,
                    false,
                    FilterReason::NoTypesPattern(error.to_string()),
                );
            }
            Ok(compiled) if activities.iter().any(|activity| compiled.matches(activity)) => {
                return Judgement::new(
                    filter,
                    true,
                    FilterReason::Activity { activities: owned(&activities) },
                );
            }
            Ok(_) => {}
        }
    }
    Judgement::new(filter, false, FilterReason::OtherActivity { activities: owned(&activities) })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The names of the activity for `types`.
fn activities<'a>(event: &Event<'a>) -> Vec<&'a str> {
    let action = event.text("/action");
    let issue = event.name.starts_with("issue") && event.name != "issue_comment";
    match event.name {
        _ if issue => match action {
            "label_updated" => {
                let any_labels = |path| {
                    let labels = event.payload.pointer(path).and_then(Value::as_array);
                    labels.is_some_and(|labels| !labels.is_empty())
                };
                let both = [
                    any_labels("/changes/added_labels").then_some("labeled"),
                    any_labels("/changes/removed_labels").then_some("unlabeled"),
                ];
                both.into_iter().flatten().collect()
            }
            "label_cleared" => vec!["unlabeled"],
            _ => vec![action],
        },
        "pull_request_review_approved" | "pull_request_review_rejected" => match action {
            "reviewed" => vec!["submitted", "edited"],
            _ => vec![],
        },
        "pull_request_review_comment" => match action {
            "reviewed" => vec!["created", "edited"],
            _ => vec![],
        },
        "release" if action == "updated" => vec!["edited"],
        "package" if action == "created" => vec!["published"],
        _ if super::is_pull_request(event.name) => match action {
            "synchronized" => vec!["synchronize"],
            // Even if a label was removed.
            "label_updated" => vec!["labeled"],
            "label_cleared" => vec!["unlabeled"],
            _ => vec![action],
        },
        _ => vec![action],
    }
}
