"""The faults that the demo injects, and which alerts fire meanwhile."""

import time
from dataclasses import dataclass

import certificates
import running
from scraped import Quick

# The demo's world is so much faster than ours; a simulated minute takes a second.
FACTOR = 60
MINUTE = 60 / FACTOR


@dataclass(frozen=True)
class Fault:
    """A fault of `tinqs-ci demo --fault`, its alert, and for how long it is watched."""

    name: str
    alert: str | None
    minutes: int
    # The days after which the served certificate expires; without them there is no TLS.
    days: int | None = None
    # What the demo injects, if that is not of the same name.
    injected: str | None = None


# Where a fault is not repaired, others follow in the end: jobs that get no machine for a quarter of
# an hour are drift. Such faults are watched until shortly before.
FAULTS = (
    Fault("none", None, 45, days=90),
    Fault("slow-boots", "TinqsCiJobWaitSlow", 35),
    Fault("no-spot", "TinqsCiLaunchesFailing", 30),
    Fault("deaf-machines", "TinqsCiOrphanMachines", 30),
    Fault("lost-webhooks", "TinqsCiWebhooksLost", 30),
    Fault("at-limit", "TinqsCiDriftNotConverging", 25),
    Fault("broken-image", "TinqsCiImageBroken", 18),
    Fault("mute-forge", "TinqsCiJobNotAssigned", 20),
    Fault("poisoned-message", "TinqsCiQueueBacklog", 20),
    Fault("no-job-list", "TinqsCiReconcileStalled", 15),
    Fault("forged-webhooks", "TinqsCiWebhookSignature", 20),
    Fault("no-leader", "TinqsCiLeaderCountWrong", 15),
    Fault("denied-launches", "TinqsCiBreakerOpen", 12),
    Fault("spent-budget", "TinqsCiBudgetNearlySpent", 12),
    Fault("failing-reruns", "TinqsCiRerunsFailing", 45),
    Fault("dead-letter", "TinqsCiDeadLetters", 10),
    # The certificate is the fault: less than the 7 days of the alert are left from the start.
    Fault("expiring-certificate", "TinqsCiCertificateExpiring", 20, days=7, injected="none"),
)


def watch(fault, program, prometheus, rules, scratch):
    """Runs a demo with a fault. Returns the alerts that fired, and after how many real seconds."""
    folder = scratch / fault.name
    folder.mkdir()
    certificate = certificates.issue(folder, fault.days) if fault.days else None
    injected = fault.injected or fault.name
    demo = running.Demo(program, folder, "--fault", injected, certificate=certificate)
    with demo, Quick(demo, FACTOR) as quick:
        with running.Prometheus(prometheus, folder, quick.address, rules=rules) as server:
            began, fired = time.monotonic(), {}
            while time.monotonic() - began < fault.minutes * MINUTE:
                for name in server.firing():
                    fired.setdefault(name, time.monotonic() - began)
                time.sleep(0.25)
    assert quick.scrapes > fault.minutes * MINUTE / 3, f"{fault.name}: only {quick.scrapes} scrapes"
    return fired
