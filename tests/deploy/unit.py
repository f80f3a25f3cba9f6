"""Checks deploy/systemd: the unit by systemd itself, and the files beside it."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import tools

SYSTEMD = tools.ROOT / "deploy/systemd"
UNIT = SYSTEMD / "tinqs-ci.service"
# In tenths: 2.5 of 10. A unit without any such line has 9.2.
EXPOSURE = 25


def settings(text):
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def check_with_systemd(checks):
    if not shutil.which("systemd-analyze"):
        tools.skipped("deploy/systemd", "systemd-analyze is not installed")
        return
    command = ["systemd-analyze", "--no-pager", "security", "--offline=true"]
    command += [f"--threshold={EXPOSURE}", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = (done.stdout or done.stderr).strip().splitlines()[-1:]
    checks.equal(done.returncode, 0, f"exposure of the unit: {said}")
    with tempfile.TemporaryDirectory() as folder:
        # `verify` wants the program to be there.
        copy = Path(folder) / UNIT.name
        copy.write_text(UNIT.read_text().replace("ExecStart=/usr/bin/tinqs-ci", "ExecStart=/bin/true"))
        command = ["systemd-analyze", "verify", "--man=no", copy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        own = [line for line in done.stderr.splitlines() if UNIT.name in line]
        checks.that(done.returncode == 0 and not own, f"verify: {done.stderr}")


def check_users(checks):
    """sysusers and tmpfiles, carried out in an empty root."""
    if not shutil.which("systemd-sysusers"):
        tools.skipped("sysusers, tmpfiles", "systemd is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        users = ["systemd-sysusers", f"--root={root}", SYSTEMD / "tinqs-ci.sysusers"]
        done = subprocess.run(users, capture_output=True, text=True, timeout=60)
        checks.equal(done.returncode, 0, f"sysusers: {done.stderr}")
        passwd = (root / "etc/passwd").read_text()
        for line in (
            r"^tinqs-ci:x:\d+:\d+:tinqs-ci:/var/lib/tinqs-ci:/usr/sbin/nologin$",
            r"^ci-job:x:\d+:\d+:jobs of tinqs-ci:/var/lib/tinqs-ci-jobs:/usr/sbin/nologin$",
        ):
            checks.that(re.search(line, passwd, re.MULTILINE), f"{line} in {passwd!r}")
        files = ["systemd-tmpfiles", "--create", f"--root={root}", SYSTEMD / "tinqs-ci.tmpfiles"]
        done = subprocess.run(files, capture_output=True, text=True, timeout=60)
        checks.equal(done.returncode, 0, f"tmpfiles: {done.stderr}")
        for path, mode in (
            ("etc/tinqs-ci", 0o750),
            ("var/lib/tinqs-ci-jobs", 0o700),
            ("var/lib/tinqs-ci/tmp", 0o1777),
        ):
            made = root / path
            checks.that(made.is_dir(), f"{path} is not made")
            checks.equal(made.is_dir() and made.stat().st_mode & 0o7777, mode, f"mode of {path}")


def check(checks):
    """Checks the unit."""
    check_with_systemd(checks)
    check_users(checks)
    found = settings(UNIT.read_text())
    wanted = {
        # Jobs of `process:` machines survive a restart, and one that eats memory ends alone.
        "KillMode": "process",
        "OOMPolicy": "continue",
        "Restart": "always",
        # What machines as another user need, and nothing else.
        "CapabilityBoundingSet": "CAP_SETUID CAP_SETGID CAP_KILL",
        "AmbientCapabilities": "CAP_SETUID CAP_SETGID CAP_KILL",
        "NoNewPrivileges": "yes",
    }
    checks.equal({key: found.get(key) for key in wanted}, wanted, "settings of the unit")
    checks.that("MemoryDenyWriteExecute" not in found, "Node cannot run in the unit")
    for lost in ("PrivateTmp", "RemoveIPC"):
        checks.that(lost not in found, f"{lost}: a restart takes files or memory from jobs")
