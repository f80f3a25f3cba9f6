#!/usr/bin/env python3
"""Tests tinqs-ci on loopback with a real Gitea and its real runner, both built from source.

    python3 tests/real/check.py target/debug/tinqs-ci

Needs Go, git and a C compiler (Gitea's sqlite). The first build takes about ten minutes and is kept
in `--work`. Exits with 1 if a scenario failed, else with 0. Stops only the processes that it started.
"""

import argparse
import contextlib
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from asking import Skipped, all_succeed, jobs_of, nothing_left, page, says, until
from fences import FENCES
from forge import Forge, build, build_gitea
from host import Host
from lost import LOST
from outages import OUTAGES
from short import short_jobs
from situations import SITUATIONS
from workflows import PATHS, matrix, surroundings_of


def single(forge, host):
    forge.push("single", ".gitea/workflows/a.yml", matrix(1, 0))
    all_succeed(forge, "single", 1, 60)
    says(host, 0, ["the job succeeded", "webhook"], "why", page(forge, "single"))
    says(host, 0, ["all is well"], "status")


def surroundings(forge, host):
    """The environment of a job, although this program has umask 077. PATH is the controller's:
    process machines do not read /etc/profile (those of `aws.py` do)."""
    job = surroundings_of("*/machines/tq-*/home", host.dir / "bin")
    forge.push("around", ".gitea/workflows/a.yml", job)
    all_succeed(forge, "around", 1, 60)


def matrix_of_20(forge, host):
    before = set(host.machines())
    forge.push("matrix", ".gitea/workflows/a.yml", matrix(20, 1))
    all_succeed(forge, "matrix", 20, 180)
    made = len(set(host.machines()) - before)
    assert made == 20, f"{made} machines for 20 jobs"


def without_webhook(forge, host):
    forge.webhooks(active=False)
    forge.push("silent", ".gitea/workflows/a.yml", matrix(3, 0))
    all_succeed(forge, "silent", 3, 120)
    forge.webhooks(active=True)


def short_jobs_without_webhook(forge, host):
    # More than the jobs need.
    with host.configured(lambda text: re.sub(r"(?m)^limit .*$", "limit = 40", text)):
        short_jobs(forge, host.machines, lambda: nothing_left(forge, host))


def labels_nobody_serves(forge, host):
    before = host.machines()
    forge.push("strange", ".gitea/workflows/a.yml", matrix(1, 0, "host"))
    forge.push("strange", ".gitea/workflows/b.yml", matrix(1, 0, "nobody"))

    def states():
        # A second push cancels the jobs of the first one before Gitea 1.26.
        jobs = [(job["status"], job.get("conclusion")) for job in forge.jobs("strange")]
        return [state for state in jobs if state != ("completed", "cancelled")]

    until("the jobs wait", lambda: len(states()) >= 2, 30)
    time.sleep(2 * 10)  # two polls
    assert host.machines() == before, "a machine was launched for unserved labels"
    assert {status for status, _ in states()} == {"queued"}, f"jobs that no class serves: {states()}"
    says(host, 1, ["NoClass", "nobody", "[[class]]"], "status")
    says(host, 0, ["NoClass"], "get", "runs")
    forge.delete("strange")


def controller_killed(forge, host):
    forge.push("killed", ".gitea/workflows/a.yml", matrix(20, 2))
    for _ in range(5):
        time.sleep(random.uniform(0.5, 2.5))
        host.kill()
        host.serve()
    all_succeed(forge, "killed", 20, 300)
    says(host, 0, ["the job succeeded"], "why", forge.jobs("killed")[0]["html_url"])


def machine_killed(forge, host):
    forge.push("dead", ".gitea/workflows/a.yml", matrix(1, 600))
    until("the job runs", lambda: jobs_of(forge, "dead", "in_progress"), 60)
    (machine,) = host.live()
    host.end_machine(machine)
    until("the end of the machine is noticed", lambda: host.live() == [], 30)
    # The forge fails such a job after about ten minutes; until then no other machine may run it.
    assert [job["status"] for job in forge.jobs("dead")] == ["in_progress"]
    then = ["AwaitsRerun", "it is run again then"]
    if forge.minor() < 26:
        then = ["MachineLost", "cannot run it again"]
    says(host, 0, ["the cloud took machine", *then], "why", page(forge, "dead"))
    forge.delete("dead")


