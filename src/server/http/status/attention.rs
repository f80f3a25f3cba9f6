//! Everything that is not well, most important first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::{ClockReading, UnservedLabels};
use tinqs_ci_reconciler::model::{ClassName, ClassSpend, MachineSpec, Run, SpotBreaker};
use tinqs_ci_reconciler::text::cut;

use super::{ATTENTION, App, StatusData, class_of};
use crate::api::status::Attention;
use crate::telemetry::{Failure, SERVICES};
use crate::words::clock::{self, CLOCK_DIFFERS};
use crate::words::foreign::{self, FOREIGN_MACHINE};
use crate::words::newer::{self, NEWER_RECORD};
use crate::words::reasons::{
    self, BREAKER_OPEN, NO_CLASS, PAUSED, PRICE_UNKNOWN, SPOT_BREAKER_OPEN, Weight, advice,
};
use crate::words::services::{ServiceReason, service_name};
use crate::words::unserved::{fix_repos, sentence as unserved_sentence};

/// A service that cannot be reached needs a person from then on; shorter outages pass by themselves.
const OUTAGE: SignedDuration = SignedDuration::from_mins(1);
/// A refused delivery is told for so long, unless a later one is accepted.
const REFUSED_RECENTLY: SignedDuration = SignedDuration::from_hours(1);
/// Failed attempts and missing capacity need a person once they have lasted for so long.
const LASTING: SignedDuration = SignedDuration::from_mins(10);
/// After the start, webhooks are expected for so long before their absence is told.
const WEBHOOKS_EXPECTED: SignedDuration = SignedDuration::from_mins(10);

/// Returns everything that is not well. What needs a person comes first.
pub(in crate::server::http) fn all(app: &App, known: &StatusData) -> Vec<Attention> {
    let mut all = services(app, known);
    all.extend(clock(app));
    all.extend(known.pauses.iter().map(|pause| {
        let subject = pause.class.as_ref().map_or_else(
            || "all classes".to_owned(),
            |class| format!("class {}", cut(&class.0, 60)),
        );
        let attention = of_reason(PAUSED, subject, Some(pause.since), &pause.message());
        // The message says how to end it.
        Attention { fix: String::new(), ..attention }
    }));
    all.extend(known.breakers.iter().map(|(class, breaker)| {
        of_reason(BREAKER_OPEN, format!("class {class}"), Some(breaker.since), &breaker.message)
    }));
    all.extend(known.spend.budgets.iter().filter_map(|own| unpriced(app, own)));
    all.extend(known.boot_stops.iter().map(|(class, stop)| {
        let subject = format!("class {}", cut(&class.0, 60));
        of_reason(BREAKER_OPEN, subject, Some(stop.since), &stop.detail())
    }));
    all.extend(known.spot_breakers.iter().map(|(class, breaker)| spot_breaker(class, breaker)));
    all.extend(webhook_refused(app, known));
    let sets = known.unserved.iter().flat_map(|last| &last.sets);
    all.extend(sets.map(|(set, since)| unserved(set, *since)));
    all.extend(known.lost.iter().filter_map(|run| {
        // One whose job is run again needs nobody.
        let lost = run.status.lost().filter(|condition| condition.reason.is_lost())?;
        Some(of_reason(lost.reason.as_str(), run.name.to_string(), Some(lost.since), &lost.message))
    }));
    all.extend(failing_runs(app, known));
    all.extend(blocked_classes(app, known));
    all.extend(no_webhook(app, known));
    all.extend(newer_records(app));
    all.extend(foreign(app));
    // Stable: within both parts the order stays.
    all.sort_by_key(|attention| !attention.needs_person);
    all.truncate(ATTENTION);
    all
}

fn of_reason(reason: &str, subject: String, since: Option<Timestamp>, message: &str) -> Attention {
    let reasons::Advice { fix, weight, .. } = advice(reason);
    Attention {
        reason: reason.to_owned(),
        subject,
        since,
        message: message.to_owned(),
        fix: fix.to_owned(),
        needs_person: weight == Weight::Person,
    }
}

/// The clock of this process, if it differs from the true time.
fn clock(app: &App) -> Option<Attention> {
    let ClockReading { check, ahead } = app.controller.clock();
    let ahead = ahead.filter(|_| !check.agrees())?;
    Some(Attention {
        reason: CLOCK_DIFFERS.to_owned(),
        subject: "clock".to_owned(),
        since: None,
        message: clock::differs(ahead),
        fix: clock::FIX.to_owned(),
        needs_person: true,
    })
}

