//! Laws L1 to L8, each checked where its call is made.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, CLOCKS_AGREE_WITHIN, ClassName, Phase, Placement, Reason, Run, RunName,
    decode, encode, serving,
};
use tinqs_ci_reconciler::ports::Expect;

use super::{Laws, TerminateTruth, credentials};
use crate::cloud::machine::SimulatedMachine;
use crate::executor::Group;

/// Five writes: an attempt with two placements, its machine, its end, and the start of the next. A
/// restarted backoff adds about four attempts of four writes each.
const WRITES_OF_A_MACHINE: usize = 20;

/// A replica requests no machine of the class for this long after a permanent refusal.
const STOPPED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The true state of a registration that is about to be retired.
#[derive(Clone, Debug, Default)]
pub struct RetireTruth {
    /// Name of the registration.
    pub name: String,
    /// Whether a machine runs a job with it.
    pub works: bool,
    /// Whether a machine that uses it is live.
    pub lives: bool,
}

impl Laws {
    /// L4: checks a record that is about to be written under `expect`.
    pub fn on_put(&mut self, now: Timestamp, before: Option<&Run>, run: &Run, expect: Expect) {
        let about = run.name.to_string();
        self.launched_for(run);
        if self.scrambled.contains(&run.name) {
            // Sanitizing may change anything.
        } else if let Some(before) = before {
            self.holds_no_credential(now, run);
            self.stays_given_up(now, before, run);
            if before.uid != run.uid {
                self.broken("L4", now, &about, format!("{about}: another uid was overwritten"));
            }
            if before.status.next > run.status.next {
                self.broken("L4", now, &about, format!("{about}: `next` decreased"));
            }
            self.voids(now, before, run);
        } else if expect != Expect::Absent {
            self.broken("L4", now, &about, format!("{about}: written without a record"));
        }
        if let Some(attempt) = &run.status.attempt {
            self.count_vain(before, run, attempt);
            self.on_attempt(now, run, attempt);
        }
        // Of what a later release recorded, `formats` checks what must be left.
        let read = decode(&encode(run));
        match read.map(|read| Run { unknown: run.unknown.clone(), ..read }) {
            Ok(read) if read == *run => {}
            Ok(_) => {
                let what = format!("{about}: reads back as a different record");
                self.broken("L4", now, &about, what);
            }
            Err(error) => {
                self.broken("L4", now, &about, format!("{about}: cannot be read back: {error}"));
            }
        }
        self.count_write(now, &run.name);
    }

    /// A change to Running or Finished must invalidate the number that others may be preparing.
    fn voids(&mut self, now: Timestamp, before: &Run, run: &Run) {
        let (was, is) = (before.status.phase, run.status.phase);
        let ends = was != is && matches!(is, Phase::Running | Phase::Finished);
        if ends && run.status.next <= before.status.next {
            let what = format!("{}: {is:?} without adding one to `next`", run.name);
            self.broken("L4", now, run.name.as_str(), what);
        }
    }

    fn on_attempt(&mut self, now: Timestamp, run: &Run, attempt: &Attempt) {
        let attempt_id = run.attempt_id(attempt.number);
        let about = run.name.to_string();
        let attempt = credentials::with_former(self.attempts.get(&attempt_id), attempt);
        if self.rebuilds || self.scrambled.contains(&run.name) {
            self.attempts.insert(attempt_id, attempt);
            return;
        }
        if attempt.number >= run.status.next || attempt.placements.is_empty() {
            let what =
                format!("{attempt_id}: its number is not below `next`, or it has no placement");
            self.broken("L4", now, &about, what);
        }
        if let Some(known) = self.attempts.get(&attempt_id) {
            if let Some(what) = changed(known, &attempt, now) {
                self.broken("L4", now, &about, format!("{attempt_id}: its {what} changed"));
            }
        } else {
            let highest = self.highest.entry((run.name.clone(), run.uid)).or_insert(0);
            let grew = attempt.number > *highest;
            *highest = attempt.number.max(*highest);
            if !grew {
                self.broken("L4", now, &about, format!("{attempt_id}: a number was used again"));
            }
        }
        self.attempts.insert(attempt_id, attempt);
    }

    /// Counts an attempt that begins after a wait in vain for the displacing job's machine.
    fn count_vain(&mut self, before: Option<&Run>, run: &Run, attempt: &Attempt) {
        let waited = before.filter(|run| run.status.reason() == Some(Reason::MachineReassigned));
        let last = waited.and_then(|run| run.status.attempt.as_ref());
        let Some((last, ended)) = last.and_then(|last| Some((last.number, last.ended?))) else {
            return;
        };
        let whole = serving(&self.classes, &run.spec.job.repo, &run.spec.runs_on)
            .map(|class| class.times.assign_within);
        if attempt.number > last
            && whole.is_some_and(|whole| attempt.decided_at.duration_since(ended.at) >= whole)
        {
            self.waited_in_vain += 1;
        }
    }

