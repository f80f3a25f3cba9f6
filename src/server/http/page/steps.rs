//! The path of a run: when it came to each step, as a bar and as a list.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::{Happened, Milestone, Phase, Run};

use super::parts::{exact, span};

/// The width of a bar in its own units.
const WIDTH: i128 = 1_000;
/// The least width of a step, so that a short one is seen.
const LEAST: i128 = 8;

/// A step of the path of a run.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: &'static str,
    /// The time when the run came to it; `None` if it has not.
    at: Option<Timestamp>,
    /// The time since the step before; `None` of the first one, and of those that did not happen.
    took: Option<SignedDuration>,
}

/// The steps of the wait in which the run is, or was last. `queued` and `seen` are those of the first
/// wait; a retry or a re-run begins another.
fn steps(run: &Run) -> Vec<Step> {
    let timeline = &run.status.timeline;
    let since = run.status.waiting_since;
    // A milestone has whole milliseconds.
    let begin = since.as_millisecond();
    let last = |matches: fn(&Happened) -> bool| {
        let mut all = timeline.iter().rev();
        all.find(|Milestone { at, what }| at.as_millisecond() >= begin && matches(what))
            .map(|one| one.at)
    };
    let seen = last(|what| matches!(what, Happened::Seen { .. }));
    let queued = run.status.wait.queued_at.filter(|at| seen.is_some_and(|seen| *at <= seen));
    let launched = last(|what| matches!(what, Happened::Launched { .. }));
    let picked = last(|what| matches!(what, Happened::Started { .. }));
    let done = last(|what| matches!(what, Happened::Finished { .. } | Happened::GaveUp));
    let marks = [
        ("queued", queued),
        (if seen.is_some() { "seen" } else { "waits again" }, Some(seen.unwrap_or(since))),
        ("decided", last(|what| matches!(what, Happened::Registered { .. }))),
        ("launched", launched),
        ("picked", picked),
        ("done", done),
    ];
    let mut before: Option<Timestamp> = None;
    let step = |(name, at): (&'static str, Option<Timestamp>)| {
        // A clock that was set, or a job that another machine took before the launch.
        let took = at.zip(before).map(|(at, before)| at.duration_since(before));
        before = before.max(at);
        Step { name, at, took: took.map(|took| took.max(SignedDuration::ZERO)) }
    };
    let mut steps: Vec<Step> = marks.into_iter().map(step).collect();
    // The forge does not always tell when it made a job.
    steps.retain(|step| step.name != "queued" || step.at.is_some());
    steps
}

/// Returns since when the run is at its latest step, if it is not over.
fn since_last(run: &Run, steps: &[Step], now: Timestamp) -> Option<SignedDuration> {
    let last = steps.iter().filter_map(|step| step.at).max()?;
    let is_open = run.status.phase != Phase::Finished;
    is_open.then(|| now.duration_since(last).max(SignedDuration::ZERO))
}

/// Returns the path of a run.
pub(super) fn path(run: &Run, now: Timestamp) -> Markup {
    let steps = steps(run);
    let here = since_last(run, &steps, now);
    html! {
        (bar(&steps, here))
        ol.path aria-label="Steps" {
            @for (number, step) in steps.iter().enumerate() {
                li class={ "step-" (number + 6 - steps.len()) @if step.at.is_none() { " open" } } {
                    span.step { (step.name) }
                    @if let Some(at) = step.at {
                        time datetime=(at) { (at.strftime("%H:%M:%S").to_string()) }
                    }
                    span.took {
                        @match (step.at, step.took) {
                            (_, Some(took)) => { "+" (exact(took)) }
                            (Some(_), None) => {}
                            (None, None) => { "–" }
                        }
                    }
                }
            }
            @if let Some(here) = here { li.now { span.step { "now" } span.took { "+" (exact(here)) } } }
        }
    }
}

/// Returns the times between the steps, to scale but for the shortest.
fn bar(steps: &[Step], here: Option<SignedDuration>) -> Markup {
    let first = 6 - steps.len();
    let taken = steps.iter().enumerate();
    let taken = taken.filter_map(|(number, step)| {
        Some((format!("step-{}", number + first), step.name, step.took?))
    });
    let mut parts: Vec<(String, &str, SignedDuration)> = taken.collect();
    parts.extend(here.map(|here| ("now".to_owned(), "until now", here)));
    let widths = widths(&parts.iter().map(|(_, _, took)| *took).collect::<Vec<_>>());
    let words: Vec<String> =
        parts.iter().map(|(_, name, took)| format!("{name} after {}", span(*took))).collect();
    let words = words.join(", ").replace("until now after", "now for");
    let begins = widths.iter().scan(0, |x, width| Some(std::mem::replace(x, *x + width)));
    html! {
        @if !parts.is_empty() {
            svg.bar role="img" aria-label=(words) viewBox={ "0 0 " (WIDTH) " 16" }
                preserveAspectRatio="none" {
                @for (((tone, name, took), width), x) in parts.iter().zip(&widths).zip(begins) {
                    rect class=(tone) x=(x) y="0" width=(width - 2) height="16" {
                        title { (name) " +" (exact(*took)) }
                    }
                }
            }
        }
    }
}

