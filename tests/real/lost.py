"""Machines that die mid-job, and how long it takes until the new attempt of a job runs. Nobody helps."""

import time
from datetime import datetime

from asking import in_progress, says, until
from forge import OWNER
from outages import CI, limit_of_6
from workflows import timed_matrix

# The forge fails a job after ten minutes without a report, which it looks for every five.
FAILS_WITHIN = 20 * 60
# A job whose workflow run is over for so long is not run again (law L17).
RUN_AGAIN_WITHIN = 3 * 60
NEVER = """
[[class]]
name = "deploy"
labels = ["deploy"]
limit = 2
rerun = "never"
"""


def seconds_of(text):
    """Returns the Unix time of an RFC 3339 text."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def runs_on_its_own(job):
    """Returns whether a job runs on the machine that was launched for it."""
    return job["runner_name"].startswith(f"tq-job-{job['id']}-")


class Loss:
    """A workflow run with a matrix, and the job of it whose machine is to be lost."""

    def __init__(self, forge, host, repo, count, seconds, **workflow):
        self.forge, self.host, self.repo, self.count = forge, host, repo, count
        self.file, self.begun = host.dir / f"{repo}.steps", len(host.log())
        forge.push(repo, CI, timed_matrix(self.file, count, seconds, **workflow))
        in_progress(forge, repo, count)
        # Gitea 1.27 takes a job back whose runner goes before it has the answer that gives it the job.
        time.sleep(5)
        jobs = [job for job in forge.jobs(repo) if job["name"] != f"m ({workflow.get('failing')})"]
        # Only the run of a machine tells that it is lost. Jobs may swap machines.
        self.victim = next(filter(runs_on_its_own, jobs), jobs[0])
        self.is_own = runs_on_its_own(self.victim)
        self.number = int(self.victim["name"].removeprefix("m (").removesuffix(")"))
        self.at = None

    def says(self, *texts):
        """Waits until `why` prints these texts of the lost job."""
        says(self.host, 0, texts, "why", self.victim["html_url"])

    def kill(self):
        """Kills the processes of a process machine."""
        name = self.victim["runner_name"]
        (machine,) = [machine for machine in self.host.live() if machine.name.startswith(name)]
        self.at = time.time()
        self.host.end_machine(machine)

    def steps(self):
        """Returns when the first step of each attempt ran, by the job's number."""
        steps = {number: [] for number in range(self.count)}
        for line in self.file.read_text().splitlines():
            repo, number, at = line.split()
            assert repo == f"{OWNER}/{self.repo}", line
            steps[int(number)].append(float(at))
        return steps

    def ended(self, conclusion):
        """Returns the names of the jobs with this conclusion."""
        jobs = self.forge.jobs(self.repo)
        return {job["name"] for job in jobs if job.get("conclusion") == conclusion}

    def asked(self):
        """Returns the log's lines of requests to run a job of this repository again."""
        lines = self.host.reconciles("rerun", self.begun)
        return [line for line in lines if line.get("repo") == f"{OWNER}/{self.repo}"]

    def again(self):
        """Waits until the new attempt's first step ran. Returns the time of each stage."""
        seen = {}

        def runs_again():
            jobs = self.forge.jobs(self.repo)
            own = [job for job in jobs if job["name"] == self.victim["name"]]
            failed = [job for job in own if job.get("conclusion") == "failure"]
            if failed:
                seen.setdefault("the forge shows the job as failed", seconds_of(failed[0]["completed_at"]))
            if failed and all(job["status"] == "completed" for job in jobs):
                over = max(seconds_of(job["completed_at"]) for job in jobs)
                seen.setdefault("its workflow run is over", over)
            if seen and any(job["status"] != "completed" for job in own):
                seen.setdefault("the new attempt is queued", time.time())
            return len(self.steps()[self.number]) > 1

        until("the job runs again", runs_again, FAILS_WITHIN)
        (asked,) = self.asked()
        assert asked["run"] == f"job-{self.victim['id']}", asked
        seen["the request to run it again is logged"] = seconds_of(asked["timestamp"])
        launched = [seconds_of(line["timestamp"]) for line in self.host.reconciles("launch", self.begun)
                    if line.get("repo") == f"{OWNER}/{self.repo}"]
        seen["its machine is launched"] = max(launched)
        seen["its first step runs"] = self.steps()[self.number][1]
        return seen

    def tell(self, stages):
        """Prints when each stage was reached, in seconds since the loss."""
        for what, at in sorted(stages.items(), key=lambda stage: stage[1]):
            print(f"       {self.repo}: {at - self.at:+.1f} s {what}", flush=True)

    def once(self, failing=()):
        """Waits until the jobs are done: all but the failing ones succeeded, the lost one with its
        second attempt, and each other one with its first."""
        failed = {f"m ({number})" for number in failing}
        right = self.count - len(failed)
        until("every other job succeeds", lambda: len(self.ended("success")) == right, FAILS_WITHIN)
        assert self.ended("success").isdisjoint(failed), self.forge.jobs(self.repo)
        assert self.ended("cancelled") == set(), "the forge canceled a job because another one failed"
        attempts = {number: len(steps) for number, steps in self.steps().items()}
        expected = {number: 2 if number == self.number else 1 for number in range(self.count)}
        assert attempts == expected, f"attempts by job: {attempts}"
        assert len(self.asked()) == 1, self.asked()


