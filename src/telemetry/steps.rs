//! The metrics and log lines of a record that this process wrote: the steps of the path,
//! interruptions.

use tinqs_ci_reconciler::model::{End, EndedBy, Happened, Machine, Milestone, Run, serving};

use super::Telemetry;

impl Telemetry {
    /// Counts the last `milestones` of a record, which this process has just written.
    pub(super) fn wrote(&self, run: &Run, milestones: usize) {
        let timeline = &run.status.timeline;
        let first = timeline.len().saturating_sub(milestones);
        for (index, milestone) in timeline.iter().enumerate().skip(first) {
            self.step(run, &timeline[..index], milestone);
            self.interruption(run, &milestone.what);
            log_state_reason(run, &milestone.what);
        }
    }

    /// Records the time of the step that a milestone ends.
    fn step(&self, run: &Run, before: &[Milestone], milestone: &Milestone) {
        let last = |matches: &dyn Fn(&Happened) -> bool| {
            before.iter().rev().find(|earlier| matches(&earlier.what)).map(|earlier| earlier.at)
        };
        let (step, since) = match &milestone.what {
            Happened::Seen { .. } => ("webhook", run.status.wait.queued_at),
            // Since the attempt before ended, or since the job waits.
            Happened::Registered { .. } => ("decision", before.last().map(|earlier| earlier.at)),
            Happened::Launched { attempt, .. } => {
                let own = |what: &Happened| *what == Happened::Registered { attempt: *attempt };
                ("launch", last(&own))
            }
            Happened::Started { attempt: Some(attempt), .. } => {
                let own = |what: &Happened| matches!(what, Happened::Launched { attempt: of, .. } if of == attempt);
                ("boot", last(&own))
            }
            Happened::Finished { .. } => {
                ("run", last(&|what| matches!(what, Happened::Started { .. })))
            }
            _ => return,
        };
        let Some(since) = since else { return };
        let served = || {
            let classes = self.classes.read();
            let class = serving(&classes, &run.spec.job.repo, &run.spec.runs_on);
            class.map(|class| class.name.0.clone())
        };
        let class = run.status.attempt.as_ref().map(|attempt| attempt.class.0.clone());
        let class = class.or_else(served);
        let class = self.metrics.class(class.as_deref());
        self.metrics.step(class, step, milestone.at.duration_since(since));
    }

    /// Counts a machine that the cloud took back, if this is what happened.
    fn interruption(&self, run: &Run, what: &Happened) {
        let is_it: Box<dyn Fn(&Machine) -> bool> = match what {
            Happened::MachineLost { machine, ended_by: Some(EndedBy::Cloud) } => {
                Box::new(|listed| listed.id == *machine)
            }
            Happened::AttemptEnded { attempt, why: End::MachineGone } => {
                let attempt_id = run.attempt_id(*attempt);
                Box::new(move |listed| listed.attempt_id == attempt_id)
            }
            _ => return,
        };
        let (_, machines) = self.seen.machines();
        let mut taken = machines.iter().filter(|m| m.ended_by == Some(EndedBy::Cloud));
        if let Some(machine) = taken.find(|machine| is_it(machine)) {
            self.metrics.launches.interrupted(machine);
        }
    }
}