/// Shares the width of the bar. Each part has some, and all of it is used but for rounding.
fn widths(parts: &[SignedDuration]) -> Vec<i128> {
    let count = i128::try_from(parts.len()).unwrap_or(WIDTH / LEAST);
    let rest = WIDTH - LEAST * count;
    let all: i128 = parts.iter().map(SignedDuration::as_millis).sum();
    let share = |took: &SignedDuration| match all {
        0 => rest / count.max(1),
        _ => took.as_millis() * rest / all,
    };
    parts.iter().map(|took| LEAST + share(took)).collect()
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{SeenBy, Spec};
    use tinqs_ci_testing::make::{self, at};

    use super::*;

    fn run(timeline: Vec<(i64, Happened)>) -> Run {
        let run = Run::new("test", make::name(7), Spec::default(), SeenBy::Webhook, at(0));
        make::with_timeline(run, timeline)
    }

    fn finished() -> Run {
        let mut run = run(make::timeline());
        run.status.phase = Phase::Finished;
        run
    }

    /// Returns the steps with their seconds; -1: none.
    fn shown(run: &Run) -> Vec<(&'static str, i64)> {
        let all = steps(run);
        all.iter().map(|step| (step.name, step.took.map_or(-1, |took| took.as_secs()))).collect()
    }

    #[test]
    fn each_step_has_the_time_since_the_one_before() {
        let mut run = run(make::timeline());
        let all = [("seen", -1), ("decided", 3), ("launched", 2), ("picked", 20), ("done", 60)];
        assert_eq!(shown(&run), all);
        run.status.wait.queued_at = Some(at(-2));
        assert_eq!(shown(&run)[..2], [("queued", -1), ("seen", 2)]);
    }

    #[test]
    fn a_waiting_run_is_where_it_is() {
        let run = run(make::timeline()[..1].to_vec());
        let none = [("seen", -1), ("decided", -1), ("launched", -1), ("picked", -1), ("done", -1)];
        assert_eq!(shown(&run), none);
        let text = path(&run, at(70)).into_string();
        assert!(text.contains("aria-label=\"now for 1m10s\""), "{text}");
        assert!(text.contains("<li class=\"step-2 open\">"), "{text}");
        let text = path(&run, at(-70)).into_string();
        assert!(text.contains("now for 0s"), "the clock was set back: {text}");
    }

    #[test]
    fn the_wait_begins_within_the_millisecond_of_its_milestone() {
        let mut run = run(make::timeline());
        run.status.waiting_since = at(0) + SignedDuration::from_micros(999);
        assert_eq!(shown(&run)[0].0, "seen");
    }

    #[test]
    fn a_retry_begins_another_wait() {
        let mut run = run(make::timeline());
        run.status.waiting_since = at(100);
        run.status.timeline.push(Milestone::new(at(104), Happened::Registered { attempt: 2 }));
        assert_eq!(shown(&run)[..3], [("waits again", -1), ("decided", 4), ("launched", -1)]);
    }

    #[test]
    fn a_clock_that_is_set_gives_no_negative_time() {
        let mut timeline = make::timeline();
        timeline[3].0 = 1;
        let all = [("seen", -1), ("decided", 3), ("launched", 2), ("picked", 0), ("done", 80)];
        assert_eq!(shown(&run(timeline)), all);
    }

    #[test]
    fn the_bar_is_to_scale_and_shows_the_shortest() {
        let of = |all: &[i64]| {
            let all: Vec<_> = all.iter().copied().map(SignedDuration::from_secs).collect();
            widths(&all)
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[0]), [1_000]);
        assert_eq!(of(&[0, 0]), [500, 500]);
        assert_eq!(of(&[1, 3]), [8 + 246, 8 + 738]);
        let long = of(&[0, i64::MAX / 1_000, 1]);
        assert!(long[0] == 8 && long[1] > 900 && long[2] == 8, "{long:?}");
        let text = path(&finished(), at(900)).into_string();
        assert_eq!(text.matches("<rect").count(), 4, "{text}");
        let words = "decided after 3s, launched after 2s, picked after 20s, done after 1m00s";
        assert!(text.contains(&format!("aria-label=\"{words}\"")), "{text}");
    }
}
