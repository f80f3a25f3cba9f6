//! Laws L1 to L8, each where its call is made.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::Report;
use tinqs_ci_reconciler::model::{
    Attempt, ClassName, Phase, Placement, Reason, Run, RunName, Slot, decode, encode, serving,
};
use tinqs_ci_reconciler::ports::Expect;

use super::Laws;
use crate::cloud::machine::Machine;
use crate::executor::Group;

/// An attempt with two placements, its machine, its end, and the next begin: five. And backing off
/// that begins anew comes to some four attempts of four writes more than going on would.
const WRITES_OF_A_MACHINE: usize = 20;

/// So long after such a refusal a replica asks for no machine of the class.
const STOPPED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// What is true of a registration when it is to be retired.
#[derive(Clone, Debug, Default)]
pub struct RetireTruth {
    /// Its name.
    pub name: String,
    /// A machine works with it.
    pub works: bool,
    /// A machine that was given it lives.
    pub lives: bool,
}

/// What is true when a machine is to be terminated.
#[derive(Clone, Copy, Debug)]
pub struct TerminateTruth<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// A person said so.
    pub by_person: bool,
    /// Its registration is at the forge.
    pub registered: bool,
}

impl Laws {
    /// L4: a record is about to be written as expected.
    pub fn on_put(&mut self, now: Timestamp, before: Option<&Run>, run: &Run, expect: Expect) {
        let about = run.name.to_string();
        if self.scrambled.contains(&run.name) {
            // Healing may change anything.
        } else if let Some(before) = before {
            if before.uid != run.uid {
                self.broken("L4", now, &about, format!("{about}: another uid was written over"));
            }
            if before.status.next > run.status.next {
                self.broken("L4", now, &about, format!("{about}: `next` went back"));
            }
            self.voids(now, before, run);
        } else if expect != Expect::Absent {
            self.broken("L4", now, &about, format!("{about}: written without a record"));
        }
        if let Some(attempt) = &run.status.attempt {
            self.count_vain(before, run, attempt);
            self.on_attempt(now, run, attempt);
        }
        match decode(&encode(run)) {
            Ok(read) if read == *run => {}
            Ok(_) => {
                let what = format!("{about}: reads back as something else");
                self.broken("L4", now, &about, what);
            }
            Err(error) => {
                self.broken("L4", now, &about, format!("{about}: cannot be read back: {error}"));
            }
        }
        self.count_write(now, &run.name);
    }

    /// Whoever was preparing the old number loses.
    fn voids(&mut self, now: Timestamp, before: &Run, run: &Run) {
        let (was, is) = (before.status.phase, run.status.phase);
        let ends = was != is && matches!(is, Phase::Running | Phase::Finished);
        if ends && run.status.next <= before.status.next {
            let what = format!("{}: {is:?} without adding one to `next`", run.name);
            self.broken("L4", now, run.name.as_str(), what);
        }
    }

    fn on_attempt(&mut self, now: Timestamp, run: &Run, attempt: &Attempt) {
        let slot = run.slot(attempt.number);
        let about = run.name.to_string();
        if self.scrambled.contains(&run.name) {
            self.attempts.insert(slot, attempt.clone());
            return;
        }
        if attempt.number >= run.status.next || attempt.placements.is_empty() {
            let what = format!("{slot}: its number is not below `next`, or it has no placement");
            self.broken("L4", now, &about, what);
        }
        if let Some(known) = self.attempts.get(&slot) {
            if let Some(what) = changed(known, attempt) {
                self.broken("L4", now, &about, format!("{slot}: its {what} changed"));
            }
        } else {
            let highest = self.highest.entry((run.name.clone(), run.uid)).or_insert(0);
            let grew = attempt.number > *highest;
            *highest = attempt.number.max(*highest);
            if !grew {
                self.broken("L4", now, &about, format!("{slot}: a number was used again"));
            }
        }
        self.attempts.insert(slot, attempt.clone());
    }

    /// Counts an attempt that begins where the whole wait for a robber's machine was in vain.
    fn count_vain(&mut self, before: Option<&Run>, run: &Run, attempt: &Attempt) {
        let waited = before.filter(|run| run.status.reason() == Some(Reason::SpareExpected));
        let last = waited.and_then(|run| run.status.attempt.as_ref());
        let Some((last, ended)) = last.and_then(|last| Some((last.number, last.ended?))) else {
            return;
        };
        let whole =
            serving(&self.classes, &run.spec.runs_on).map(|class| class.times.assign_within);
        if attempt.number > last
            && whole.is_some_and(|whole| attempt.decided_at.duration_since(ended.at) >= whole)
        {
            self.waited_in_vain += 1;
        }
    }

