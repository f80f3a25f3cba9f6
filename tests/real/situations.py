"""Situations that an operator meets: `status` and `why` name the reason and the remedy, and no longer
do once the cause is gone."""

import re
import resource
import time

from asking import Skipped, all_succeed, jobs_of, page, says, says_no_longer, until, well
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


class Hung:
    """What is seen of machines whose runner never calls the forge."""

    def __init__(self, forge, host):
        self.forge, self.host = forge, host
        # The largest number of machines at once, and which had their registration when last seen.
        self.most, self.registered = 0, {}

    def live(self):
        names = set(self.forge.runners())
        now = set(self.host.live())
        self.most = max(self.most, len(now))
        self.registered.update((m, m.name.rsplit("-", 1)[0] in names) for m in now)
        return now

    def ended_by_rule_22(self, machines):
        """Asserts that the server ended them while their registration was there (rule 21 does it when
        that is missing), and long before their deadline (rule 20)."""
        for machine in machines:
            assert (machine / "terminated").exists(), f"{machine.name} ended itself"
            assert self.registered[machine], f"{machine.name} was ended without its registration"


def hung_image(forge, host):
    """Machines that hang cost the class's limit once, then one at a time; a working one frees the class."""
    def short(text):
        text = re.sub(r"(?m)^idle_within .*$", 'idle_within = "5s"\nboot_within = "10s"', text)
        return re.sub(r"(?m)^limit .*$", "limit = 3", text)

    before, hung = set(host.machines()), Hung(forge, host)
    host.remove_runner()
    host.install_hung_runner()
    try:
        with host.configured(short):
            forge.push("hang", CI, matrix(3, 1))
            first = until("three machines start", lambda: len(hung.live()) == 3 and hung.live(), 60)
            says(host, 1, ["BreakerOpen", "never came online"], "status")
            says(host, 0, ["BreakerOpen", "never come online"], "why")
            # Nobody but rule 22 ends them. From Gitea 1.26: a sweep and a minute after their promise, which
            # is 20 s after the decision. Before: 4 to 7 min after their boot promise, 25 s long.
            most = 210 if forge.minor() >= 26 else 480
            until("the machines that hang are ended", lambda: not first & hung.live(), most)
            hung.ended_by_rule_22(first)
            tried = set(host.machines()) - before - first
            assert len(tried) <= 1, f"{len(tried)} machines tried at once"
            host.remove_runner()
            host.install_runner()

            def jobs_are(*states):
                hung.live()
                return [job for job in forge.jobs("hang") if job["status"] in states]

            until("a machine that tries gets a job", lambda: jobs_are("in_progress", "completed"), 420)
            until("all jobs are done", lambda: len(jobs_are("completed")) == 3, 120)
            all_succeed(forge, "hang", 3, 1)
            assert hung.most == 3, f"{hung.most} machines at once, with a limit of 3"
            says_no_longer(host, ["BreakerOpen"], "status")
            until("the machines end", lambda: not hung.live(), 480)
            # One that was launched before the repair hung, too.
            hung.ended_by_rule_22(machine for machine in tried if (machine / "terminated").exists())
            assert hung.most == 3, f"{hung.most} machines at once, with a limit of 3"
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


def repositories_of_a_class(forge, host):
    """A class serves the repositories that it names, in any case, and says so to others."""
    def restricted(text):
        return re.sub(r"(?m)^labels .*$", lambda line: line[0] + '\nrepos = ["Boss/SERVED-*"]', text)

    with host.configured(restricted):
        before = set(host.machines())
        forge.push("refused", CI, matrix(1, 0))
        says(host, 1, ["NoClass", "it serves only Boss/SERVED-*"], "status")
        says(host, 0, ["NoClass", "`repos` of class default"], "why", page(forge, "refused"))
        says(host, 0, ["no repository in `forge.scope` fits"], "doctor")
        forge.push("served-1", CI, matrix(1, 0))
        all_succeed(forge, "served-1", 1, 120)
        made = len(set(host.machines()) - before)
        assert made == 1, "a machine for a repository that no class serves"
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


def canceled(forge, host, repo, within):
    """A second push cancels the first: by its concurrency group, or before Gitea 1.26 always. Asserts
    that the machine of the first one ends within this time."""
    group = "concurrency:\n  group: one\n  cancel-in-progress: true\n"
    forge.push(repo, CI, group + matrix(1, 600))
    (job,) = running(forge, repo)
    (machine,) = host.live()
    # Afterwards the forge names its runner no longer.
    says(host, 0, ["the job runs on machine"], "why", job["html_url"])
    forge.push(repo, "README.txt", "again")
    until("the first job is canceled", lambda: jobs_of(forge, repo, "completed"), 60)
    at = time.monotonic()
    until("the machine of the canceled job ends", lambda: machine not in host.live(), within)
    print(f"       the machine ended {time.monotonic() - at:.1f} s after its job was canceled", flush=True)
    says(host, 0, ["canceled"], "why", job["html_url"])
    says(host, 0, ["canceled"], "get", "runs")
    forge.delete(repo)
    until("the machines end", lambda: host.live() == [], 300)


def canceled_while_running(forge, host):
    canceled(forge, host, "twice", 10)
    well(host)


def canceled_without_webhook(forge, host):
    forge.webhooks(active=False)
    try:
        canceled(forge, host, "unheard", 70)
    finally:
        forge.webhooks(active=True)
    well(host)


def canceled_between_polls(forge, host):
    """A job is picked up and canceled between two polls, without webhooks: no reconcile saw it running,
    and only the ID of its runner, which the forge still tells, leads to its machine."""
    def rarely(text):
        return re.sub(r"(?m)^poll_every .*$", 'poll_every = "45s"', text)

    forge.webhooks(active=False)
    try:
        with host.configured(rarely):
            # A waiting run is reconciled between polls, too, and one that comes just then sees it run.
            unseen = any(is_canceled_unseen(forge, host, f"unseen-{n}") for n in range(3))
    finally:
        forge.webhooks(active=True)
    assert unseen, "a reconcile saw each of the jobs running"
    well(host)


def is_canceled_unseen(forge, host, repo):
    """Returns whether no reconcile saw the canceled job running."""
    group = "concurrency:\n  group: one\n  cancel-in-progress: true\n"
    forge.push(repo, CI, group + matrix(1, 600))
    (job,) = running(forge, repo)
    (machine,) = host.live()
    forge.push(repo, "README.txt", "again")
    until("the first job is canceled", lambda: jobs_of(forge, repo, "completed"), 60)
    at = time.monotonic()
    until("the machine of the canceled job ends", lambda: machine not in host.live(), 70)
    print(f"       the machine ended {time.monotonic() - at:.1f} s after its job was canceled", flush=True)
    code, text = host.printed("describe", "--verbose", f"job-{job['id']}")
    assert code == 0 and "UID:" in text, text
    says(host, 0, ["canceled"], "why", job["html_url"])
    forge.delete(repo)
    until("the machines end", lambda: host.live() == [], 300)
    return re.search(r"(?m)^Runner: +tq-", text) is None


def failed_and_run_again(forge, host):
    if forge.minor() < 26:
        raise Skipped("before Gitea 1.26 there is no API for a re-run")
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


SITUATIONS = [
    runner_missing,
    forge_unreachable_for_machines,
    hung_image,
    at_limit,
    repositories_of_a_class,
    webhook_secret_wrong,
    host_list_blocks,
    token_revoked_and_replaced,
    disk_full,
    syntax_error,
    needs,
    runs_long,
    canceled_while_running,
    canceled_without_webhook,
    canceled_between_polls,
    failed_and_run_again,
    beyond_max_age,
]
