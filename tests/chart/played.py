"""Starts the play of installed releases, in network, mount and process namespaces of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import tools

HERE = Path(__file__).resolve().parent
REAL = tools.ROOT / "tests/real"
GITEA, RUNNER = "v1.26.4", "v1.0.8"
PROGRAMS = ("ip", "mount", "nsenter", "openssl", "setpriv", "umount", "unshare")


def missing(program):
    """Why nothing can be played here, or None."""
    if os.geteuid():
        return "only root can make the networks and mounts of pods"
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if not program.exists():
        return f"{program} does not exist: run `cargo build --features aws`"
    about = subprocess.run([program, "version", "-o", "json"], capture_output=True, text=True, check=True)
    if "aws" not in json.loads(about.stdout)["features"]:
        return f"{program} is built without the feature aws, which every values file needs"
    return None


def python(work):
    """The environment of tests/real, installed once below `work`."""
    environment = work / "emulators"
    found, stamp = environment / "bin/python", environment / "requirements.txt"
    wanted = (REAL / "requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        command = [found, "-m", "pip", "install", "--quiet", "-r", REAL / "requirements.txt"]
        subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return found


def play(checks, program, cases, folder):
    """Plays the cases with the program, and adds what was checked."""
    why = missing(program)
    if why:
        tools.skipped("pods with the real program", why)
        return
    sys.path.append(str(REAL))
    from forge import build, build_gitea

    work = tools.TOOLS.parent / "real"
    gitea, source = build_gitea(work, GITEA)
    runner, _ = build(work, "gitea.com/gitea/runner", RUNNER, [])
    given = {"program": program, "gitea": gitea, "source": source, "runner": runner}
    given |= {"result": folder / "result.json"}
    file = folder / "play.json"
    file.write_text(json.dumps({"cases": cases, **{name: str(path) for name, path in given.items()}}))
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*namespaces, python(work), HERE / "inside.py", file]
    # The pods' user must be able to enter the folders above their roots.
    done = subprocess.run(command, timeout=1800, umask=0o022)
    if checks.equal(done.returncode, 0, "the play of pods ended"):
        found = json.loads(given["result"].read_text())
        checks.passed += found["passed"]
        checks.failed += found["failed"]