/// Logs what the cloud says about a machine that ended before it got a job.
fn log_state_reason(run: &Run, what: &Happened) {
    let Happened::AttemptEnded { attempt: number, why: End::MachineGone } = what else { return };
    let status = &run.status;
    let current = status.attempt.iter().map(|it| (it.number, &it.state_reason));
    let past = status.past.iter().map(|it| (it.number, &it.state_reason));
    let own = current.chain(past).find(|(of, _)| of == number);
    let Some((_, Some(reason))) = own else { return };
    let (run, attempt) = (run.name.as_str(), *number);
    if reason.refusal.is_some() {
        tracing::warn!(run, attempt, error = %reason, "launch failed after it was accepted");
    } else {
        tracing::info!(run, attempt, %reason, "the cloud ended a machine before it got a job");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tinqs_ci_reconciler::model::{
        Amount, ClassName, MachineId, MachineState, Market, SeenBy, Spec, Usage, UsageKey,
    };
    use tinqs_ci_reconciler::ports::Expect;
    use tinqs_ci_testing::make::timeline;
    use tinqs_ci_testing::{TestWorld, make};

    use super::*;
    use crate::telemetry::observe;

    fn at(second: i64) -> Timestamp {
        make::at(second)
    }

    const INTERRUPTIONS: &str =
        "tinqs_ci_spot_interruptions_total{machine_kind=\"c7a.large\",zone=\"eu-west-1b\"}";

    /// Returns telemetry, and what a series shows.
    fn shown(telemetry: &Telemetry, series: &str) -> String {
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or("none").to_owned()
    }

    fn run(timeline: Vec<(i64, Happened)>) -> Run {
        let spec = Spec { runs_on: vec!["linux".to_owned()], ..Spec::default() };
        make::with_timeline(Run::new("test", make::name(7), spec, SeenBy::Webhook, at(0)), timeline)
    }

    fn machine(of: &Run, ended_by: EndedBy, market: Market) -> Machine {
        Machine {
            id: MachineId("m-1".to_owned()),
            attempt_id: of.attempt_id(1),
            placement: 0,
            state: MachineState::Gone,
            launched_at: at(0),
            deadline: at(0),
            registration: 5,
            repo_id: 0,
            ended_by: Some(ended_by),
            ended_at: None,
            state_reason: None,
            class: ClassName("linux".to_owned()),
            kind: "c7a.large".to_owned(),
            zone: "eu-west-1b".to_owned(),
            market,
            promise: None,
        }
    }

    fn telemetry() -> std::sync::Arc<Telemetry> {
        let clock = TestWorld::new().ports().clock;
        Telemetry::new(&[make::class("linux", vec![make::process()])], clock)
    }

    #[test]
    fn each_step_is_counted_once_when_its_end_is_written() {
        let telemetry = telemetry();
        let sum = |step: &str| {
            let labels = format!("class=\"linux\",step=\"{step}\"");
            let name = "tinqs_ci_step_duration_seconds";
            [
                shown(&telemetry, &format!("{name}_count{{{labels}}}")),
                shown(&telemetry, &format!("{name}_sum{{{labels}}}")),
            ]
        };
        telemetry.wrote(&run(timeline()[..2].to_vec()), 2);
        assert_eq!(sum("decision"), ["1", "3"]);
        assert_eq!(sum("webhook"), ["0", "0"], "the forge does not tell when the job was made");
        telemetry.wrote(&run(timeline()), 3);
        assert_eq!(
            [sum("launch"), sum("boot"), sum("run")],
            [["1", "2"], ["1", "20"], ["1", "60"]]
        );
        telemetry.wrote(&run(timeline()), 0);
        assert_eq!(sum("decision"), ["1", "3"], "written before");
        let mut seen = run(timeline()[..1].to_vec());
        seen.status.wait.queued_at = Some(at(-2));
        telemetry.wrote(&seen, 1);
        assert_eq!(sum("webhook"), ["1", "2"]);
    }

    #[tokio::test]
    async fn the_last_step_is_counted_too_if_its_write_counts_the_usage() {
        let world = TestWorld::new();
        let telemetry =
            Telemetry::new(&[make::class("linux", vec![make::process()])], world.clone());
        let store = observe(world.ports(), &telemetry).store;
        let begun = run(timeline()[..4].to_vec());
        let version = store.put(&begun, Expect::Absent).await.expect("written");
        let ended = run(timeline());
        let key = UsageKey {
            day: jiff::civil::date(2026, 12, 1),
            class: ClassName("linux".to_owned()),
            repo: "acme/web".to_owned(),
            workflow: String::new(),
        };
        let used = Usage { key, amount: Amount::default() };
        let expect = Expect::At(begun.uid, version);
        store.put_counting(&ended, expect, &used).await.expect("written");
        let series = "tinqs_ci_step_duration_seconds_count{class=\"linux\",step=\"run\"}";
        assert_eq!(shown(&telemetry, series), "1");
    }

    #[test]
    fn only_machines_that_the_cloud_took_back_are_interruptions() {
        let telemetry = telemetry();
        let run = run(vec![(9, Happened::AttemptEnded { attempt: 1, why: End::MachineGone })]);
        for (ended_by, market, count) in [
            (EndedBy::Itself, Market::Spot, "none"),
            (EndedBy::Cloud, Market::OnDemand, "none"),
            (EndedBy::Cloud, Market::Spot, "1"),
        ] {
            telemetry.seen.list_machines(vec![machine(&run, ended_by, market)], at(9));
            telemetry.wrote(&run, 1);
            assert_eq!(shown(&telemetry, INTERRUPTIONS), count, "{ended_by:?} {market}");
        }
    }

    #[test]
    fn a_machine_of_which_two_runs_tell_is_counted_once() {
        let telemetry = telemetry();
        let own = run(vec![(9, Happened::AttemptEnded { attempt: 1, why: End::MachineGone })]);
        let lost = |id: &str| {
            let (machine, ended_by) = (MachineId(id.to_owned()), Some(EndedBy::Cloud));
            run(vec![(9, Happened::MachineLost { machine, ended_by })])
        };
        let first = machine(&own, EndedBy::Cloud, Market::Spot);
        let second = Machine { id: MachineId("m-2".to_owned()), ..first.clone() };
        telemetry.seen.list_machines(vec![first, second], at(9));
        telemetry.wrote(&lost("m-1"), 1);
        telemetry.wrote(&own, 1);
        assert_eq!(shown(&telemetry, INTERRUPTIONS), "1", "the job ran on another run's machine");
        telemetry.wrote(&lost("m-2"), 1);
        assert_eq!(shown(&telemetry, INTERRUPTIONS), "2");
    }
}
