"""Situations that an operator meets: `status` and `why` name the reason and the remedy, and no longer
do once the cause is gone."""

import hashlib
import re
import resource
import time

from asking import all_succeed, jobs_of, page, says, says_no_longer, until, well
from host import Host, processes
from workflows import matrix

CI = ".gitea/workflows/a.yml"


def running(forge, repo):
    """Waits until a job of the repository runs."""
    return until(f"a job of {repo} runs", lambda: jobs_of(forge, repo, "in_progress"), 90)


def retried(forge, host, repo):
    """Has the runs of a repository tried again at once, whatever their machines did before."""
    for job in forge.jobs(repo):
        host.printed("retry", f"job-{job['id']}")


def runner_missing(forge, host):
    host.remove_runner()
    try:
        forge.push("norunner", CI, matrix(1, 0))
        texts = ["BackingOff", "neither gitea-runner nor act_runner", "PATH"]
        says(host, 0, texts, "why", page(forge, "norunner"))
    finally:
        host.install_runner()
    retried(forge, host, "norunner")
    all_succeed(forge, "norunner", 1, 180)
    says(host, 0, ["the job succeeded"], "why", page(forge, "norunner"))
    well(host)


def forge_unreachable_for_machines(forge, host):
    def unreachable(text):
        # The machine's runner starts again and again until `idle_within` is over.
        text = re.sub(r"(?m)^idle_within .*$", 'idle_within = "10s"', text)
        return text.replace("[forge]\n", '[forge]\nmachine_url = "http://127.0.0.1:9"\n')

    with host.configured(unreachable):
        forge.push("nourl", CI, matrix(1, 0))
        says(host, 0, ["BackingOff", "127.0.0.1:9"], "why", page(forge, "nourl"))
    retried(forge, host, "nourl")
    all_succeed(forge, "nourl", 1, 180)
    says(host, 0, ["the job succeeded"], "why", page(forge, "nourl"))
    well(host)


def hung_image(forge, host):
    """Machines that hang cost the class's limit once, then one at a time; a working one frees the class."""
    def short(text):
        text = re.sub(r"(?m)^idle_within .*$", 'idle_within = "5s"\nboot_within = "10s"', text)
        return re.sub(r"(?m)^limit .*$", "limit = 3", text)

    before = set(host.machines())
    most = 0

    def live():
        nonlocal most
        now = set(host.live())
        most = max(most, len(now))
        return now

    host.remove_runner()
    host.install_hung_runner()
    try:
        with host.configured(short):
            forge.push("hang", CI, matrix(3, 1))
            first = until("three machines start", lambda: len(live()) == 3 and live(), 60)
            says(host, 1, ["BreakerOpen", "never came online"], "status")
            says(host, 0, ["BreakerOpen", "never come online"], "why")
            # Nobody but rule 22 ends them: 4 to 7 min after their boot promise, which is 25 s long.
            until("the machines that hang are ended", lambda: not first & live(), 480)
            tried = set(host.machines()) - before - first
            assert len(tried) <= 1, f"{len(tried)} machines tried at once"
            host.remove_runner()
            host.install_runner()

            def one_runs():
                live()
                jobs = forge.jobs("hang")
                return any(job["status"] in ("in_progress", "completed") for job in jobs)

            until("a machine that tries gets a job", one_runs, 420)
            all_succeed(forge, "hang", 3, 120)
            assert most == 3, f"{most} machines at once, with a limit of 3"
            says_no_longer(host, ["BreakerOpen"], "status")
            until("the machines end", lambda: host.live() == [], 480)
            well(host)
    finally:
        host.remove_runner()
        host.install_runner()


def at_limit(forge, host):
    with host.configured(lambda text: re.sub(r"(?m)^limit .*$", "limit = 1", text)):
        forge.push("limited", CI, matrix(2, 15))
        says(host, 0, ["AtLimit"], "why")
        until("a job runs", lambda: jobs_of(forge, "limited", "in_progress"), 30)
        (waiting,) = jobs_of(forge, "limited", "queued")
        says(host, 0, ["holds 1 of 1"], "why", waiting["html_url"])
        all_succeed(forge, "limited", 2, 120)
        says_no_longer(host, ["AtLimit"], "why")
        well(host)


def flood_of_one_repository(forge, host):
    """A repository never runs more than its limit, and another one is not kept waiting by it."""
    def limited(text):
        return re.sub(r"(?m)^limit .*$", "limit = 3\nrepo_limit = 2", text)

    with host.configured(limited):
        forge.push("flood", CI, matrix(8, 5))
        says(host, 0, ["AtLimit"], "why")
        waiting = until("a job waits", lambda: jobs_of(forge, "flood", "queued"), 30)
        says(host, 0, ["its repository holds 2 of 2"], "why", waiting[-1]["html_url"])
        forge.push("few", CI, matrix(1, 0))
        most = 0
        for _ in range(600):
            most = max(most, len(jobs_of(forge, "flood", "in_progress")))
            if all(job["status"] == "completed" for job in forge.jobs("flood")):
                break
            time.sleep(0.2)
        assert most == 2, f"{most} jobs of one repository ran at once"
        all_succeed(forge, "flood", 8, 30)
        all_succeed(forge, "few", 1, 1)
        well(host)