def forge_restarted(forge, host):
    forge.push("restart", ".gitea/workflows/a.yml", matrix(20, 3))
    until("the jobs exist", lambda: len(forge.jobs("restart")) == 20, 60)
    forge.stop()
    # The lost machine of the scenario before may still be told.
    says(host, None, ["ForgeUnreachable", "forge.url"], "status")
    time.sleep(8)
    forge.start()
    all_succeed(forge, "restart", 20, 300)
    says(host, 0, ["all is well"], "status")


def repository_vanished(forge, host):
    forge.push("gone", ".gitea/workflows/a.yml", matrix(3, 30))
    until("a machine exists", host.live, 30)
    forge.delete("gone")
    until("the machines end", lambda: host.live() == [], 300)


def pushes(forge, host):
    """Push mode with only a `push` webhook."""
    forge.push("paths", ".gitea/workflows/a.yml", PATHS)
    forge.push("paths", "docs/a.md", "outside")
    time.sleep(5)
    assert forge.jobs("paths") == [] and host.machines() == [], "a push outside the path filter"
    says(host, 0, ["paths"], "explain", "push", "boss/paths", "main")
    forge.push("paths", "src/a.c", "inside")
    all_succeed(forge, "paths", 2, 120)
    nothing_left(forge, host)
    assert len(host.machines()) == 2, host.machines()


JOBS = [
    single,
    surroundings,
    matrix_of_20,
    without_webhook,
    short_jobs_without_webhook,
    labels_nobody_serves,
    controller_killed,
    machine_killed,
    forge_restarted,
    repository_vanished,
    *SITUATIONS,
    *FENCES,
    *OUTAGES,
    *LOST,
]


def play(scenario, forge, host):
    """Returns "ok", "FAILED" or "SKIPPED"."""
    began, name = time.monotonic(), scenario.__name__
    try:
        scenario(forge, host)
        nothing_left(forge, host)
    except Skipped as why:
        result, said = "SKIPPED", f": {why}"
    except Exception as error:
        result, said = "FAILED", f": {type(error).__name__}: {error}"
        clear(forge, host)
    else:
        result, said = "ok", ""
    print(f"{result:7} {name} ({time.monotonic() - began:.1f} s){said}", flush=True)
    return result


def clear(forge, host):
    """Removes what a scenario left, so that it disturbs no other one."""
    for repo in forge.repositories():
        forge.delete(repo)
    for machine in host.live():
        host.end_machine(machine)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tinqs_ci", type=Path, help="the program")
    parser.add_argument("--gitea", default="v1.26.4", help="version of Gitea")
    parser.add_argument("--runner", default="v1.0.8", help="version of gitea.com/gitea/runner")
    parser.add_argument("--work", type=Path, default=Path("target/real"), help="directory for builds, which are kept")
    parser.add_argument("--keep", type=Path, help="directory for what Gitea and the program write, which is kept")
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", help="run only these scenarios")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    gitea = build_gitea(work, arguments.gitea)
    runner = build(work, "gitea.com/gitea/runner", arguments.runner, [])
    names = [s.__name__ for s in [*JOBS, pushes]]
    unknown = set(arguments.only or []) - set(names)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; scenarios: {', '.join(names)}")
    chosen = arguments.only or names
    results = []
    kept = arguments.keep and contextlib.nullcontext(arguments.keep.resolve())
    with kept or tempfile.TemporaryDirectory(prefix="tinqs-ci-real-") as scratch:
        for name, scenarios in (("jobs", JOBS), ("push", [pushes])):
            scenarios = [s for s in scenarios if s.__name__ in chosen]
            if not scenarios:
                continue
            place = Path(scratch, name)
            with Forge(place / "forge", gitea) as forge:
                program = arguments.tinqs_ci.resolve()
                with Host(place / "host", program, runner, forge, name) as host:
                    if name == "push":
                        forge.webhooks(events=["push"])
                    results += [play(s, forge, host) for s in scenarios]
    counts = ", ".join(f"{results.count(result)} {result}" for result in ("ok", "SKIPPED", "FAILED"))
    print(f"Gitea {arguments.gitea}, runner {arguments.runner}: {counts}")
    return 1 if "FAILED" in results else 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
