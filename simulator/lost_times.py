#!/usr/bin/env python3
"""Prints how long jobs that lost their machine wait until their new attempt runs, in the simulation.

    python3 simulator/lost_times.py target/release/tinqs-ci-simulator --first-seed 1 --seeds 300

Reads the traces of the profile `interrupt`. Counts each job whose machine the cloud took mid-job and
that tinqs-ci, not a person, ran again. The trace does not tell the workflow run of a job that a
person ran again on Gitea 1.27: a wait for it counts as one for the request. Exits with 1 if a seed
breaks a law.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LINE = re.compile(r" *(\d+):(\d\d):(\d\d\.\d+) (.*)")
MACHINE = re.compile(r"(tq-\S+) i-\S+: (.*)")
STATUS = re.compile(r"job-(\d+) is (\w+) at the forge")
RERUN = re.compile(r"\[\d+\] forge\.rerun (\d+) (?:Failed|Job\((\d+)\))")


class History:
    """What a trace tells about lost jobs. Times are seconds."""

    def __init__(self):
        # `pushed`: workflow runs have consecutive numbers. `call`: the last push or re-run.
        self.pushed, self.call = 0, None
        self.run_of, self.status, self.done = {}, {}, {}
        # The job of each machine, and the lost jobs by ID.
        self.job_of, self.lost, self.again = {}, {}, []

    def read(self, line):
        found = LINE.match(line)
        if not found:
            return
        hours, minutes, seconds, event = found.groups()
        at = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        if machine := MACHINE.match(event):
            self.machine(at, *machine.groups())
        elif status := STATUS.match(event):
            self.job(at, int(status[1]), status[2])
        elif event.startswith("people: "):
            self.pushed += event.startswith("people: push")
            self.call = (at, self.pushed, [], at) if event.startswith("people: push") else None
        elif rerun := RERUN.match(event):
            self.rerun(at, int(rerun[1]), rerun[2])

    def machine(self, at, name, event):
        if event.startswith("takes job "):
            job = self.job_of[name] = int(event.split()[2])
            lost = self.lost.pop(job, {})
            if "asked" in lost:
                self.again.append({**lost, "runs": at})
        elif event.startswith("ends job "):
            self.lost[int(event.split()[2])] = {"is_noticed": True, "failed": at}
        elif event == "interrupted" and name in self.job_of:
            job = self.job_of[name]
            if self.status[job] == "in_progress":
                self.lost[job] = {"is_noticed": False, "taken": at}
            elif job in self.lost and "taken" not in self.lost[job]:
                self.lost[job]["taken"] = at

    def job(self, at, job, status):
        self.status[job] = status
        if status == "completed":
            self.done[job] = at
            self.lost.get(job, {}).setdefault("failed", at)
        elif self.call and self.call[0] == at:
            _, run, targets, over = self.call
            self.run_of.setdefault(job, run)
            lost = self.lost.pop(targets.pop(0), None) if status == "queued" and targets else None
            if lost:
                self.lost[job] = {**lost, "asked": at, "over": over}

    def rerun(self, at, run, job):
        """The forge is asked to run all failed jobs of a workflow run again, or one."""
        over = max((end for other, end in self.done.items() if self.run_of.get(other) == run), default=at)
        waiting = [other for other, lost in self.lost.items() if self.run_of.get(other) == run
                   and self.status[other] == "completed" and "taken" in lost and "asked" not in lost]
        self.call = (at, run, [int(job)] if job else sorted(waiting), over)


def tell(what, times):
    """Prints a line with the distribution of some times."""
    times = sorted(times)
    if times:
        at = [times[min(len(times) - 1, int(share * len(times)))] for share in (0.5, 0.9, 0.99)]
        print(f"  {what:52}{len(times):6}" + "".join(f"{time:8.0f}" for time in (*at, times[-1])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=300)
    arguments = parser.parse_args()
    again, broken = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        trace = Path(scratch, "trace")
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            command = ["--profile", "interrupt", "--seeds", "1", "--first-seed", str(seed), "--trace", trace]
            played = subprocess.run([arguments.simulator, *command], stdout=subprocess.DEVNULL)
            broken += played.returncode != 0
            history = History()
            with trace.open() as lines:
                for line in lines:
                    history.read(line)
            again += history.again
    print(f"{arguments.seeds} seeds from {arguments.first_seed}; seconds: {'jobs':>17}     p50     p90     p99     max")
    for title, noticed in (("without notice", False), ("with notice", True)):
        print(title)
        of = [lost for lost in again if lost["is_noticed"] == noticed]
        tell("machine taken to workflow run over", [lost["over"] - lost["taken"] for lost in of])
        tell("both to the request", [lost["asked"] - max(lost["over"], lost["taken"]) for lost in of])
        tell("request to new attempt running", [lost["runs"] - lost["asked"] for lost in of])
        tell("machine taken to new attempt running", [lost["runs"] - lost["taken"] for lost in of])
        alone = [lost for lost in of if lost["over"] <= max(lost["taken"], lost["failed"])]
        tell("the same, where the run waited for no other job", [lost["runs"] - lost["taken"] for lost in alone])
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
