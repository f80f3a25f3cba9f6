#!/usr/bin/env python3
"""The path of a new user on one host, timed: a clean Debian 12, the package, the commands of the page,
a real Gitea, and a job that succeeds.

    python3 tests/real/clean_host.py target/deploy/tinqs-ci_0.1.0_amd64.deb

Runs the block *Configure and start* of docs/how-to/systemd.md as it is printed; there is no systemd to
start the service, so its `ExecStart=` runs as its user, with its capabilities, without its sandbox.
Needs root, debootstrap, overlayfs, and what `check.py` needs. The root and the builds are kept in
`--work`; each run begins with the root as debootstrap left it. All it starts ends with it.
"""

import argparse
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from asking import all_succeed, until
from forge import Forge, build, build_gitea
from workflows import matrix

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/systemd.md"
UNIT = "usr/lib/systemd/system/tinqs-ci.service"
CONFIG = "etc/tinqs-ci/tinqs-ci.toml"
VARIABLES = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"]
CAPABILITIES = "-all,+setuid,+setgid,+kill"


def enter_namespaces():
    """Runs this program again where its mounts and processes end with it."""
    if os.getpid() != 1:
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp(apart[0], [*apart, sys.executable, *sys.argv])


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


class Root:
    """A Debian 12 in which nothing was done yet, in a folder of its own."""

    def __init__(self, work, scratch):
        clean = work / "debian12"
        if not (clean / "usr/bin/sudo").exists():
            run("debootstrap", "--variant=minbase", "--include=systemd,sudo", "bookworm", clean)
        self.dir = scratch / "root"
        for name in ("root", "changes", "work"):
            (scratch / name).mkdir()
        options = f"lowerdir={clean},upperdir={scratch / 'changes'},workdir={scratch / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.dir)
        run("mount", "-t", "proc", "proc", self.dir / "proc")
        run("mount", "--rbind", "/dev", self.dir / "dev")
        (self.dir / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        # How this host reaches the distribution's packages.
        shutil.copy("/etc/resolv.conf", self.dir / "etc/resolv.conf")
        shutil.copytree("/etc/apt/apt.conf.d", self.dir / "etc/apt/apt.conf.d", dirs_exist_ok=True)

    def command(self, *arguments):
        return ["chroot", str(self.dir), "/usr/bin/env", "-i", *VARIABLES, *arguments]

    def typed(self, line, answers=()):
        """Runs a line of bash on a terminal, and answers its questions. Returns what it printed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvp("chroot", self.command("bash", "-c", line))
        screen, open_answers = "", list(answers)
        while True:
            select.select([terminal], [], [])
            try:
                read = os.read(terminal, 4096)
            except OSError:  # the terminal is closed
                break
            screen += read.decode(errors="replace")
            if open_answers and re.search(open_answers[0][0] + r".*: $", screen.rpartition("\n")[2]):
                os.write(terminal, f"{open_answers.pop(0)[1]}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == 0 and not open_answers, f"`{line}` ended with {code}, {open_answers} not asked: {screen}"
        return screen

    def unit(self, key):
        return re.search(rf"^{key}=(.*)$", (self.dir / UNIT).read_text(), re.MULTILINE)[1]

    def serve(self, log):
        """Starts what the unit starts, as its user and with its capabilities."""
        user = self.unit("User")
        assert self.unit("AmbientCapabilities") == "CAP_SETUID CAP_SETGID CAP_KILL"
        self.typed(f"install -d -m 0750 -o {user} -g {user} /run/tinqs-ci")
        limits = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        limits += [f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"]
        inside = ["env", f"--chdir={self.unit('WorkingDirectory')}", "RUNTIME_DIRECTORY=/run/tinqs-ci"]
        inside.append("HOME=/var/lib/tinqs-ci")
        command = self.command(*limits, *inside, *self.unit("ExecStart").split())
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def commands():
    """Returns the lines of the page, without comments."""
    block = PAGE.read_text().partition("## Configure and start")[2].split("```")[1]
    lines = [line.partition(" #")[0] for line in block.splitlines()[1:]]
    init, user, doctor, enable, journal = [line for line in lines if line]
    assert " init " in init and " doctor " in doctor, block
    assert enable == "sudo systemctl enable --now tinqs-ci" and journal.startswith("journalctl "), block
    return init, user, doctor


def told(what, since):
    print(f"{time.monotonic() - since:6.1f} s  {what}", flush=True)


def first_job(root, package, runner, forge, scratch):
    """From the package to a job that succeeded. Prints what each step took."""
    init, user, doctor = commands()
    shutil.copy(package, root.dir / "srv/tinqs-ci.deb")
    shutil.copy(runner, root.dir / "usr/local/bin/gitea-runner")
    (root.dir / "usr/local/bin/gitea-runner").chmod(0o755)
    began = at = time.monotonic()
    root.typed("apt-get update --quiet=2")
    root.typed("apt-get install --quiet=2 --yes --download-only /srv/tinqs-ci.deb")
    told("Debian's packages for apt: lists, and what the package needs", at)
    at = time.monotonic()
    root.typed("apt-get install --quiet=2 --yes /srv/tinqs-ci.deb")
    told("apt install: these packages and ours", at)
    answers = [
        ("Address of your Gitea", forge.url), ("Access token", forge.token), ("Scope of jobs", "all"),
        ("Repositories to serve", ""), ("Labels of the machines", ""), ("Address to listen on", ""),
        ("Webhook URL", ""), (r"Create the webhook in Gitea now\?", "y"),
    ]
    at = time.monotonic()
    print(root.typed(init, answers))
    told("init, with answers that are typed at once", at)
    root.typed(user)
    assert 'user = "ci-job"' in (root.dir / CONFIG).read_text(), "the jobs' user was not changed"
    at = time.monotonic()
    print(root.typed(doctor))
    told("doctor", at)
    at = time.monotonic()
    with (scratch / "serve.log").open("wb") as log:
        server = root.serve(log)
    try:
        status = root.command("sudo", "-u", "tinqs-ci", "tinqs-ci", "status")
        until("all is well", lambda: subprocess.run(status, capture_output=True).returncode == 0, 60)
        told("serve, until `status` says that all is well", at)
        at = time.monotonic()
        forge.push("hello", ".gitea/workflows/hello.yml", HELLO)
        all_succeed(forge, "hello", 1, 120)
        told("push, until the job is green", at)
        told("all of it", began)
        assert server.poll() is None, "the server ended"
    except Exception:
        print((scratch / "serve.log").read_text()[-4000:])
        raise
    finally:
        server.terminate()
        server.wait(60)


# The job runs as the user of the page.
HELLO = matrix(1, 0).replace("sleep 0;", 'test "$(id -un)" = ci-job;')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="the Debian package, of deploy/build deb")
    parser.add_argument("--gitea", default="v1.26.4", help="version of Gitea")
    parser.add_argument("--runner", default="v1.0.8", help="version of gitea.com/gitea/runner")
    parser.add_argument("--work", type=Path, default=Path("target/real"), help="directory for builds, which are kept")
    arguments = parser.parse_args()
    enter_namespaces()
    work = arguments.work.resolve()
    gitea = build_gitea(work, arguments.gitea)
    runner, _ = build(work, "gitea.com/gitea/runner", arguments.runner, [])
    # What is written there ends with the namespaces.
    place = work / "clean-host"
    place.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    root = Root(work, place)
    with Forge(place / "forge", gitea) as forge:
        first_job(root, arguments.package.resolve(), runner, forge, place)


if __name__ == "__main__":
    main()
