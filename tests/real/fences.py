"""Whose job runs on which machine: repositories, classes and installations beside each other."""

import hashlib
import json
import re
import time

from asking import all_succeed, jobs_of, page, says, until, well
from host import Host, processes
from proxy import Proxy
from workflows import matrix, places

CI = ".gitea/workflows/a.yml"
# Seconds from free capacity to the start of a job that it is for.
CAPACITY = 5
DEPLOY = """
[[class]]
name = "deploy"
labels = ["deploy", "linux"]
repos = ["boss/site"]
limit = 2
idle_within = "10s"
"""


def flood_of_one_repository(forge, host):
    """A repository never runs more than its limit, and another one's job runs within 5 s of capacity:
    of a seat that the flood may not have, and of one that it gives back."""
    beside_a_flood(forge, host, limit=3)
    beside_a_flood(forge, host, limit=2)


def beside_a_flood(forge, host, limit):
    flood, few = f"flood-{limit}", f"few-{limit}"

    def limited(text):
        return re.sub(r"(?m)^limit .*$", f"limit = {limit}\nrepo_limit = 2", text)

    with host.configured(limited):
        forge.push(flood, CI, matrix(10, 5))
        says(host, 0, ["AtLimit"], "why")
        if limit > 2:
            waiting = until("a job waits", lambda: jobs_of(forge, flood, "queued"), 30)
            says(host, 0, ["its repository holds 2 of 2"], "why", waiting[-1]["html_url"])
        forge.push(few, CI, matrix(1, 0))
        took = seconds_from_capacity(forge, host, few, is_free=limit > 2)
        print(f"       limit {limit}: the other repository's job ran {took:.1f} s after capacity", flush=True)
        assert took <= CAPACITY, f"the other repository's job ran {took:.1f} s after capacity"
        most = 0
        for _ in range(600):
            most = max(most, len(jobs_of(forge, flood, "in_progress")))
            if all(job["status"] == "completed" for job in forge.jobs(flood)):
                break
            time.sleep(0.2)
        assert most == 2, f"{most} jobs of one repository ran at once"
        all_succeed(forge, flood, 10, 30)
        all_succeed(forge, few, 1, 1)
        well(host)


def seconds_from_capacity(forge, host, repo, is_free):
    """Waits until the only job of a repository runs. Returns the time since there was capacity for
    it: since it waits if a seat `is_free` or is given to it at once, or else since the first machine
    ended after that."""
    jobs = until(f"the job of {repo} exists", lambda: forge.jobs(repo), 30)
    known = time.monotonic()
    capacity, machines, own = known if is_free else None, set(), f"tq-job-{jobs[0]['id']}-"
    while jobs[0]["status"] == "queued":
        live = set(host.live())
        machines |= live
        if capacity is None and any(machine.name.startswith(own) for machine in live):
            capacity = known
        if capacity is None and machines - live:
            capacity = time.monotonic()
        assert time.monotonic() - known < 120, f"the job of {repo} waits"
        time.sleep(0.1)
        jobs = forge.jobs(repo)
    return time.monotonic() - (known if capacity is None else capacity)


def class_of_one_repository(forge, host):
    """The class `deploy` has the label that others ask for, and a machine of it runs while they wait.
    None of their jobs runs there, and those of its owner do."""
    ran = host.dir / "ran"
    with host.configured(lambda text: text + DEPLOY):
        host.said("pause", "default")
        try:
            for other in ("other-1", "other-2"):
                forge.push(other, CI, places(ran, {"a": "linux", "b": "linux"}))
                until("its jobs wait", lambda: len(jobs_of(forge, other, "queued")) == 2, 30)
            forge.push("stranger", CI, places(ran, {"a": "deploy"}))
            says(host, 0, ["NoClass", "`repos` of class deploy"], "why", page(forge, "stranger"))
            forge.push("site", CI, places(ran, {"a": "deploy", "b": "[deploy, linux]", "c": "deploy"}))
            all_succeed(forge, "site", 3, 120)
            for other in ("other-1", "other-2"):
                states = [job["status"] for job in forge.jobs(other)]
                assert states == ["queued", "queued"], f"jobs of a class that is paused: {states}"
        finally:
            host.said("resume", "default")
        for other in ("other-1", "other-2"):
            all_succeed(forge, other, 2, 120)
        assert [job["status"] for job in forge.jobs("stranger")] == ["queued"], "no class serves it"
        forge.delete("stranger")
        until("the machines end", lambda: host.live() == [], 120)
        well(host)
    classes = sorted((repo, class_of(host, home)) for repo, home in map(str.split, ran.read_text().splitlines()))
    others = [(f"boss/{other}", "default") for other in ("other-1", "other-1", "other-2", "other-2")]
    assert classes == [*others, *[("boss/site", "deploy")] * 3], classes