/// Machines that carry our tags and that we did not launch.
fn foreign(app: &App) -> Option<Attention> {
    let machines = app.controller.ports().compute.foreign();
    (!machines.is_empty()).then(|| Attention {
        reason: FOREIGN_MACHINE.to_owned(),
        subject: "machines".to_owned(),
        since: None,
        message: foreign::sentence(&machines),
        fix: foreign::FIX.to_owned(),
        needs_person: false,
    })
}

/// Records of a newer format than this release reads.
fn newer_records(app: &App) -> Option<Attention> {
    let records = app.controller.ports().store.newer();
    (!records.is_empty()).then(|| Attention {
        reason: NEWER_RECORD.to_owned(),
        subject: "records".to_owned(),
        since: None,
        message: newer::sentence(&records),
        fix: newer::FIX.to_owned(),
        needs_person: true,
    })
}

/// Returns the services that fail, with their failures.
fn failing(app: &App) -> Vec<(&'static str, ServiceReason, Failure)> {
    let failing = SERVICES.iter().filter_map(|name| {
        let failure = app.telemetry.contacts.of(name).failing()?.clone();
        Some((*name, ServiceReason::of(name, failure.kind)?, failure))
    });
    failing.collect()
}

fn services(app: &App, known: &StatusData) -> Vec<Attention> {
    let mut found: Vec<Attention> = Vec::new();
    for (name, reason, failure) in failing(app) {
        let lasting = known.now.duration_since(failure.since) > OUTAGE;
        found.push(Attention {
            reason: reason.as_str().to_owned(),
            subject: service_name(name).to_owned(),
            since: Some(failure.since),
            message: reason.sentence(&failure.message),
            fix: reason.fix(&failure.message).to_owned(),
            needs_person: reason.needs_person() || lasting,
        });
    }
    // The read for this answer shows a failure at once.
    if let Err(error) = &known.open
        && !found.iter().any(|attention| attention.subject == "store")
    {
        found.push(Attention {
            reason: ServiceReason::StoreFailing.as_str().to_owned(),
            subject: "store".to_owned(),
            since: Some(known.now),
            message: ServiceReason::StoreFailing.sentence(&cut(&error.message, 300)),
            fix: ServiceReason::StoreFailing.fix(&error.message).to_owned(),
            needs_person: true,
        });
    }
    found
}

fn webhook_refused(app: &App, known: &StatusData) -> Option<Attention> {
    let counts = app.telemetry.deliveries.counts();
    let refused = counts.last_refused.filter(|refused| refused.unsigned)?;
    // Somebody else than the forge may have sent it, once.
    let old = known.now.duration_since(refused.at) > REFUSED_RECENTLY;
    if old || counts.last_accepted.is_some_and(|accepted| accepted > refused.at) {
        return None;
    }
    Some(Attention {
        reason: "WebhookRefused".to_owned(),
        subject: "webhook".to_owned(),
        since: Some(refused.at),
        message: format!("the last delivery was refused: {}", refused.why),
        fix: "set the same secret at the forge's webhook and in `forge.webhook_secret`".to_owned(),
        needs_person: true,
    })
}

/// Jobs were found by polling only, so deliveries do not arrive.
fn no_webhook(app: &App, known: &StatusData) -> Option<Attention> {
    let telemetry = &app.telemetry;
    let counts = telemetry.deliveries.counts();
    let none = counts.accepted + counts.ignored + counts.refused == 0;
    let expected = known.now.duration_since(telemetry.started_at) > WEBHOOKS_EXPECTED;
    let found = telemetry.metrics.found_by_polling() > 0;
    (app.role.ingests() && none && expected && found).then(|| Attention {
        reason: "NoWebhook".to_owned(),
        subject: "webhook".to_owned(),
        since: Some(telemetry.started_at),
        message: "no delivery has arrived since the start; jobs are found by polling only, which \
                  starts them later"
            .to_owned(),
        fix: "check the webhook with `tinqs-ci doctor`, and that the forge's `[webhook] \
              ALLOWED_HOST_LIST` permits this host"
            .to_owned(),
        needs_person: false,
    })
}