    /// L1 and L7: checks a requested launch.
    pub fn on_launch(
        &mut self,
        now: Timestamp,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) {
        let about = attempt_id.run.to_string();
        let Some(recorded) = self.attempts.get(attempt_id) else {
            self.broken("L1", now, &about, format!("{attempt_id}: launched without a record"));
            return;
        };
        let index = usize::try_from(placement).unwrap_or(usize::MAX);
        let spec = |a: &Attempt| a.placements.get(index).map(|p| p.machine.clone());
        let same = spec(recorded).is_some()
            && spec(recorded) == spec(attempt)
            && recorded.runner == attempt.runner
            && recorded.boot == attempt.boot
            && recorded.class == attempt.class;
        if !same {
            let what =
                format!("{attempt_id}-{placement}: launched with another machine spec or identity");
            self.broken("L1", now, &about, what);
        }
        let scrambled = self.scrambled.contains(&attempt_id.run);
        if attempt.runner.name != attempt_id.to_string() && !scrambled {
            let what = format!("{attempt_id}: carries the identity of {}", attempt.runner.name);
            self.broken("L7", now, &about, what);
        }
        let git = attempt.boot.git_token.as_ref().map(|t| t.expose().to_owned());
        if git != self.git_token && !scrambled {
            self.broken(
                "L7",
                now,
                &about,
                format!("{attempt_id}: carries a git credential that is not configured"),
            );
        }
    }

    /// Time: no launch is requested within five minutes of a refusal that a person must fix.
    pub fn on_asked(
        &mut self,
        now: Timestamp,
        replica: Group,
        attempt_id: &AttemptId,
        class: &ClassName,
    ) {
        let told = self.stopped.get(&(replica, class.clone()));
        if let Some(ago) = told.map(|at| now.duration_since(*at)).filter(|ago| *ago < STOPPED_FOR) {
            let what = format!(
                "{attempt_id}: asked again {} s after launches of class {class} were refused permanently",
                ago.as_secs()
            );
            self.broken("time", now, attempt_id.run.as_str(), what);
        }
    }

    /// Records that a replica learned of a refusal that a person must fix.
    pub fn on_stopped(&mut self, now: Timestamp, replica: Group, class: &ClassName) {
        self.stopped.insert((replica, class.clone()), now);
    }

    /// L2: the cloud refused a token that was sent with a different request.
    pub fn on_other_bytes(&mut self, now: Timestamp, attempt_id: &AttemptId, placement: u32) {
        if self.scrambled.contains(&attempt_id.run) {
            return;
        }
        let what =
            format!("{attempt_id}-{placement}: the same token was sent with a different request");
        self.broken("L2", now, attempt_id.run.as_str(), what);
    }

    /// L2 and L6: checks a created machine. `live`: all that boot or are up, including it.
    pub fn on_machine<'a>(
        &mut self,
        now: Timestamp,
        made: &SimulatedMachine,
        live: impl Iterator<Item = (&'a SimulatedMachine, String)>,
        all: impl Iterator<Item = &'a SimulatedMachine>,
    ) {
        let all: Vec<&SimulatedMachine> = all.collect();
        let twins = all
            .iter()
            .filter(|m| m.attempt_id == made.attempt_id && m.placement == made.placement)
            .count();
        if self.twins && twins > 1 {
            self.twinned.insert(made.attempt_id.clone());
        }
        if self.twins || !self.scrambled.is_empty() {
            return;
        }
        let about = made.attempt_id.run.to_string();
        if twins > 1 {
            let what =
                format!("{}-{}: {twins} machines for one token", made.attempt_id, made.placement);
            self.broken("L2", now, &about, what);
        }
        self.probes_are_apart(now, made, &all);
        let mut live: Vec<(&SimulatedMachine, String)> = live.collect();
        if live.iter().any(|(m, _)| self.orphans.contains(&m.id)) {
            return;
        }
        if let Some(since) = self.configured_at {
            // A limit applies to attempts decided under it.
            let decided =
                |m: &SimulatedMachine| self.attempts.get(&m.attempt_id).map(|a| a.decided_at);
            live.retain(|(m, _)| decided(m).is_some_and(|at| at > since));
        }
        live.retain(|(m, _)| !self.is_late(&m.attempt_id));
        self.limits_hold(now, made, &live);
    }

    /// L3: a person requested it, the deadline is over, or it has no registration and is idle or its
    /// job is canceled, or it is idle with one long after its boot promise. A held machine is only
    /// terminated for a canceled job.
    pub fn on_terminate(&mut self, now: Timestamp, truth: TerminateTruth<'_>) {
        let TerminateTruth { machine, by_person, canceled, registered, .. } = truth;
        if !machine.is_live() || by_person || now > machine.boot.deadline {
            return;
        }
        // Deadline and registration are those of the record, even of one that was rewritten.
        if self.scrambled.contains(&machine.attempt_id.run) {
            return;
        }
        let about = machine.attempt_id.run.to_string();
        if machine.is_busy() && !canceled {
            let what = format!("{} {}: terminated mid-job", machine.attempt_id, machine.id);
            self.broken("L3", now, &about, what);
        } else if registered && !truth.may_be_hung(now) {
            let what = format!(
                "{} {}: terminated without a permitted reason",
                machine.attempt_id, machine.id
            );
            self.broken("L3", now, &about, what);
        } else if !canceled && machine.job_ended_at.is_some_and(|at| now < at + machine.boot.hold) {
            let what = format!("{} {}: terminated while held", machine.attempt_id, machine.id);
            self.broken("L3", now, &about, what);
        }
    }