def class_of(host, home):
    """Returns the class of the machine with this home."""
    (machine,) = [machine for machine in host.machines() if machine.name in home.split("/")]
    return json.loads((machine / "machine.json").read_text())["class"]


def two_installations(forge, host):
    """Two installations serve the same labels of one forge: each leaves the other's registrations
    alone, also those whose runners have not come online yet, and every job runs."""
    ids = [hashlib.sha256(name.encode()).hexdigest()[:4] for name in ("tinqs-ci", "second")]
    begun, place = len(host.log()), host.dir.parent / "second"

    def surplus(text):
        """Both find the jobs by polls at about the same time, start more machines than there are
        jobs, and so remove registrations."""
        text = re.sub(r"(?m)^idle_within .*$", 'idle_within = "20s"', text)
        return re.sub(r"(?m)^limit .*$", "limit = 12", text).replace(forge.url, mine.url)

    with Proxy(forge.port) as mine, Proxy(forge.port) as theirs:
        with host.configured(surplus):
            with Host(place, host.program, (host.runner,), forge, "jobs", "second", theirs.url) as other:
                forge.webhooks(active=False)
                try:
                    with other.configured(surplus):
                        names = {}
                        # A round whose polls come late has a machine for each job and no more.
                        for letter in "abcde":
                            names |= beside_each_other(forge, host, other, ids, letter)
                            if mine.changed | theirs.changed:
                                break
                finally:
                    forge.webhooks(active=True)
                ended = host.acted("terminate", begun) + other.acted("terminate")
        for own, proxy in zip(ids, (mine, theirs)):
            changed = [names.get(id, f"registration {id}") for id in proxy.changed]
            foreign = [name for name in changed if installation(name) != own]
            assert foreign == [], f"installation {own} changed registrations of another: {foreign}"
        assert mine.changed | theirs.changed, "no registration was removed: nothing was tested"
    assert ended == [], f"machines were terminated: {ended}"
    well(host)


def installation(name):
    """Returns the installation's ID in the name of a runner; `None` for another name."""
    found = re.fullmatch(r"tq-job-\d+-([0-9a-f]{4})[0-9a-f]{8}-\d+", name)
    return found and found[1]


def beside_each_other(forge, host, other, ids, letter):
    """Runs the jobs of three repositories. Returns the names of all registrations by their ID."""
    for n in range(3):
        forge.push(f"shared-{letter}{n}", CI, matrix(6, 12))
    rows, before, gone = {}, set(), {}

    def finished():
        nonlocal before
        now, present = time.monotonic(), forge.registrations()
        rows.update(present)
        names = set(present.values())
        gone.update((name, now) for name in before - names)
        before = names
        # The machine of a registration that somebody else removed goes on for a minute.
        late = [name for name, at in gone.items() if now - at > 20]
        orphans = [name for name in late if processes(f"{name}-0")]
        assert orphans == [], f"registrations removed under live machines: {orphans}"
        return gone and not names and not host.live() and not other.live()

    def both():
        finished()
        return set(map(installation, rows.values())) >= set(ids)

    until("both have registrations", both, 60)
    says(host, 0, [f"installation {ids[1]} has", 'labels of class "default"'], "doctor")
    # Machines that got no job end after `idle_within`.
    until("nothing is left", finished, 500)
    for n in range(3):
        all_succeed(forge, f"shared-{letter}{n}", 6, 1)
    return rows


FENCES = [flood_of_one_repository, class_of_one_repository, two_installations]