/// A class whose budget leaves machines out, because their price is not known.
fn unpriced(app: &App, own: &ClassSpend) -> Option<Attention> {
    let (first, more) = own.unpriced.split_first()?;
    let settings = app.controller.settings();
    let class = settings.classes.iter().find(|class| class.name == own.class)?;
    let is_all = class.machines.len() == own.unpriced.len();
    let name = |spec: &MachineSpec| format!("{} ({})", cut(&spec.kind, 60), spec.market);
    let mut kinds = vec![name(first)];
    for kind in more.iter().map(name) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let what = if is_all { "nothing" } else { "no such machine" };
    let kinds = kinds.join(", ");
    Some(Attention {
        reason: PRICE_UNKNOWN.to_owned(),
        subject: format!("class {}", cut(&own.class.0, 60)),
        since: None,
        message: format!(
            "the price of {} is not known: because of its budget the class launches {what}",
            cut(&kinds, 200)
        ),
        fix: "allow `ec2:DescribeSpotPriceHistory`, and check that the region offers these `kinds`"
            .to_owned(),
        needs_person: is_all,
    })
}

/// A class that prefers machines on demand for a while.
fn spot_breaker(class: &ClassName, breaker: &SpotBreaker) -> Attention {
    Attention {
        reason: SPOT_BREAKER_OPEN.to_owned(),
        subject: format!("class {}", cut(&class.0, 60)),
        since: Some(breaker.since),
        message: breaker.detail(),
        fix: "nothing, it passes by itself; more `kinds` and `subnets` make interruptions rarer"
            .to_owned(),
        needs_person: false,
    }
}

fn unserved(set: &UnservedLabels, since: Timestamp) -> Attention {
    let labels = cut(&set.runs_on.join(", "), 120);
    let message = unserved_sentence(set);
    let told = of_reason(NO_CLASS, format!("labels [{labels}]"), Some(since), &message);
    let fix = set.nearest.as_ref().and_then(fix_repos);
    Attention { fix: fix.unwrap_or(told.fix), ..told }
}

/// Returns the failures of runs at services that do not fail as a whole.
fn failing_runs(app: &App, known: &StatusData) -> Vec<Attention> {
    let told: Vec<&str> = failing(app).iter().map(|(_, reason, _)| reason.as_str()).collect();
    let mut by_reason: BTreeMap<String, Vec<crate::api::status::RunReason>> = BTreeMap::new();
    for run in super::failing_runs(app, known) {
        if !told.contains(&run.reason.as_str()) {
            by_reason.entry(run.reason.clone()).or_default().push(run);
        }
    }
    let attention = by_reason.into_iter().filter_map(|(reason, runs)| {
        let first = runs.iter().min_by_key(|run| run.since)?;
        Some(Attention {
            reason,
            subject: subject(&first.run, runs.len()),
            since: first.since,
            message: first.message.clone(),
            fix: format!("see `tinqs-ci why {}`", first.run),
            needs_person: first.since.is_some_and(|since| known.now.duration_since(since) > OUTAGE),
        })
    });
    attention.collect()
}

fn subject(first: &str, count: usize) -> String {
    match count {
        0 | 1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

/// Returns the reasons of waiting runs that are not normal operation, by class.
fn blocked_classes(app: &App, known: &StatusData) -> Vec<Attention> {
    let classes = &app.controller.settings().classes;
    let mut groups: BTreeMap<(&str, &str), Vec<&Run>> = BTreeMap::new();
    for run in &known.waiting {
        let Some(first) = run.status.conditions.first() else { continue };
        let reason = first.reason.as_str();
        let told_elsewhere = [BREAKER_OPEN, NO_CLASS, PAUSED].contains(&reason);
        if told_elsewhere || advice(reason).weight == Weight::Normal {
            continue;
        }
        let class = class_of(classes, run).map_or("", |class| class.0.as_str());
        groups.entry((class, reason)).or_default().push(run);
    }
    let attention = groups.into_iter().filter_map(|((class, reason), runs)| {
        let conditions = runs.iter().filter_map(|run| Some((run, run.status.conditions.first()?)));
        let (run, first) = conditions.min_by_key(|(_, condition)| condition.since)?;
        let subject = subject(run.name.as_str(), runs.len());
        let subject = if class.is_empty() { subject } else { format!("class {class}: {subject}") };
        let attention = of_reason(reason, subject, Some(first.since), &first.message);
        let lasting = known.now.duration_since(first.since) > LASTING;
        Some(Attention { needs_person: attention.needs_person || lasting, ..attention })
    });
    attention.collect()
}