def repositories_of_a_class(forge, host):
    """A class serves the repositories that it names, in any case, and says so to others."""
    def restricted(text):
        return re.sub(r"(?m)^labels .*$", lambda line: line[0] + '\nrepos = ["Boss/SERVED-*"]', text)

    with host.configured(restricted):
        before = len(host.machines())
        forge.push("refused", CI, matrix(1, 0))
        says(host, 1, ["NoClass", "it serves only Boss/SERVED-*"], "status")
        says(host, 0, ["NoClass", "`repos` of class default"], "why", page(forge, "refused"))
        says(host, 0, ["no repository in `forge.scope` fits"], "doctor")
        forge.push("served-1", CI, matrix(1, 0))
        all_succeed(forge, "served-1", 1, 120)
        assert len(host.machines()) == before + 1, "a machine for a repository that no class serves"
    all_succeed(forge, "refused", 1, 120)
    says_no_longer(host, ["NoClass"], "status")
    well(host)


def webhook_secret_wrong(forge, host):
    forge.webhooks(active=False)
    hook = forge.add_webhook(f"http://{host.listen}/webhook", "another-webhook-secret")
    forge.push("unsigned", CI, matrix(1, 0))
    says(host, 1, ["WebhookRefused", "signature", "webhook_secret"], "status")
    all_succeed(forge, "unsigned", 1, 120)
    forge.remove_webhook(hook)
    forge.webhooks(active=True)
    forge.push("signed", CI, matrix(1, 0))
    all_succeed(forge, "signed", 1, 120)
    says_no_longer(host, ["WebhookRefused"], "status")
    well(host)


def host_list_blocks(forge, host):
    forge.restart_with("ALLOWED_HOST_LIST = loopback", "ALLOWED_HOST_LIST = external")
    host.kill()
    host.serve()
    forge.push("blocked", CI, matrix(1, 0))
    all_succeed(forge, "blocked", 1, 120)
    says(host, 0, ["none since the start"], "status")
    says(host, 1, ["found by polling", "ALLOWED_HOST_LIST = external,127.0.0.1"], "doctor")
    forge.restart_with("ALLOWED_HOST_LIST = external", "ALLOWED_HOST_LIST = loopback")
    forge.push("allowed", CI, matrix(1, 0))
    all_succeed(forge, "allowed", 1, 120)
    says_no_longer(host, ["none since the start"], "status")
    says(host, 0, [" 0 failed"], "doctor")
    well(host)


def token_revoked_and_replaced(forge, host):
    """Also after a restart; a new token in the file ends it without one."""
    name, token = forge.new_token()
    file = host.dir / "forge.token"
    host.write_secret(file, token)
    with host.configured(lambda text: re.sub(r"(?m)^token .*$", f'token = {{ file = "{file}" }}', text)):
        forge.revoke(name)
        forge.push("denied", CI, matrix(1, 0))
        says(host, 1, ["ForgeDenied", "401", "token"], "status")
        host.kill()
        host.serve()
        says(host, 1, ["ForgeDenied", "401"], "status")
        host.write_secret(file, forge.new_token()[1])
        all_succeed(forge, "denied", 1, 120)
        says(host, 0, ["the job succeeded"], "why", page(forge, "denied"))
        says_no_longer(host, ["ForgeDenied"], "status")
        well(host)


def disk_full(forge, host):
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    forge.push("full", CI, matrix(1, 0))
    says(host, 1, ["StoreFailing", "free space"], "status")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, unlimited)
    all_succeed(forge, "full", 1, 120)
    says_no_longer(host, ["StoreFailing"], "status")
    well(host)


def syntax_error(forge, host):
    forge.push("broken", CI, "on: push\njobs:\n  m:\n    runs-on: [linux\n")
    says(host, 0, ["a.yml", "the forge ignores this file"], "explain", "push", "boss/broken", "main")
    time.sleep(5)
    assert forge.jobs("broken") == [], "the forge made jobs of a broken file"
    forge.push("broken", ".gitea/workflows/b.yml", matrix(1, 0))
    all_succeed(forge, "broken", 1, 120)
    says(host, 0, ["b.yml", "starts at once"], "explain", "push", "boss/broken", "main")


def needs(forge, host):
    forge.push("needy", CI, """on: push
jobs:
  compile:
    runs-on: linux
    steps:
      - run: sleep 15
  lint:
    runs-on: linux
    steps:
      - run: sleep 15
  test:
    needs: compile
    runs-on: linux
    steps:
      - run: echo tested
""")
    jobs = until("the jobs exist", lambda: {job["name"]: job for job in forge.jobs("needy")}, 60)
    needed = f"blocked by `compile` (job-{jobs['compile']['id']}, "
    says(host, 0, ["Blocked", needed], "why", jobs["test"]["html_url"])
    code, text = host.printed("why", jobs["test"]["html_url"])
    assert code == 0 and "lint" not in text, f"it does not need that job: {text}"
    running(forge, "needy")
    says(host, 0, [f"{needed}running"], "why", jobs["test"]["html_url"])
    all_succeed(forge, "needy", 3, 120)
    says(host, 0, ["the job succeeded"], "why", jobs["test"]["html_url"])