    /// L5: a machine that is not ours was terminated.
    pub fn on_foreign(&mut self, now: Timestamp, id: &str) {
        self.broken("L5", now, "", format!("{id}: terminated, but not ours"));
    }

    /// L3: checks a registration that is about to be retired.
    pub fn on_retire(&mut self, now: Timestamp, id: i64, truth: &RetireTruth) {
        let RetireTruth { name, works, lives } = truth;
        let about = name
            .parse::<AttemptId>()
            .map_or(String::new(), |attempt_id| attempt_id.run.to_string());
        if name.parse::<AttemptId>().is_err() || self.strangers.contains(&id) {
            let what = format!("registration {id} `{name}` retired, but not ours");
            self.broken("L5", now, &about, what);
        } else if *works && !self.scrambled(name) {
            self.broken("L3", now, &about, format!("registration {id} {name}: retired mid-job"));
        } else if *lives
            && !self.records_lost
            && !self.scrambled(name)
            && !self.is_twinned(name)
            && !name.parse().is_ok_and(|of| self.is_late(&of))
        {
            let what = format!("registration {id} {name}: retired while its machine is live");
            self.broken("L3", now, &about, what);
        }
        self.registration_went(now, id);
    }

    fn scrambled(&self, attempt_id: &str) -> bool {
        attempt_id
            .parse::<AttemptId>()
            .is_ok_and(|attempt_id| self.scrambled.contains(&attempt_id.run))
    }

    /// Returns whether the cloud duplicated a machine of an attempt ID. A hanging call may create a
    /// duplicate after all others were seen gone, which no controller can know.
    pub(super) fn is_twinned(&self, attempt_id: &str) -> bool {
        attempt_id.parse::<AttemptId>().is_ok_and(|attempt_id| self.twinned.contains(&attempt_id))
    }

    /// Counts a wake-up put into the queue.
    pub fn on_wake(&mut self, name: &RunName) {
        *self.woken.entry(name.clone()).or_insert(0) += 1;
    }

    /// Returns how often a run was woken.
    pub fn woken(&self, name: &RunName) -> u64 {
        self.woken.get(name).copied().unwrap_or(0)
    }

    /// Returns whether a class serves jobs of this repository with these labels.
    pub fn served(&self, repo: &str, runs_on: &[String]) -> bool {
        serving(&self.classes, repo, runs_on).is_some()
    }

    /// L8: a webhook was answered with success. `durable`: the run is recorded or was woken.
    pub fn on_ingested(&mut self, now: Timestamp, name: &RunName, durable: bool) {
        if !durable {
            let what = format!(
                "{name}: its webhook was accepted, but the run was neither recorded nor woken"
            );
            self.broken("L8", now, name.as_str(), what);
        }
    }

    /// Records that another job displaced this run's job: the writes so far produced that job's
    /// machine.
    pub fn on_displaced(&mut self, name: &RunName) {
        if let Some(times) = self.writes.get_mut(name) {
            let bought = times.len().min(WRITES_OF_A_MACHINE);
            times.drain(..bought);
        }
    }

    /// Time: counts writes of one run within the window.
    fn count_write(&mut self, now: Timestamp, name: &RunName) {
        *self.written.entry(name.clone()).or_insert(0) += 1;
        let (most, within) = self.writes_at_most;
        let times = self.writes.entry(name.clone()).or_default();
        times.push_back(now);
        while times.front().is_some_and(|at| now.duration_since(*at) > within) {
            times.pop_front();
        }
        if times.len() == most + 1 {
            let what = format!("{name}: more than {most} writes in {within:#}");
            self.broken("time", now, name.as_str(), what);
        }
    }
}

/// Returns the part of a recorded attempt that changed although it must not. A time in the future,
/// written by a clock that was ahead, may change: it is repaired.
fn changed(known: &Attempt, now: &Attempt, time: Timestamp) -> Option<&'static str> {
    let is_past = |at: Timestamp| at <= time + CLOCKS_AGREE_WITHIN;
    let spec = |p: &Placement| p.machine.clone();
    let (old, new) = (&known.placements, &now.placements);
    let kept =
        old.len() <= new.len() && old.iter().map(spec).eq(new.iter().take(old.len()).map(spec));
    if known.runner != now.runner {
        Some("identity")
    } else if known.boot != now.boot || known.class != now.class || !kept {
        Some("machine spec")
    } else if known.decided_at != now.decided_at && is_past(known.decided_at) {
        Some("time of decision")
    } else if known.ended.is_some_and(|e| now.ended.is_none_or(|n| n.at != e.at && is_past(e.at))) {
        Some("end")
    } else {
        None
    }
}
