//! The generated part of `docs/troubleshooting.md`: a heading for each reason, with the words that
//! `tinqs-ci why` prints about it.

use std::fmt::Write as _;

use tinqs_ci::words::reasons::{self, Advice};
use tinqs_ci::words::services::ServiceReason;
use tinqs_ci_reconciler::model::Reason;

use super::wrapped;

/// Returns the headings of all reasons with their words, those of services last.
pub(super) fn text() -> String {
    let mut page = String::new();
    for reason in Reason::ALL {
        let Advice { waits_for, next, fix, .. } = reasons::of(*reason);
        heading(&mut page, reason.as_str(), details(*reason));
        entry(&mut page, "waits for", waits_for);
        entry(&mut page, "next", next);
        entry(&mut page, "to unblock", fix);
        page.push('\n');
    }
    for reason in ServiceReason::ALL {
        heading(&mut page, reason.as_str(), details_of_service(*reason));
        entry(&mut page, "message", &reason.sentence("…"));
        entry(&mut page, "waits for", reason.waits_for());
        entry(&mut page, "to unblock", reason.fix("…"));
        page.push('\n');
    }
    page
}

fn heading(page: &mut String, name: &str, details: &str) {
    let _ = writeln!(page, "### `{name}`\n");
    if !details.is_empty() {
        let _ = writeln!(page, "{}\n", wrapped(details, ""));
    }
}

fn entry(page: &mut String, title: &str, text: &str) {
    if !text.is_empty() {
        let text = text.replace("[[class]]", "`[[class]]`");
        let _ = writeln!(page, "{}", wrapped(&format!("- **{title}** {text}"), "  "));
    }
}

/// Returns what the words of `why` leave out.
fn details(reason: Reason) -> &'static str {
    match reason {
        Reason::Blocked => {
            "The forge holds the job back. `tinqs-ci why NAME` names the jobs that it needs and \
             what they do, or says that it waits for an approval or its concurrency group."
        }
        Reason::NoClass => {
            "No class has all of its labels and, if the class has `repos`, names its repository \
             there."
        }
        Reason::MachineReassigned => "This lasts a minute at most.",
        Reason::BackingOff => {
            "The message says why the attempts ended, with what the cloud said about the end of \
             the machine and the last line of its log."
        }
        Reason::NoCapacity => {
            "Every machine spec of the class was refused recently: no capacity, no address, an \
             account limit, or not offered at all, which the message says."
        }
        Reason::Paused => "The message says who paused the launches of its class, or of all.",
        Reason::Budget => "The message says whether the budget is spent or no price is known.",
        Reason::Paced => {
            "On AWS launches are paced at 1.9 a second: this lasts seconds, in a burst of 1,000 \
             jobs up to nine minutes."
        }
        Reason::AtLimit => {
            "`limit` is 20 by default. `tinqs-ci why NAME` says which limit is reached, or that \
             jobs of other owners get the next machines ([Fair \
             shares](how-it-works.md#fair-shares))."
        }
        Reason::BreakerOpen => {
            "The message says whether the cloud denies the launches of the class, rejects them as \
             invalid or ended the latest two machines before they booted ([its \
             runbook](runbooks/breaker-open.md)), or whether the latest three machines never came \
             online ([its runbook](runbooks/image-broken.md)). When one attempt succeeds, all \
             continue."
        }
        Reason::MachineLost => {
            "The message says how the machine ended, as far as it is known, and names the run \
             that it was launched for, if that is another one."
        }
        Reason::AwaitsRerun => {
            "The cloud took the machine of the job ([Run on spot machines](how-to/spot.md)). If \
             the forge denies the rerun, the message names the right that the token lacks."
        }
        _ => "",
    }
}

fn details_of_service(reason: ServiceReason) -> &'static str {
    match reason {
        ServiceReason::ForgeDenied => {
            "If the message says 401, the token is expired or was deleted: set a new one as \
             `forge.token`, or write it to its file."
        }
        ServiceReason::ForgeUnreachable => "While the forge restarts, nothing has to be done.",
        ServiceReason::StoreFailing => {
            "If the message says that an index is being created, nothing has to be done: DynamoDB \
             takes minutes over many items."
        }
        _ => "",
    }
}