def lost(forge, host, repo, fail_fast):
    """A machine of a matrix of four is killed: its job is run again, once, and no other is. Servers
    before 1.26 have no API for that: the run says so at once."""
    before = set(host.machines())
    loss = Loss(forge, host, repo, 4, 90, fail_fast=fail_fast)
    loss.kill()
    if forge.minor() >= 26:
        if loss.is_own:
            loss.says("AwaitsRerun", "it is run again then")
        loss.tell(loss.again())
        loss.once()
        loss.says("the forge runs the job again")
    else:
        if loss.is_own:
            loss.says("MachineLost", "cannot run it again")
        until("the job fails", lambda: loss.ended("failure") == {loss.victim["name"]}, FAILS_WITHIN)
        loss.says("the job is not run again")
        assert loss.asked() == [] and set(map(len, loss.steps().values())) == {1}, loss.steps()
    made, expected = len(set(host.machines()) - before), 5 if forge.minor() >= 26 else 4
    assert made == expected, f"{made} machines, not {expected}"
    forge.delete(repo)


def lost_machine(forge, host):
    with host.configured(limit_of_6):
        lost(forge, host, "lost", fail_fast=False)


def lost_machine_with_fail_fast(forge, host):
    """`fail-fast`, which the server does not enforce, changes nothing: no other job is canceled."""
    with host.configured(limit_of_6):
        lost(forge, host, "lost-fast", fail_fast=True)


def lost_machines_and_others(forge, host):
    """Beside a lost job, one that fails by itself is not run again. Nor is a lost one of a class with
    `rerun = "never"`."""
    with host.configured(lambda text: limit_of_6(text) + NEVER):
        beside = Loss(forge, host, "beside", 4, 90, fail_fast=True, failing=3)
        never = Loss(forge, host, "never", 2, 30, labels="deploy")
        beside.kill()
        never.kill()
        if never.is_own:
            never.says("MachineLost")
        if forge.minor() >= 26:
            beside.tell(beside.again())
            beside.once(failing=[3])
        until("the jobs fail", lambda: never.ended("failure") == {never.victim["name"]}, FAILS_WITHIN)
        (failed,) = [job for job in forge.jobs("never") if job.get("conclusion") == "failure"]
        time.sleep(max(0, seconds_of(failed["completed_at"]) + RUN_AGAIN_WITHIN - time.time()))
        assert never.asked() == [] and set(map(len, never.steps().values())) == {1}, never.steps()
        if never.is_own:
            never.says("the machine of the job was lost while it ran")
        assert len(beside.steps()[3]) == 1, beside.steps()
        for repo in ("beside", "never"):
            forge.delete(repo)


LOST = [lost_machine, lost_machine_with_fail_fast, lost_machines_and_others]
