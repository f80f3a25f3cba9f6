"""Waits for what the forge, the host and the program say."""

import time


class Skipped(Exception):
    """A scenario that cannot be played here, and why."""


def until(what, condition, within):
    """Waits until the condition is true. Returns its value."""
    end = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {within} s waiting for: {what}")
        time.sleep(0.2)


def jobs_of(forge, repo, status):
    """Returns the jobs of a repository with this status."""
    return [job for job in forge.jobs(repo) if job["status"] == status]


def in_progress(forge, repo, count):
    """Waits until so many jobs of a repository run at once."""
    until(f"{count} jobs of {repo} run", lambda: len(jobs_of(forge, repo, "in_progress")) == count, 120)


def all_succeed(forge, repo, count, within):
    """Waits until the repository's jobs are done, and asserts that each succeeded."""

    def done():
        jobs = forge.jobs(repo)
        return len(jobs) >= count and all(job["status"] == "completed" for job in jobs) and jobs

    jobs = until(f"{count} jobs of {repo} are done", done, within)
    ends = {job["conclusion"] for job in jobs}
    assert len(jobs) == count and ends == {"success"}, (len(jobs), ends)


def nothing_left(forge, host):
    """Asserts that no registration and no machine outlive their job."""
    until("no registration is left", lambda: forge.runners() == [], 90)
    until("no machine is left", lambda: host.live() == [], 90)


def asked(host, what, right, *arguments):
    def is_right():
        code, text = host.printed(*arguments)
        # The program breaks its lines.
        return right(code, " ".join(text.split()))

    try:
        until(f"`tinqs-ci {' '.join(arguments)}` {what}", is_right, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; it printed: {host.printed(*arguments)}") from None


def says(host, code, texts, *arguments):
    """Waits until a command exits with this code (`None`: any) and prints all of these texts."""

    def right(exited, text):
        return code in (exited, None) and all(wanted in text for wanted in texts)

    asked(host, f"exits with {code} and prints {texts}", right, *arguments)


def says_no_longer(host, texts, *arguments):
    """Waits until a command prints none of these texts."""
    asked(host, f"prints none of {texts}", lambda _, text: not any(t in text for t in texts), *arguments)


def well(host):
    """Waits until nothing needs a person."""
    asked(host, "exits with 0", lambda code, _: code == 0, "status")


def page(forge, repo, within=60):
    """Waits for the only job of a repository. Returns the URL of its page."""
    (job,) = until(f"the job of {repo} exists", lambda: forge.jobs(repo), within)
    return job["html_url"]
