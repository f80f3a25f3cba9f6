"""Faults under running jobs: a wrong clock, partitions, a forge that restarts. No job is ended."""

import contextlib
import os
import re
import time
from pathlib import Path

from asking import Skipped, all_succeed, in_progress, jobs_of, says, says_no_longer, until, well
from proxy import Proxy
from workflows import matrix

CI = ".gitea/workflows/a.yml"
DAY = 24 * 60 * 60


def fake_clock():
    """Returns libfaketime: the file that the variable LIBFAKETIME names, or that of Debian."""
    named = os.environ.get("LIBFAKETIME")
    found = [Path(named)] if named else sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return next((file for file in found if file.is_file()), None)


@contextlib.contextmanager
def stepped_clock(host, library):
    """Restarts the server with a clock that can be stepped; machines keep the true one. Returns a
    function that sets how many seconds it is ahead."""
    file = host.dir / "clock"

    def step(seconds):
        new = file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(file)

    step(0)
    host.serving = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }
    try:
        host.restart()
        yield step
    finally:
        host.serving = {}
        host.restart()


def limit_of_6(text):
    return re.sub(r"(?m)^limit .*$", "limit = 6", text)


def clock_stepped(forge, host):
    """The server's clock is stepped by a day while jobs run: ahead, behind, and right again. None is
    ended, and new jobs run."""
    library = fake_clock()
    if library is None:
        raise Skipped("libfaketime is missing: install Debian's package `faketime`, or name "
                      "libfaketimeMT.so.1 in LIBFAKETIME")
    begun = len(host.log())
    with host.configured(limit_of_6), stepped_clock(host, library) as step:
        forge.push("clock", CI, matrix(3, 180))
        in_progress(forge, "clock", 3)
        for repo, seconds, side in (("ahead", DAY, "ahead of"), ("behind", -DAY, "behind")):
            step(seconds)
            says(host, 1, ["ClockDiffers", f"{side} the forge's"], "status")
            forge.push(repo, CI, matrix(2, 5))
            all_succeed(forge, repo, 2, 120)
            # What only the time makes superfluous is looked for, again and again.
            for _ in range(5):
                host.said("sweep")
                time.sleep(4)
            assert len(jobs_of(forge, "clock", "in_progress")) == 3, forge.jobs("clock")
        step(0)
        says_no_longer(host, ["ClockDiffers"], "status")
        all_succeed(forge, "clock", 3, 240)
        until("the machines end", lambda: host.live() == [], 120)
    ended = host.acted("terminate", begun)
    assert ended == [], f"machines were terminated: {ended}"
    well(host)


def partitions_under_long_jobs(forge, host):
    """Partitions of machines, of machines and server, and a restart of the forge, when the boot promise
    of machines is over (rule 22): no job is ended."""
    begun, before = len(host.log()), set(host.machines())
    with Proxy(forge.port) as server, Proxy(forge.port) as machines:

        def apart(text):
            text = text.replace(forge.url, server.url)
            text = text.replace("[forge]\n", f'[forge]\nmachine_url = "{machines.url}"\n')
            text = re.sub(r"(?m)^idle_within .*$", 'idle_within = "5s"\nboot_within = "15s"', text)
            return limit_of_6(text)

        def sweeps(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                # It fails while the forge is away.
                host.printed("sweep")
                time.sleep(1)

        with host.configured(apart):
            swapped = far_jobs(forge)
            at = time.monotonic()
            # Their promise is 35 s long, and two minutes later readings count. In both partitions the
            # forge calls these runners not busy. Where jobs took machines of one another, only its
            # list of jobs in progress protects them.
            for after in (165, 165 + 130):
                time.sleep(max(0, at + after - time.monotonic()))
                with machines.partition():
                    sweeps(25)
            read = len(host.acted("disable", begun))
            print(f"       {swapped} of 6 jobs swapped machines, {read} registrations disabled", flush=True)
            assert read or not swapped or forge.minor() < 26, "no reading of rule 22"
            with machines.partition(), server.partition():
                sweeps(15)
            sweeps(5)
            forge.stop()
            sweeps(8)
            forge.start()
            assert len(jobs_of(forge, "far", "in_progress")) == 6, forge.jobs("far")
            all_succeed(forge, "far", 6, 240)
            until("the machines end", lambda: host.live() == [], 120)
            made = len(set(host.machines()) - before)
            assert made == 6, f"{made} machines for 6 jobs"
            well(host)
    ended = host.acted("terminate", begun)
    assert ended == [], f"machines were terminated: {ended}"


def far_jobs(forge):
    """Starts six long jobs at once, found by a poll. Returns how many run on another one's machine."""
    forge.webhooks(active=False)
    try:
        forge.push("far", CI, matrix(6, 430))
        in_progress(forge, "far", 6)
    finally:
        forge.webhooks(active=True)
    return sum(f"tq-job-{job['id']}-" not in job["runner_name"] for job in forge.jobs("far"))


OUTAGES = [clock_stepped, partitions_under_long_jobs]
