//! Events as `/v1` answers them.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Milestone, Run};

use super::ring::{Entry, Object, Subject};
use crate::api::{Event, EventKind, EventObject};
use crate::words::events::{EventData, EventText, told};

/// Returns an event in words. `replica` is the name of the process that keeps it.
pub fn view(entry: &Entry, replica: &str) -> Event {
    let id = Some(format!("{replica}:{}", entry.sequence));
    let Entry { object, what, first, last, count, .. } = entry;
    in_words(id, object, what, (*first, *last), *count)
}

/// Returns a milestone of a record as an event. It has no ID.
pub fn of_timeline(run: &Run, milestone: &Milestone) -> Event {
    let object = Object::Run(Subject::of(run));
    let what = EventData::Milestone(milestone.what.clone());
    in_words(None, &object, &what, (milestone.at, milestone.at), 1)
}

fn in_words(
    id: Option<String>,
    object: &Object,
    what: &EventData,
    (first_at, last_at): (Timestamp, Timestamp),
    count: u64,
) -> Event {
    let EventText { is_warning, reason, message } = told(what);
    let mut event = Event {
        id,
        kind: if is_warning { EventKind::Warning } else { EventKind::Normal },
        reason: reason.into_owned(),
        message,
        object: EventObject { kind: String::new(), name: String::new() },
        repo: String::new(),
        job: String::new(),
        url: String::new(),
        count,
        first_at,
        last_at,
        by: what.by(),
    };
    let (kind, name) = match object {
        Object::Run(subject) => {
            event.repo.clone_from(&subject.repo);
            event.job.clone_from(&subject.job);
            event.url.clone_from(&subject.url);
            ("run", subject.name.to_string())
        }
        Object::Class(class) => ("class", class.to_string()),
        Object::Everything => ("classes", "all".to_owned()),
        Object::Service(service) => ("service", (*service).to_owned()),
        Object::Labels(labels) => ("labels", labels.join(",")),
    };
    event.object = EventObject { kind: kind.to_owned(), name };
    event
}
