"""Checks deploy/aws/image: its scripts, run with stand-ins for downloads, and its Packer template."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import tools

IMAGE = tools.ROOT / "deploy/aws/image"
SCRIPTS = ("provision", "pin", "tinqs-ci-image-check", "tinqs-ci-early-start", "versions")
UNIT = IMAGE / "tinqs-ci-machine.service"
NAMES = ("RUNNER", "NODE", "GO")
RUNNER = b"#!/bin/sh\necho gitea-runner version v1.0.8\n"


def check_scripts(checks):
    files = [IMAGE / name for name in SCRIPTS]
    command = ["shellcheck", "--external-sources", *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=IMAGE, timeout=60)
    checks.that(done.returncode == 0, f"shellcheck: {done.stdout}")
    for name in SCRIPTS[:4]:
        checks.that(os.access(IMAGE / name, os.X_OK), f"{name} is not executable")


def check_packer(checks):
    packer = tools.apt_program("packer", "usr/bin/packer")
    if not packer:
        return
    template = IMAGE / "image.pkr.hcl"
    # Without the plugin only the syntax can be checked. plugins.pkr.hcl is left out: the version
    # that Debian has is older than its block.
    for arguments in (["fmt", "-check", "-diff", template], ["validate", "-syntax-only", template]):
        done = subprocess.run(
            [packer, *arguments], capture_output=True, text=True, cwd="/", timeout=60,
            env=os.environ | {"CHECKPOINT_DISABLE": "1"},
        )
        said = done.stdout + done.stderr
        checks.that(done.returncode == 0, f"packer {arguments[0]}: {said}")


def archive(file, names):
    """Writes an archive of programs that do nothing."""
    with tarfile.open(file, "w:xz" if file.suffix == ".xz" else "w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(RUNNER)
            packed.addfile(member, io.BytesIO(RUNNER))


class Publisher:
    """Stand-ins for what publishers offer, and a file of versions that names them."""

    def __init__(self, folder):
        self.folder = folder
        files = {
            "RUNNER": folder / "gitea-runner",
            "NODE": folder / "node.tar.xz",
            "GO": folder / "go.tar.gz",
        }
        files["RUNNER"].write_bytes(RUNNER)
        archive(files["NODE"], [f"node-v1/bin/{name}" for name in ("node", "npm", "npx")])
        archive(files["GO"], ["go/bin/go"])
        self.hashes = {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in files.items()}
        # Each of the two forms of such a list.
        for name, file in files.items():
            text = self.hashes[name] if name == "GO" else f"{self.hashes[name]} *{file.name}\n"
            (folder / f"{name}.sums").write_text(f"{'0' * 64}  other\n{text}" if name == "NODE" else text)
        self.versions = folder / "versions"
        text = (IMAGE / "versions").read_text()
        for name, file in files.items():
            text += f"{name}_URL=file://{file}\n{name}_SUMS=file://{folder}/{name}.sums\n"
        self.versions.write_text(text)
        self.files = files

    def run(self, script, *arguments, **environment):
        return subprocess.run(
            [IMAGE / script, *arguments], capture_output=True, text=True, timeout=60,
            env=os.environ | {"VERSIONS": str(self.versions), "ARCH": "amd64"} | environment,
        )


def check_provision(checks, folder):
    publisher = Publisher(folder)
    root = folder / "root"
    place = {"ROOT": str(root)}
    done = publisher.run("provision", "tools", **place)
    checks.that(done.returncode != 0 and "run pin" in done.stderr, f"no hash: {done.stderr}")
    done = publisher.run("pin")
    checks.equal(done.returncode, 0, f"pin: {done.stderr}")
    text = publisher.versions.read_text()
    for name in NAMES:
        for architecture in ("amd64", "arm64"):
            line = f"{name}_SHA256_{architecture}={publisher.hashes[name]}\n"
            checks.that(line in text, f"pin did not write {line}")
    done = publisher.run("provision", "tools", "files", **place)
    checks.equal(done.returncode, 0, f"provision: {done.stderr}")
    for program in ("bin/gitea-runner", "bin/node", "bin/npm", "go/bin/go", "bin/tinqs-ci-image-check"):
        installed = root / "usr/local" / program
        checks.that(os.access(installed, os.X_OK), f"{program} is not installed")
    wanted = root / "etc/systemd/system/multi-user.target.wants" / UNIT.name
    checks.that(wanted.is_symlink() and wanted.exists(), "the unit is not enabled")
    for file in publisher.files.values():
        file.rename(f"{file}.away")
    done = publisher.run("provision", "tools", "files", **place)
    checks.equal(done.returncode, 0, f"provision, a second time, downloads again: {done.stderr}")
    # Another version of the runner, with something else behind its address.
    publisher.files["RUNNER"].write_text("something else")
    publisher.versions.write_text(text + "RUNNER_VERSION=1.0.9\n")
    done = publisher.run("provision", "tools", **place)
    checks.that("not what was pinned" in done.stderr, f"a wrong hash: {done.stderr}")
    checks.that(done.returncode != 0, "a wrong hash is accepted")
    kept = (root / "usr/local/bin/gitea-runner").read_bytes()
    checks.equal(kept, RUNNER, "a wrong hash changes the installed runner")
    done = publisher.run("provision", "everything", **place)
    checks.that("unknown step everything" in done.stderr, f"{done.stderr}")
    # As the runner's releases have it: without an end of line.
    (folder / "RUNNER.sums").write_text(f"{'1' * 64}  {publisher.files['RUNNER'].name}")
    (folder / "NODE.sums").write_text("nothing here\n")
    (folder / "GO.sums").unlink()
    before = publisher.versions.read_text()
    done = publisher.run("pin")
    said = done.stderr
    checks.that("has no hash of node.tar.xz" in said and done.returncode != 0, f"no hash: {said}")
    checks.that(f"cannot download file://{folder}/GO.sums" in said, f"pin names each list: {said}")
    checks.equal(publisher.versions.read_text(), before, "pin wrote some of the hashes")
    for name in ("NODE", "GO"):
        (folder / f"{name}.sums").write_text("2" * 64)
    done = publisher.run("pin")
    checks.that(f"RUNNER_SHA256_arm64={'1' * 64}\n" in publisher.versions.read_text(), done.stderr)


def check_unit(checks, folder):
    """The unit is accepted by systemd, and starts the user data of our machines and no other."""
    if shutil.which("systemd-analyze"):
        # `verify` wants the program to be there.
        copy = folder / UNIT.name
        program = "/usr/local/sbin/tinqs-ci-early-start"
        checks.that(f"ExecStart={program}\n" in UNIT.read_text(), "the unit starts the script")
        copy.write_text(UNIT.read_text().replace(program, "/bin/true"))
        command = ["systemd-analyze", "verify", "--man=no", copy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        own = [line for line in done.stderr.splitlines() if UNIT.name in line]
        checks.that(done.returncode == 0 and not own, f"verify: {done.stderr}")
    else:
        tools.skipped("deploy/aws/image", "systemd-analyze is not installed")
    # The beginning that the boot script has: adapters/boot/src/lib.rs.
    own = "#!/bin/bash\\n# tinqs-ci: the machine {}."
    checks.that(own in (tools.ROOT / "adapters/boot/src/lib.rs").read_text(), "it begins otherwise")
    ours = "#!/bin/bash\n# tinqs-ci: the machine tq-job-7-0a1b2c3d-1-0.\necho started\n"
    data = folder / "user-data"
    for text, said in ((ours, "started\n"), ("#!/bin/bash\n# mine\necho no\n", ""), ("", "")):
        data.write_text(text)
        done = subprocess.run(
            [IMAGE / "tinqs-ci-early-start"], capture_output=True, text=True, timeout=60,
            env=os.environ | {"USER_DATA": str(data)},
        )
        checks.equal((done.returncode, done.stdout), (0, said), f"user data {text!r}")
    data.unlink()
    done = subprocess.run(
        [IMAGE / "tinqs-ci-early-start"], capture_output=True, text=True, timeout=60,
        env=os.environ | {"USER_DATA": str(data)},
    )
    checks.that(done.returncode == 0 and "not that of" in done.stderr, f"none: {done.stderr}")


def check_check(checks):
    """The check says what is there and what is missing, wherever it runs."""
    done = subprocess.run(
        [IMAGE / "tinqs-ci-image-check"], capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    checks.that(all(line[:6] in ("ok    ", "warn  ", "FAIL  ") for line in lines), done.stdout)
    checks.equal(done.returncode, int("FAIL" in done.stdout), f"exit code of: {done.stdout}")
    names = [line[6:].split()[0] for line in lines]
    for name in ("bash", "git", "runner", "docker", "user", "fence", "unit", "poweroff", "disk", "clock"):
        checks.that(name in names, f"no line about {name} in: {done.stdout}")


def check_sudo(checks, folder):
    """A user that may use sudo without a password fails an image, and one that may not does not."""
    programs = {
        "id": 'case "$*" in "-u runner" | "-g runner") echo 1234 ;; *) echo runner ;; esac',
        "setpriv": '[ "$1 $2" = "--reuid=1234 --regid=1234" ] && shift 3 && exec "$@"',
    }
    for sudo, expected in (
        ('[ "$*" = "-n true" ]', "FAIL  user       runner has sudo without a password"),
        ("exit 1", "ok    user       runner"),
    ):
        for name, text in (programs | {"sudo": sudo}).items():
            program = folder / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        done = subprocess.run(
            [IMAGE / "tinqs-ci-image-check"], capture_output=True, text=True, timeout=120,
            env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        )
        checks.that(expected in done.stdout, f"no {expected!r} in: {done.stdout}")


def check(checks):
    """Checks the image."""
    check_scripts(checks)
    check_packer(checks)
    check_check(checks)
    with tempfile.TemporaryDirectory() as folder:
        check_sudo(checks, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        check_unit(checks, Path(folder))
        check_provision(checks, Path(folder))