    /// L1 and L7: a launch is asked for.
    pub fn on_launch(&mut self, now: Timestamp, slot: &Slot, placement: u32, attempt: &Attempt) {
        let about = slot.run.to_string();
        let Some(recorded) = self.attempts.get(slot) else {
            self.broken("L1", now, &about, format!("{slot}: launched without a record"));
            return;
        };
        let index = usize::try_from(placement).unwrap_or(usize::MAX);
        let recipe = |a: &Attempt| a.placements.get(index).map(|p| p.machine.clone());
        let same = recipe(recorded).is_some()
            && recipe(recorded) == recipe(attempt)
            && recorded.runner == attempt.runner
            && recorded.boot == attempt.boot
            && recorded.class == attempt.class;
        if !same {
            let what = format!("{slot}-{placement}: launched with another recipe or identity");
            self.broken("L1", now, &about, what);
        }
        let scrambled = self.scrambled.contains(&slot.run);
        if attempt.runner.name != slot.to_string() && !scrambled {
            let what = format!("{slot}: the identity is that of {}", attempt.runner.name);
            self.broken("L7", now, &about, what);
        }
        let git = attempt.boot.git_token.as_ref().map(|t| t.expose().to_owned());
        if git != self.git_token && !scrambled {
            self.broken("L7", now, &about, format!("{slot}: a credential that is not configured"));
        }
    }

    /// Time: a replica begins a call of launch. None is begun within five minutes of having been told
    /// that the class's launches are refused for what a person must mend.
    pub fn on_asked(&mut self, now: Timestamp, replica: Group, slot: &Slot, class: &ClassName) {
        let told = self.stopped.get(&(replica, class.clone()));
        if let Some(ago) = told.map(|at| now.duration_since(*at)).filter(|ago| *ago < STOPPED_FOR) {
            let what = format!(
                "{slot}: asked again {} s after class {class} was refused for good",
                ago.as_secs()
            );
            self.broken("time", now, slot.run.as_str(), what);
        }
    }

    /// A replica is told that a class's launches are refused for what a person must mend.
    pub fn on_stopped(&mut self, now: Timestamp, replica: Group, class: &ClassName) {
        self.stopped.insert((replica, class.clone()), now);
    }

    /// L2: the cloud refused a token that came with other bytes.
    pub fn on_other_bytes(&mut self, now: Timestamp, slot: &Slot, placement: u32) {
        if self.scrambled.contains(&slot.run) {
            return;
        }
        let what = format!("{slot}-{placement}: the same token came with other bytes");
        self.broken("L2", now, slot.run.as_str(), what);
    }

    /// L2 and L6: a machine was made. `live` are all that boot or are up, it among them.
    pub fn on_machine<'a>(
        &mut self,
        now: Timestamp,
        made: &Machine,
        live: impl Iterator<Item = (&'a Machine, String)>,
        all: impl Iterator<Item = &'a Machine>,
    ) {
        let twins = all.filter(|m| m.slot == made.slot && m.placement == made.placement).count();
        if self.twins && twins > 1 {
            self.twinned.insert(made.slot.clone());
        }
        if self.twins || !self.scrambled.is_empty() {
            return;
        }
        let about = made.slot.run.to_string();
        if twins > 1 {
            let what = format!("{}-{}: {twins} machines", made.slot, made.placement);
            self.broken("L2", now, &about, what);
        }
        let mut live: Vec<(&Machine, String)> = live.collect();
        if live.iter().any(|(m, _)| self.orphans.contains(&m.id)) {
            return;
        }
        if let Some(since) = self.configured_at {
            // A limit holds for those that were decided under it.
            let decided = |m: &Machine| self.attempts.get(&m.slot).map(|a| a.decided_at);
            live.retain(|(m, _)| decided(m).is_some_and(|at| at > since));
        }
        let own_repo = live.iter().find(|(m, _)| m.id == made.id).map(|(_, repo)| repo.clone());
        let in_class = live.iter().filter(|(m, _)| m.class == made.class).count();
        let in_repo = live
            .iter()
            .filter(|(m, repo)| m.class == made.class && Some(repo) == own_repo.as_ref())
            .count();
        let Some(class) = self.classes.iter().find(|c| c.name == made.class).cloned() else {
            return;
        };
        for (limit, count, of) in
            [(class.limit, in_class, "class"), (class.repo_limit, in_repo, "repository")]
        {
            if limit.is_some_and(|limit| count > limit as usize) {
                let what = format!("{count} live machines of {} for one {of}", class.name);
                self.broken("L6", now, &about, what);
            }
        }
    }

