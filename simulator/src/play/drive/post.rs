//! Webhooks and pushes in transit to a replica.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::AttemptId;

use super::Drive;
use crate::cloud::Cloud;
use crate::forge::{Forge, JobRow, Status};
use crate::play::replica::Replica;
use crate::ports;
use crate::world::Demand;

/// A message in transit to a replica.
#[derive(Clone, Debug)]
pub(super) enum Post {
    /// A webhook about a job.
    Hint(Box<Hint>),
    /// A push that needs a runner for a job at once, without a job list.
    Push(i64),
}

impl Drive<'_> {
    /// Takes the forge's webhooks and lets the faults delay, duplicate or drop them.
    pub(super) fn post(&mut self) {
        let mut world = self.world.lock();
        let forge = world.forge.clone();
        let mut forge = forge.lock();
        let now = world.now();
        for webhook in forge.take_webhooks() {
            let line = format!("job-{} is {} at the forge", webhook.job_id, webhook.action);
            world.laws.tell(now, &line);
            let post = match self.profile.demand {
                Demand::Jobs => {
                    ports::hint(&webhook, &forge).map(|hint| Post::Hint(Box::new(hint)))
                }
                Demand::Push | Demand::PushWithoutRows => {
                    let first = forge.job(webhook.job_id).is_some_and(|job| job.needs.is_empty());
                    (webhook.action == "queued" && first).then_some(Post::Push(webhook.job_id))
                }
            };
            match (webhook.action, forge.job(webhook.job_id)) {
                ("queued", Some(job)) => {
                    self.queued.insert((job.id, job.updated_at));
                }
                ("in_progress", Some(job)) => {
                    let own = format!("tq-job-{}-", job.id);
                    let own = job.runner_name.as_ref().is_some_and(|n| n.starts_with(&own));
                    let (id, at) = (job.id, job.updated_at);
                    let waited = self.queued.range((id, Timestamp::MIN)..=(id, at)).next_back();
                    let waited = waited.map_or(SignedDuration::ZERO, |w| at.duration_since(w.1));
                    world.laws.on_started(id, waited);
                    world.laws.on_assigned(now, job, forge.repo_by_id(job.repo_id));
                    let running = running(&world.cloud, &forge);
                    world.laws.on_running(now, job, &running);
                    let attempt_id =
                        job.runner_name.as_ref().and_then(|n| n.parse::<AttemptId>().ok());
                    if let Some(attempt_id) = attempt_id.filter(|_| !own) {
                        world.laws.on_displaced(&attempt_id.run);
                    }
                    self.starts.insert((id, at), own);
                }
                ("completed", Some(job)) => {
                    let (id, at) = (job.id, job.updated_at);
                    let queued = self.queued.range((id, Timestamp::MIN)..=(id, at)).next_back();
                    let took = queued.map_or(SignedDuration::ZERO, |q| at.duration_since(q.1));
                    self.longest_to_done = self.longest_to_done.max(took);
                }
                _ => {}
            }
            let faults = world.faults.at(now);
            let Some(post) = post.filter(|_| !world.strikes("webhook_lost", faults.webhook_lost))
            else {
                continue;
            };
            let copies = 1 + u8::from(world.strikes("webhook_doubled", faults.webhook_doubled));
            for _ in 0..copies {
                let late = world.strikes("webhook_late", faults.webhook_late);
                let most = SignedDuration::from_millis(if late { 600_000 } else { 400 });
                let wait = world.rng.between(SignedDuration::from_millis(20), most);
                self.sent += 1;
                self.webhooks.insert((now + wait, self.sent), post.clone());
            }
        }
    }

    /// Delivers webhooks to a live replica; without one, they are lost.
    pub(super) fn deliver(&mut self, now: Timestamp) {
        while let Some(first) = self.webhooks.first_entry().filter(|e| e.key().0 <= now) {
            let post = first.remove();
            let up: Vec<&Replica> = self.replicas.iter().flatten().collect();
            let count = u64::try_from(up.len()).unwrap_or(0);
            let drawn = self.world.lock().rng.below(count);
            if let Some(replica) = usize::try_from(drawn).ok().and_then(|n| up.get(n)) {
                let scheduler = self.executor.scheduler();
                let replica = (*replica).clone();
                match post {
                    Post::Hint(hint) => scheduler.spawn(replica.group, replica.ingest(*hint)),
                    Post::Push(id) => scheduler.spawn(replica.group, replica.ingest_push(id)),
                }
            }
        }
    }
}

/// Returns the attempts whose live machines run jobs.
fn running(cloud: &Cloud, forge: &Forge) -> Vec<AttemptId> {
    let live: BTreeSet<&AttemptId> = cloud.live().map(|machine| &machine.attempt_id).collect();
    let jobs = forge.jobs().filter(|job| job.status == Status::Running);
    let attempt_id = |job: &JobRow| job.runner_name.as_ref()?.parse::<AttemptId>().ok();
    jobs.filter_map(attempt_id).filter(|attempt_id| live.contains(attempt_id)).collect()
}
