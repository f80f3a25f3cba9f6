"""Checks deploy/build with a stand-in for the binary: contents, owners, and the same bytes twice."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import tools

BUILD = tools.ROOT / "deploy/build"
STAND_IN = """#!/bin/sh
echo "tinqs-ci $@"
[ "$1" != man ] || { mkdir -p "$2" && echo '.TH tinqs-ci 1' >"$2/tinqs-ci.1"; }
"""
SCRIPTS = ("build", "package/postinst", "package/prerm", "package/postrm")
TESTS = ("root", "package")
VERSION = tomllib.loads((tools.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
DEB = f"tinqs-ci_{VERSION}_amd64.deb"
# What the package installs, besides folders.
INSTALLED = {
    "./usr/bin/tinqs-ci": 0o755,
    "./usr/lib/systemd/system/tinqs-ci.service": 0o644,
    "./usr/lib/sysusers.d/tinqs-ci.conf": 0o644,
    "./usr/lib/tmpfiles.d/tinqs-ci.conf": 0o644,
    "./usr/share/bash-completion/completions/tinqs-ci": 0o644,
    "./usr/share/zsh/vendor-completions/_tinqs-ci": 0o644,
    "./usr/share/fish/vendor_completions.d/tinqs-ci.fish": 0o644,
    "./usr/share/doc/tinqs-ci/changelog.gz": 0o644,
    "./usr/share/doc/tinqs-ci/copyright": 0o644,
    "./usr/share/man/man1/tinqs-ci.1.gz": 0o644,
}
# What the image holds, besides folders and zones.
IN_IMAGE = {
    "etc/group": 0o644,
    "etc/passwd": 0o644,
    "etc/ssl/certs/ca-certificates.crt": 0o644,
    "usr/local/bin/tinqs-ci": 0o755,
}


def run(out, *arguments, epoch="1700000000", **variables):
    environment = os.environ | {"OUT": str(out), "SOURCE_DATE_EPOCH": epoch} | variables
    return subprocess.run(
        [BUILD, *arguments], capture_output=True, text=True, env=environment, timeout=200
    )


def check_scripts(checks):
    files = [tools.ROOT / "deploy" / name for name in SCRIPTS]
    files += [tools.ROOT / "tests/deploy" / name for name in TESTS]
    done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, timeout=60)
    checks.that(done.returncode == 0, f"shellcheck: {done.stdout}")
    containerfile = tools.ROOT / "deploy/oci/Containerfile"
    done = subprocess.run(["hadolint", containerfile], capture_output=True, text=True, timeout=60)
    checks.that(done.returncode == 0, f"hadolint: {done.stdout}{done.stderr}")


def twice(checks, folder, name, *arguments):
    """Makes it twice, in two folders. Returns the first, or None."""
    outs = [folder / f"{arguments[0]}-{n}" for n in (1, 2)]
    for out in outs:
        done = run(out, *arguments)
        if not checks.equal(done.returncode, 0, f"build {arguments[0]}: {done.stderr}"):
            return None
    hashes = [hashlib.sha256((out / name).read_bytes()).hexdigest() for out in outs]
    checks.that(hashes[0] == hashes[1], f"{name}: a second build has other bytes")
    return outs[0] / name


def check_deb(checks, folder, binary):
    package = twice(checks, folder, DEB, "deb", binary)
    if not package:
        return
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(data.stdout)) as packed:
        members = packed.getmembers()
    files = {member.name: member.mode for member in members if member.isfile()}
    checks.equal(files, INSTALLED, "files of the package")
    owners = {(member.uid, member.gid) for member in members}
    checks.equal(owners, {(0, 0)}, "owners in the package")
    times = {member.mtime for member in members}
    checks.equal(times, {1700000000}, "times in the package")
    fields = ["dpkg-deb", "--field", package, "Package", "Version", "Architecture"]
    said = subprocess.run(fields, capture_output=True, text=True, timeout=60).stdout
    wanted = f"Package: tinqs-ci\nVersion: {VERSION}\nArchitecture: amd64\n"
    checks.equal(said, wanted, "fields of the package")
    control = folder / "control"
    subprocess.run(["dpkg-deb", "--control", package, control], check=True, timeout=60)
    text = "".join(file.read_text() for file in control.iterdir())
    checks.that("@" not in text.replace("noreply@", ""), f"a placeholder is left in: {text}")


def check_zip(checks, folder, binary):
    config = folder / "own.toml"
    config.write_text('[forge]\nurl = "https://git.example.com"\n')
    archive = twice(checks, folder, "tinqs-ci-lambda.zip", "zip", binary, config)
    if not archive:
        return
    place = folder / "task"
    with zipfile.ZipFile(archive) as packed:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in packed.infolist()}
        packed.extractall(place)
    wanted = {"bootstrap": 0o755, "tinqs-ci.toml": 0o644}
    checks.equal(modes, wanted, "files of the zip")
    # The runtime starts it by this name; tests/lambda checks what the real program does then.
    checks.equal((place / "bootstrap").read_text(), STAND_IN, "the program in the zip")
    with_one = run(folder / "without", "zip", binary)
    with zipfile.ZipFile(folder / "without/tinqs-ci-lambda.zip") as packed:
        names = sorted(packed.namelist())
    checks.equal((with_one.returncode, names), (0, ["bootstrap"]), "without a file")


def layers(archive):
    """Returns the configuration of the one image in an OCI archive, and its files."""
    with tarfile.open(archive) as packed:
        blobs = {m.name: packed.extractfile(m).read() for m in packed.getmembers() if m.isfile()}

    def blob(digest):
        return blobs["blobs/sha256/" + digest.removeprefix("sha256:")]

    [listed] = json.loads(blobs["index.json"])["manifests"]
    manifest = json.loads(blob(listed["digest"]))
    members = []
    for layer in manifest["layers"]:
        data = gzip.decompress(blob(layer["digest"]))
        with tarfile.open(fileobj=io.BytesIO(data)) as packed:
            members += packed.getmembers()
    return json.loads(blob(manifest["config"]["digest"])), members


def check_image(checks, folder, binary):
    if subprocess.run(["sh", "-c", "command -v buildah"], capture_output=True).returncode:
        tools.skipped("deploy/build image", "buildah is not installed")
        return
    if os.getuid() != 0:
        tools.skipped("deploy/build image", "buildah needs root or a user namespace here")
        return
    archive = twice(checks, folder, "tinqs-ci-image.tar", "image", binary)
    if not archive:
        return
    config, members = layers(archive)
    zones = "usr/share/zoneinfo/"
    files = {m.name: m.mode & 0o7777 for m in members if not m.isdir()}
    others = {name: mode for name, mode in files.items() if not name.startswith(zones)}
    checks.equal(others, IN_IMAGE, "files of the image")
    checks.that(f"{zones}Europe/Berlin" in files, "the image has no zones")
    folders = {m.name.rstrip("/"): (m.mode & 0o7777, m.uid) for m in members if m.isdir()}
    checks.equal(folders.get("tmp"), (0o1777, 0), "/tmp of the image")
    checks.equal(folders.get("var/lib/tinqs-ci", (0, 0))[1], 65532, "owner of the data folder")
    owners = {m.uid for m in members if m.name.rstrip("/") != "var/lib/tinqs-ci"}
    checks.equal(owners, {0}, "owners in the image")
    wanted = {
        "User": "65532:65532",
        "Entrypoint": ["tinqs-ci"],
        "Cmd": ["serve"],
        "WorkingDir": "/var/lib/tinqs-ci",
        "Env": ["PATH=/usr/local/bin"],
    }
    found = {key: config["config"].get(key) for key in wanted}
    checks.equal(found, wanted, "configuration of the image")
    label = config["config"]["Labels"].get("org.opencontainers.image.version")
    checks.equal(label, VERSION, "version of the image")


def check_commit(checks, folder):
    """What `binary` made for another commit is not packed, unless it is named."""
    out = folder / "commit"
    out.mkdir()
    made = out / "tinqs-ci"
    for said, is_this in (
        (f"tinqs-ci {VERSION} (abc123, 2026-12-01)", True),
        (f"tinqs-ci {VERSION} (abc123)", True),
        (f"tinqs-ci {VERSION} (abc1234, 2026-12-01)", False),
        ("tinqs-ci 0.0.9 (abc123, 2026-12-01)", False),
        (f"tinqs-ci {VERSION}", False),
        ("", False),
    ):
        made.write_text(f"#!/bin/sh\n[ \"$1\" = version ] && echo '{said}'\n")
        made.chmod(0o755)
        archive = out / "tinqs-ci-lambda.zip"
        archive.unlink(missing_ok=True)
        done = run(out, "zip", TINQS_CI_REVISION="abc123")
        checks.equal((done.returncode == 0, archive.exists()), (is_this, is_this), f"{said!r}")
        wanted = f"says '{said}', and this is tinqs-ci {VERSION} (abc123)"
        checks.equal(wanted in done.stderr, not is_this, f"{said!r}: {done.stderr}")
        checks.equal("run deploy/build binary" in done.stderr, not is_this, done.stderr)
        named = run(out, "zip", made, TINQS_CI_REVISION="abc123")
        checks.equal((named.returncode, archive.exists()), (0, True), f"named, {said!r}")
        checks.equal(f"warning: {made}" in named.stderr, not is_this, named.stderr)


def check_sums(checks, folder, binary):
    out = folder / "sums"
    empty = run(out, "sums")
    checks.that("make some first" in empty.stderr and empty.returncode, f"{empty.stderr}")
    run(out, "zip", binary)
    for _ in range(2):
        checks.equal(run(out, "sums").returncode, 0, "build sums")
    checked = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    done = subprocess.run(checked, cwd=out, capture_output=True, text=True, timeout=20)
    checks.equal(done.returncode, 0, f"SHA256SUMS: {done.stderr}")
    lines = (out / "SHA256SUMS").read_text().splitlines()
    checks.equal([line.split()[1] for line in lines], ["tinqs-ci-lambda.zip"], "SHA256SUMS")


def check_sbom(checks):
    """The document of three crates; `cargo tree` is not run here."""
    lock = tomllib.loads((tools.ROOT / "Cargo.lock").read_text())["package"]
    version = {package["name"]: package for package in lock}
    crates = ["tinqs-ci", "serde", "redb", "serde"]
    lines = [f"{n} v{version[n]['version']}|MIT/Apache-2.0\n" for n in crates]
    script = tools.ROOT / "deploy/package/sbom.py"

    def made(text):
        return subprocess.run(
            ["python3", script, VERSION, tools.ROOT / "Cargo.lock"], input=text, text=True,
            capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"}, timeout=20,
        )

    done = made("".join(lines))
    if not checks.equal(done.returncode, 0, f"sbom: {done.stderr}"):
        return
    document = json.loads(done.stdout)
    found = [(c["name"], c["hashes"][0]["content"]) for c in document["components"]]
    wanted = [(name, version[name]["checksum"]) for name in ("redb", "serde")]
    checks.equal(found, wanted, "crates of the document")
    checks.equal(document["components"][0]["licenses"], [{"expression": "MIT OR Apache-2.0"}], "")
    checks.equal(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z", "time")
    checks.that("not in the lock file" in made("nobody v9.9.9|MIT\n").stderr, "a foreign crate")


def check_reproducible(checks, folder):
    """Two builds by a stand-in for cargo: one that writes the same bytes, one that does not."""
    if not (tools.ROOT / ".git").exists():
        tools.skipped("deploy/build reproducible", "this is not a clone")
        return
    programs = folder / "programs"
    programs.mkdir()
    cargo = programs / "cargo"
    place = '"$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release"'
    for content, code, said in (
        ('"$TINQS_CI_REVISION"', 0, " are the same: "),
        ('"$PWD"', 1, " differ: compare the files"),
    ):
        text = f"#!/bin/sh\nmkdir -p {place}\nprintf %s {content} >{place}/tinqs-ci\n"
        cargo.write_text(text)
        cargo.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        done = run(folder / "two-builds", "reproducible", PATH=path)
        checks.equal(done.returncode, code, f"reproducible: {done.stderr}")
        checks.that(said in done.stdout + done.stderr, f"{said!r} in {done.stdout}{done.stderr}")


def check(checks):
    """Checks deploy/build."""
    check_scripts(checks)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        binary = folder / "stand-in"
        binary.write_text(STAND_IN)
        refused = run(folder, "deb", binary)
        checks.that("is not a program" in refused.stderr and refused.returncode, refused.stderr)
        binary.chmod(0o755)
        check_deb(checks, folder, binary)
        check_zip(checks, folder, binary)
        check_image(checks, folder, binary)
        check_commit(checks, folder)
        check_sums(checks, folder, binary)
        check_sbom(checks)
        check_reproducible(checks, folder)
        unknown = run(folder, "everything")
        checks.that("expected binary, deb" in unknown.stderr and unknown.returncode, "unknown verb")