    /// L3: a machine is to be terminated; there are three grounds for it and no other.
    pub fn on_terminate(&mut self, now: Timestamp, truth: TerminateTruth<'_>) {
        let TerminateTruth { machine, by_person, registered } = truth;
        if !machine.is_live() || by_person || now > machine.boot.deadline {
            return;
        }
        let about = machine.slot.run.to_string();
        if machine.is_busy() {
            let what = format!("{} {}: terminated at work", machine.slot, machine.id);
            self.broken("L3", now, &about, what);
        } else if registered {
            let what = format!("{} {}: terminated without a ground", machine.slot, machine.id);
            self.broken("L3", now, &about, what);
        }
    }

    /// L5: a machine that is not ours was touched.
    pub fn on_foreign(&mut self, now: Timestamp, id: &str) {
        self.broken("L5", now, "", format!("{id}: not ours, and terminated"));
    }

    /// L3: a registration is to be retired.
    pub fn on_retire(&mut self, now: Timestamp, id: i64, truth: &RetireTruth) {
        let RetireTruth { name, works, lives } = truth;
        let about = name.parse::<Slot>().map_or(String::new(), |slot| slot.run.to_string());
        if name.parse::<Slot>().is_err() {
            let what = format!("registration {id} `{name}` is not ours, and retired");
            self.broken("L5", now, &about, what);
        } else if *works && !self.scrambled(name) {
            self.broken("L3", now, &about, format!("registration {id} {name}: retired at work"));
        } else if *lives && !self.records_lost && !self.scrambled(name) && !self.is_twinned(name) {
            let what = format!("registration {id} {name}: retired while its machine lives");
            self.broken("L3", now, &about, what);
        }
        self.registration_went(now, id);
    }

    fn scrambled(&self, slot: &str) -> bool {
        slot.parse::<Slot>().is_ok_and(|slot| self.scrambled.contains(&slot.run))
    }

    /// Whether the cloud has made twins of a slot. One of them may come after all of the slot was seen
    /// to be gone, by a call that hung: nobody can know of it.
    fn is_twinned(&self, slot: &str) -> bool {
        slot.parse::<Slot>().is_ok_and(|slot| self.twinned.contains(&slot))
    }

    /// A run was put into the queue.
    pub fn on_wake(&mut self, name: &RunName) {
        *self.woken.entry(name.clone()).or_insert(0) += 1;
    }

    /// How often a run was woken: what an ingest changes.
    pub fn woken(&self, name: &RunName) -> u64 {
        self.woken.get(name).copied().unwrap_or(0)
    }

    /// Whether a job's labels are served.
    pub fn served(&self, runs_on: &[String]) -> bool {
        serving(&self.classes, runs_on).is_some()
    }

    /// L8: a webhook was answered with success. `durable`: the run is recorded or was woken.
    pub fn on_ingested(&mut self, now: Timestamp, name: &RunName, durable: bool) {
        if !durable {
            let what = format!("{name}: its webhook was taken, and nothing is durable");
            self.broken("L8", now, name.as_str(), what);
        }
    }

    /// L7: what a look tells must hold no credential.
    pub fn on_report(&mut self, now: Timestamp, report: &Report) {
        self.looks += 1;
        let text = serde_json::to_string(report).unwrap_or_default();
        let first = Slot {
            run: report.name.clone(),
            uid: tinqs_ci_reconciler::model::Uid8(String::new()),
            number: 0,
        };
        let own = self.attempts.range(first..).take_while(|(slot, _)| slot.run == report.name);
        let leaks = own.map(|(_, a)| a.runner.token.expose()).any(|token| text.contains(token));
        if leaks {
            let what = format!("{}: a credential stands in a report", report.name);
            self.broken("L7", now, report.name.as_str(), what);
        }
    }

    /// A run's machine was taken by another job: what was written for it bought that job its machine.
    pub fn on_robbed(&mut self, name: &RunName) {
        if let Some(times) = self.writes.get_mut(name) {
            let bought = times.len().min(WRITES_OF_A_MACHINE);
            times.drain(..bought);
        }
    }

    /// Time: writes of one run in a day, or in an hour.
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

/// What of a recorded attempt must never change, and did.
fn changed(known: &Attempt, now: &Attempt) -> Option<&'static str> {
    let recipe = |p: &Placement| p.machine.clone();
    let kept = known.placements.len() <= now.placements.len()
        && known.placements.iter().map(recipe).eq(now
            .placements
            .iter()
            .take(known.placements.len())
            .map(recipe));
    if known.runner != now.runner {
        Some("identity")
    } else if known.boot != now.boot || known.class != now.class || !kept {
        Some("recipe")
    } else if known.decided_at != now.decided_at {
        Some("time of decision")
    } else if known.ended.is_some_and(|e| now.ended.is_none_or(|n| n.at != e.at)) {
        Some("end")
    } else {
        None
    }
}