def runs_long(forge, host):
    forge.push("long", CI, matrix(1, 20))
    running(forge, "long")
    says(host, 0, ["the job runs on machine", "running"], "why", page(forge, "long"))
    well(host)
    all_succeed(forge, "long", 1, 120)
    says(host, 0, ["the job succeeded"], "why", page(forge, "long"))


def canceled_while_running(forge, host):
    """A second push cancels the first: by its concurrency group, or before Gitea 1.26 always."""
    group = "concurrency:\n  group: one\n  cancel-in-progress: true\n"
    forge.push("twice", CI, group + matrix(1, 600))
    (job,) = running(forge, "twice")
    (machine,) = host.live()
    forge.push("twice", "README.txt", "again")
    until("the first job is canceled", lambda: jobs_of(forge, "twice", "completed"), 60)
    until("the machine of the canceled job ends", lambda: machine not in host.live(), 10)
    says(host, 0, ["canceled"], "why", job["html_url"])
    says(host, 0, ["canceled"], "get", "runs")
    forge.delete("twice")
    until("the machines end", lambda: host.live() == [], 300)
    well(host)


def failed_and_run_again(forge, host):
    if forge.minor() < 26:
        print("       (before Gitea 1.26 there is no API for a re-run)")
        return
    tried = host.dir / "tried"
    script = f"test -e {tried} || {{ touch {tried}; exit 1; }}; sleep 10"
    job = f"on: push\njobs:\n  m:\n    runs-on: linux\n    steps:\n      - run: {script!r}\n"
    forge.push("again", CI, job)
    (first,) = until("the job failed", lambda: jobs_of(forge, "again", "completed"), 120)
    says(host, 0, ["the job failed"], "why", first["html_url"])
    forge.rerun_failed("again", first["run_id"])
    (second,) = running(forge, "again")
    says(host, 0, ["2nd attempt of the job"], "why", second["html_url"])
    says(host, 0, ["2nd attempt"], "get", "runs")
    until("it succeeded", lambda: [j for j in forge.jobs("again") if j.get("conclusion") == "success"], 120)
    says(host, 0, ["the job succeeded"], "why", second["html_url"])
    well(host)


def beyond_max_age(forge, host):
    with host.configured(lambda text: re.sub(r"(?m)^max_age .*$", 'max_age = "1m"', text)):
        forge.push("old", CI, matrix(1, 600))
        job = page(forge, "old", 60)
        running(forge, "old")
        until("the machine is ended", lambda: host.live() == [], 180)
        says(host, 0, ["max_age", "raise"], "why", job)
    forge.delete("old")


def two_installations(forge, host):
    """Two installations serve the same labels of one forge: each leaves the other's registrations
    alone, also those whose runners have not come online yet, and every job runs."""
    ids = [hashlib.sha256(name.encode()).hexdigest()[:4] for name in ("tinqs-ci", "second")]
    begun = len((host.dir / "serve.log").read_text())
    place = host.dir.parent / "second"
    with Host(place, host.program, (host.runner,), forge, "jobs", "second") as other:
        for n in range(3):
            forge.push(f"shared-{n}", CI, matrix(6, 12))
        told = [f"installation {ids[1]} has", 'labels of class "default"']
        seen, before, gone = set(), set(), {}

        def finished():
            nonlocal before
            now, names = time.monotonic(), set(forge.runners())
            seen.update(re.findall(r"tq-job-\d+-([0-9a-f]{4})[0-9a-f]{8}-", " ".join(names)))
            gone.update((name, now) for name in before - names)
            before = names
            # The machine of a registration that somebody else removed goes on for a minute.
            late = [name for name, at in gone.items() if now - at > 20]
            orphans = [name for name in late if processes(f"{name}-0")]
            assert orphans == [], f"registrations removed under live machines: {orphans}"
            return gone and not names and not host.live() and not other.live()

        until("both have registrations", lambda: finished() or seen == set(ids), 60)
        says(host, 0, told, "doctor")
        # Machines that got no job end after `idle_within`.
        until("nothing is left", finished, 500)
        for n in range(3):
            all_succeed(forge, f"shared-{n}", 6, 1)
        logs = [(host.dir / "serve.log").read_text()[begun:], (other.dir / "serve.log").read_text()]
        ended = [line for log in logs for line in log.splitlines() if "terminate" in line]
        assert ended == [], f"machines were terminated: {ended[:3]}"
    well(host)


SITUATIONS = [
    runner_missing,
    forge_unreachable_for_machines,
    hung_image,
    at_limit,
    flood_of_one_repository,
    repositories_of_a_class,
    webhook_secret_wrong,
    host_list_blocks,
    token_revoked_and_replaced,
    disk_full,
    syntax_error,
    needs,
    runs_long,
    canceled_while_running,
    failed_and_run_again,
    beyond_max_age,
    two_installations,
]
