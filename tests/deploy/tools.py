"""What the checks of deploy/ and helm/ share: where tools are kept, and what could not be checked."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "tools").resolve()
REQUIREMENTS = ROOT / "tests/deploy/requirements.txt"
INSIDE = "TINQS_CI_CHECKS_INSIDE"


def skipped(what, why):
    """Says loudly that something was not checked."""
    print(f"!! SKIPPED: {what}: {why}", flush=True)


def install(python, environment):
    """Installs the pinned Python packages. Returns why that failed, or None."""
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary", ":all:", "--require-hashes", "--requirement", REQUIREMENTS]
        subprocess.run(command, check=True, timeout=400)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None


def enter_environment(code=0):
    """Runs the calling script again with the pinned Python packages; they are installed once. If they
    cannot be installed, the script ends with this exit code."""
    if os.environ.get(INSIDE):
        return
    environment = TOOLS / "deploy-python"
    python = environment / "bin/python"
    stamp = environment / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        TOOLS.mkdir(parents=True, exist_ok=True)
        why = install(python, environment)
        if why:
            skipped(Path(sys.argv[0]).parent.name, f"cannot install {REQUIREMENTS.name}: {why}")
            sys.exit(code)
        stamp.write_text(wanted)
    os.environ[INSIDE] = "1"
    os.environ["PATH"] = f"{environment / 'bin'}:{os.environ['PATH']}"
    os.execv(python, [str(python), *sys.argv])


def go_tool(name, package, version):
    """Returns the path of a program built from a Go module, or None. It is built once."""
    folder = TOOLS / f"{name}-{version}"
    program = folder / name
    if program.exists():
        return program
    if not shutil.which("go"):
        skipped(name, "Go is not installed")
        return None
    print(f"building {name} {version} (once, a few minutes)", flush=True)
    low = {"GOBIN": str(folder), "GOFLAGS": "-mod=mod", "GOMAXPROCS": "1"}
    command = ["nice", "-n", "19", "go", "install", f"{package}@{version}"]
    try:
        subprocess.run(command, check=True, env=os.environ | low, cwd="/", timeout=1500)
    except (OSError, subprocess.SubprocessError) as error:
        skipped(name, f"cannot build {package}@{version}: {error}")
        return None
    return program


def apt_program(package, path):
    """Returns a program of the distribution, installed or taken out of its package, or None."""
    found = shutil.which(Path(path).name)
    folder = TOOLS / f"apt-{package}"
    program = folder / path
    if found or program.exists():
        return found or program
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        skipped(package, "not installed, and this system has no apt")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    # As root, so that apt does not complain that its own user cannot write here.
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "--quiet=2", "download", package]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=200)
        for archive in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True, timeout=100)
            archive.unlink()
    except (OSError, subprocess.SubprocessError) as error:
        skipped(package, f"not installed, and apt cannot download it: {error}")
        return None
    return program if program.exists() else None


class Checks:
    """Collects what passed and what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def that(self, holds, message):
        """Counts one check."""
        if holds:
            self.passed += 1
        else:
            self.failed.append(message)
            print(f"FAILED: {message}", flush=True)
        return bool(holds)

    def equal(self, found, wanted, message):
        """Counts one comparison."""
        return self.that(found == wanted, f"{message}: found {found!r}, expected {wanted!r}")

    def end(self, name):
        """Prints the result and ends the program."""
        print(f"{name}: {self.passed} checks passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed or not self.passed else 0)
