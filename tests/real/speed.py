#!/usr/bin/env python3
"""Measures how long a job waits for its first step, by step, on machines of emulated AWS.

    python3 tests/real/speed.py target/debug/tinqs-ci --root FOLDER --plain FOLDER [--jobs N]

`--root` is what `tests/deploy/root` left: the image, with a runner. `--plain` is a root that
debootstrap made, with curl: its machines fetch the runner from a server on loopback. Jobs run one
after the other. Prints a table in Markdown, then each job as one line of JSON. Needs root and what
`aws.py` needs. Exits with 1 if a job fails, or if a job needed another number of RunInstances than 1.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

from asking import all_succeed, until
from aws import Host, emulators, installed, nothing_left, set_up
from forge import Forge, build, build_gitea, free_port
from recorded import is_launch, parameters

STEP = """on: push
jobs:
  one:
    runs-on: linux
    steps:
      - run: date +%s.%N >/opt/guest/step
"""
# What ends a step, who does the step, and where its time comes from.
STEPS = [
    ("seen", "the run is recorded", "tinqs-ci", "timeline of the run"),
    # The milestone `Registered` has the time of the decision.
    ("decided", "its attempt is decided", "tinqs-ci, forge", "timeline of the run"),
    ("asked", "seat, registration and record are there: `RunInstances` is called",
     "tinqs-ci, forge, table", "the emulator's record of calls"),
    ("began", "the user data starts", "emulator", "`/proc/uptime` of the machine"),
    ("ready", "the environment of the job is ready", "boot script", "console"),
    ("fetched", "a runner is there, and starts", "boot script", "console"),
    ("online", "the runner is declared at the forge", "runner, forge", "the runner's log"),
    ("picked", "the runner has the job", "runner, forge", "the runner's log"),
    ("step", "the first step runs", "runner", "the step itself"),
]
CONSOLE = re.compile(r"^tinqs-ci: \+([0-9.]+)s (.*)")


class Quiet:
    def log_message(self, *_):
        pass


class Files(Quiet, SimpleHTTPRequestHandler):
    """Serves the runner."""


@contextlib.contextmanager
def serving(handler):
    """Serves on loopback. Yields the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def doorbell(address, heard):
    """Returns a handler that notes when the webhook of a waiting job came, and hands it on."""

    class Doorbell(Quiet, BaseHTTPRequestHandler):
        def do_POST(self):
            at = time.time()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = json.loads(body)
            if said.get("action") == "queued":
                heard.setdefault(said["workflow_job"]["id"], at)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            request = urllib.request.Request(f"{address}/webhook", data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

    return Doorbell


class Console:
    """Follows what machines print and what the emulator records, and notes when each line came."""

    def __init__(self, dir):
        self.dir, self.over, self.lines, self.read = dir, Event(), {}, {}

    def __enter__(self):
        self.thread = Thread(target=self.follow)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def follow(self):
        while not self.over.wait(0.01):
            for file in [self.dir / "calls", *self.dir.glob("i-*/guest/*.log")]:
                with open(file) as text:
                    text.seek(self.read.get(file, 0))
                    at, new = time.time(), text.read()
                # The last line may still be incomplete.
                whole = new[: new.rfind("\n") + 1]
                self.read[file] = self.read.get(file, 0) + len(whole.encode())
                of = "calls" if file.name == "calls" else file.parent.parent.name
                lines = self.lines.setdefault(of, [])
                lines += [(at, line) for line in whole.splitlines()]

    def came(self, machine, text):
        """Returns when the first line with this text came."""
        return next(at for at, line in self.lines[machine] if text in line)

    def said(self, machine, since):
        """Returns when the boot script said what, by its own stamps; not what its second copy said."""
        found = [CONSOLE.match(line) for _, line in self.lines[machine]]
        found = [line for line in found if line and "runs already" not in line[2]]
        return [(since + float(line[1]), line[2]) for line in found]

    def launches(self, job):
        """Returns when the emulator got each RunInstances for this job."""
        return [at for at, line in self.lines["calls"] if is_launch(parameters(line), job)]


def recorded(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def evidence(job, host, cloud, console, heard):
    """Returns when each step of a job ended, in seconds since 1970."""
    run = json.loads(host.said("why", f"job-{job['id']}", "-o", "json"))["job"]
    timeline = {}
    for milestone in run["timeline"]:
        timeline.setdefault(milestone["kind"], milestone)
    assert timeline["Seen"]["by"] == "webhook", run
    machine = timeline["Launched"]["machine"]
    guest = cloud.dir / machine / "guest"
    # Machines share the host's kernel, and so its uptime.
    since = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    said = console.said(machine, since)
    ready = next(at for at, text in said if text == "the environment of a login is read")
    starting = next(at for at, text in said if text.startswith("starting "))
    at = {
        "webhook": heard[job["id"]],
        "seen": recorded(timeline["Seen"]["at"]),
        "decided": recorded(timeline["Registered"]["at"]),
        "asked": console.launches(job["id"])[0],
        "began": since + float((guest / "started").read_text().split()[0]),
        "ready": ready,
        "fetched": starting,
        "online": console.came(machine, "declare successfully"),
        "picked": console.came(machine, " repo is "),
        "step": float((guest / "step").read_text()),
    }
    # The timeline tells when the call was answered.
    assert at["decided"] < at["asked"] < recorded(timeline["Launched"]["at"]), (at, timeline)
    fetched = any(": fetching " in text for _, text in said)
    # The forge's own time of the start has whole seconds.
    difference = recorded(job["started_at"]) - at["picked"]
    assert abs(difference) < 5, f"forge and console disagree by {difference} s"
    return at, fetched


def series(name, root, count, world):
    """Runs jobs one after the other on machines of this root. Returns what each showed."""
    forge, cloud, host, console, heard = world
    cloud.root = root
    shown = []
    for number in range(count):
        repo = f"{name}-{number}"
        forge.push(repo, ".gitea/workflows/a.yml", STEP)
        all_succeed(forge, repo, 1, 300)
        (job,) = forge.jobs(repo)
        at, fetched = evidence(job, host, cloud, console, heard)
        assert fetched == (name == "plain"), f"{repo}: the runner was{'' if fetched else ' not'} fetched"
        nothing_left(forge, cloud)
        calls, load = len(console.launches(job["id"])), round(os.getloadavg()[0], 1)
        shown.append({"machine": name, "at": at, "run_instances": calls, "load": load})
        took = at["step"] - at["webhook"]
        print(f"{repo}: {took:.2f} s, {calls} RunInstances, load {load}", flush=True)
    return shown


def durations(shown):
    """Returns the seconds of each step in each job, and of all steps."""
    order = ["webhook", *(step[0] for step in STEPS)]
    each = {after: [one["at"][after] - one["at"][before] for one in shown]
            for before, after in zip(order, order[1:])}
    each["all"] = [one["at"]["step"] - one["at"]["webhook"] for one in shown]
    each["ours"] = [of - emulated for of, emulated in zip(each["all"], each["began"])]
    return each


def table(image, plain):
    """Prints median and worst of each step, in seconds."""
    image, plain = durations(image), durations(plain)
    rows = [*STEPS, ("all", "**webhook to first step**", "", ""),
            ("ours", "**without the emulator: its answer, and the boot of its machine**", "", "")]
    print("| until | done by | time taken from | image: median, worst | plain: median, worst |")
    print("|---|---|---|---|---|")
    for key, until_, by, source in rows:
        cells = [f"{statistics.median(of[key]):.2f}, {max(of[key]):.2f} s" for of in (image, plain)]
        print(f"| {until_} | {by} | {source} | {cells[0]} | {cells[1]} |")


def measure(place, arguments, gitea, runner):
    """Returns what the jobs of both series showed."""
    from cloud import Cloud  # imports packages that are installed by now

    served = place / "served"
    served.mkdir()
    shutil.copy(runner, served / "gitea-runner")
    hash = hashlib.sha256(runner.read_bytes()).hexdigest()
    heard, secret = {}, secrets.token_hex(16)
    webhooks, api = (f"127.0.0.1:{free_port()}" for _ in range(2))
    playing = emulators(place, arguments.dynamodb)
    with (
        Cloud(place, playing, os.environ["PATH"], arguments.root) as cloud,
        Forge(place / "forge", gitea) as forge,
        serving(functools.partial(Files, directory=served)) as files,
        serving(doorbell(f"http://{webhooks}", heard)) as door,
        Console(place) as console,
    ):
        host = Host(place / "host", arguments.tinqs_ci.resolve(), forge, cloud)
        host.environment |= {
            "TINQS_CI_SERVER__WEBHOOKS": webhooks, "TINQS_CI_SERVER__API": api, "WEBHOOK_SECRET": secret,
            # A poll would find some jobs before their webhook comes.
            "TINQS_CI_FORGE__POLL_EVERY": "1h",
            "RUNNER_URL": f"{files}/gitea-runner", "RUNNER_SHA256": hash,
        }
        try:
            set_up(forge, cloud, host)
            forge.add_webhook(f"{door}/webhook", secret)
            world = (forge, cloud, host, console, heard)
            roots = {"image": arguments.root, "plain": arguments.plain}
            return {name: series(name, root, arguments.jobs, world) for name, root in roots.items()}
        finally:
            host.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tinqs_ci", type=Path, help="the program, with the AWS adapters")
    parser.add_argument("--root", type=Path, required=True, help="what tests/deploy/root left")
    parser.add_argument("--plain", type=Path, required=True, help="a root by debootstrap, with curl")
    parser.add_argument("--jobs", type=int, default=5, help="how many jobs on each of them")
    parser.add_argument("--gitea", default="v1.26.4", help="version of Gitea")
    parser.add_argument("--runner", default="v1.0.8", help="version of gitea.com/gitea/runner")
    parser.add_argument("--dynamodb", default="ministack", choices=["ministack", "moto"], help="emulator of DynamoDB")
    parser.add_argument("--work", type=Path, default=Path("target/real"), help="directory for builds, which are kept")
    parser.add_argument("--keep", type=Path, help="empty directory for logs, which are kept")
    arguments = parser.parse_args()
    arguments.root, arguments.plain = arguments.root.resolve(), arguments.plain.resolve()
    work = arguments.work.resolve()
    installed(work)
    gitea = build_gitea(work, arguments.gitea)
    runner, _ = build(work, "gitea.com/gitea/runner", arguments.runner, [])
    with tempfile.TemporaryDirectory(prefix="tinqs-ci-speed-") as scratch:
        place = (arguments.keep or Path(scratch)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        shown = measure(place, arguments, gitea, runner)
    table(shown["image"], shown["plain"])
    jobs = [job for of in shown.values() for job in of]
    for job in jobs:
        print(json.dumps(job))
    calls = {job["run_instances"] for job in jobs}
    print(f"{len(jobs)} jobs, RunInstances per job: {', '.join(map(str, sorted(calls)))}")
    return 0 if calls == {1} else 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
