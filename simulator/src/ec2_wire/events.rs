//! Machine events of `EventBridge`, delivered into a queue.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{MachineId, MachineState};

use super::Ec2Options;
use crate::aws_wire::{chance, draw, request_id};

/// Receives a body that is to be delivered after a delay.
pub type EventTarget = Arc<dyn Fn(String, Duration) + Send + Sync>;

/// Faults of events. By default the usual delay and no loss.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFaults {
    /// Probability of loss, from 0 to 1.
    pub lost: f64,
    /// Probability of duplication, from 0 to 1.
    pub doubled: f64,
    /// Median delay.
    pub median: SignedDuration,
    /// 99th percentile of the delay.
    pub p99: SignedDuration,
}

impl Default for EventFaults {
    fn default() -> Self {
        Self {
            lost: 0.0,
            doubled: 0.0,
            median: SignedDuration::from_millis(148),
            p99: SignedDuration::from_millis(387),
        }
    }
}

/// The target of events.
#[derive(Default)]
pub(super) struct Events {
    pub(super) target: Option<EventTarget>,
    pub(super) event_faults: EventFaults,
    sent: u64,
}

impl Events {
    pub(super) fn tell(&mut self, options: &Ec2Options, body: &Value) {
        let Some(target) = &self.target else { return };
        self.sent += 1;
        let (seed, n) = (options.seed, self.sent);
        let times = match () {
            () if chance(seed, "event/lost", n, self.event_faults.lost) => 0,
            () if chance(seed, "event/doubled", n, self.event_faults.doubled) => 2,
            () => 1,
        };
        for copy in 0..times {
            let wait = self.delay(draw(seed, &format!("event/delay/{copy}"), n));
            target(body.to_string(), options.quick(wait).unsigned_abs());
        }
    }

    /// Draws a delay, log-linear through the median and the 99th percentile.
    fn delay(&self, drawn: u64) -> SignedDuration {
        let EventFaults { median, p99, .. } = &self.event_faults;
        let (median, p99) = (median.as_secs_f64().max(0.0), p99.as_secs_f64().max(0.0));
        if median <= 0.0 {
            return SignedDuration::ZERO;
        }
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let at = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        let seconds = median * (p99 / median).max(1.0).powf((at - 0.5) / 0.49);
        SignedDuration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

fn body(options: &Ec2Options, kind: &str, arn: String, id: &MachineId, detail: &Value) -> Value {
    let now = options.now();
    json!({
        "version": "0",
        "id": request_id(format!("{kind} {id} {detail} {now}").as_bytes()),
        "detail-type": kind,
        "source": "aws.ec2",
        "account": options.account.id,
        "time": format!("{now:.0}"),
        "region": options.account.region,
        "resources": [arn],
        "detail": detail,
    })
}

/// Returns the event of a machine's state change.
pub(super) fn state_change(options: &Ec2Options, id: &MachineId, state: MachineState) -> Value {
    let account = &options.account;
    let arn = format!("arn:aws:ec2:{}:{}:instance/{id}", account.region, account.id);
    let detail = json!({"instance-id": id, "state": state_name(state).1});
    body(options, "EC2 Instance State-change Notification", arn, id, &detail)
}

/// Returns the warning of an interruption. The ARN names the zone but no account, as in AWS.
pub(super) fn interruption(options: &Ec2Options, id: &MachineId, zone: &str) -> Value {
    let arn = format!("arn:aws:ec2:{zone}:instance/{id}");
    let detail = json!({"instance-id": id, "instance-action": "terminate"});
    body(options, "EC2 Spot Instance Interruption Warning", arn, id, &detail)
}

/// Returns the event of an elevated risk of interruption.
pub(super) fn rebalance(options: &Ec2Options, id: &MachineId, zone: &str) -> Value {
    let arn = format!("arn:aws:ec2:{zone}:instance/{id}");
    let detail = json!({"instance-id": id});
    body(options, "EC2 Instance Rebalance Recommendation", arn, id, &detail)
}

/// Returns a state's number and name.
pub(super) fn state_name(state: MachineState) -> (u16, &'static str) {
    match state {
        MachineState::Booting => (0, "pending"),
        MachineState::Up => (16, "running"),
        MachineState::Ending => (32, "shutting-down"),
        MachineState::Gone => (48, "terminated"),
    }
}
