"""Checks the verbs of deploy/build that a release adds: `tag`, `sign` and `publish`."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

import build
import tools

TAG = f"v{build.VERSION}"
TOKEN = "canary-of-the-release-token"
NOTES = "### Added\n\n- What the notes say."


class Forge(http.server.ThreadingHTTPServer):
    """The releases of one repository, as the forge's API has them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Api)
        self.releases = {}
        self.ids = 0
        # How many more files are accepted.
        self.room = 100
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def next(self):
        self.ids += 1
        return self.ids


class Api(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"token {TOKEN}":
            return self.answer(401, {"message": "token is required"})
        path, _, query = self.path.partition("?")
        parts = path.removeprefix("/api/v1/repos/acme/ci/releases").strip("/").split("/")
        releases = self.server.releases
        match self.command, parts:
            case "GET", [""]:
                return self.answer(200, list(releases.values()))
            case "POST", [""]:
                release = {"id": self.server.next(), "assets": []} | json.loads(body)
                releases[release["id"]] = release
                return self.answer(201, release)
            case "POST", [one, "assets"]:
                return self.attach(releases[int(one)], urllib.parse.parse_qs(query), body)
            case "DELETE", [one, "assets", asset]:
                kept = [a for a in releases[int(one)]["assets"] if a["id"] != int(asset)]
                releases[int(one)]["assets"] = kept
                return self.answer(200, None)
            case "PATCH", [one]:
                releases[int(one)] |= json.loads(body)
                return self.answer(200, releases[int(one)])
        return self.answer(404, {"message": f"{self.command} {path}"})

    def attach(self, release, query, body):
        if not self.server.room:
            return self.answer(500, {"message": "the disk is full"})
        self.server.room -= 1
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        content = body.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n--" + boundary + b"--\r\n")
        asset = {
            "id": self.server.next(),
            "name": query["name"][0],
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        release["assets"].append(asset)
        return self.answer(201, asset)

    def log_message(self, *_):
        pass

    do_GET = do_POST = do_DELETE = do_PATCH = handle_call


def minisign(folder):
    """Makes minisign callable. Returns variables that call it, or None."""
    found = tools.apt_program("minisign", "usr/bin/minisign")
    if not found:
        return None
    library = "usr/lib/x86_64-linux-gnu/libsodium.so.23"
    variables = {"PATH": f"{Path(found).resolve().parent}:{os.environ['PATH']}"}
    if subprocess.run([found, "-v"], capture_output=True).returncode:
        beside = tools.apt_program("libsodium23", library)
        if not beside:
            return None
        variables["LD_LIBRARY_PATH"] = str(Path(beside).resolve().parent)
    for name in ("one", "other"):
        key = ["minisign", "-G", "-W", "-p", folder / f"{name}.pub", "-s", folder / f"{name}.key"]
        program = shutil.which("minisign", path=variables["PATH"])
        made = subprocess.run(
            [program, *key[1:]], env=os.environ | variables, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=20,
        )
        if made.returncode:
            tools.skipped("deploy/build sign", f"minisign makes no key: {made.stderr}")
            return None
    return variables


def check_tag(checks, out):
    for tag in ("", "v0.0.0", build.VERSION):
        done = build.run(out, "tag", tag)
        checks.that(done.returncode and f"tag it {TAG}" in done.stderr, f"{tag}: {done.stderr}")
    done = build.run(out, "tag", TAG)
    released = f"## [{build.VERSION}]" in (tools.ROOT / "CHANGELOG.md").read_text()
    checks.equal(done.returncode, 0 if released else 1, f"tag {TAG}: {done.stderr}")
    checks.that(released or "has no section" in done.stderr, f"tag {TAG}: {done.stderr}")


def check_sign(checks, folder, out):
    for variables, said in (({}, "SIGNING_KEY is not set"), ({"SIGNING_KEY": "k"}, "is missing")):
        # Without the program, the verb says so first.
        path = folder / "empty"
        path.mkdir(exist_ok=True)
        (path / "minisign").write_text("#!/bin/sh\nexit 9\n")
        (path / "minisign").chmod(0o755)
        variables = variables | {"PATH": f"{path}:{os.environ['PATH']}"}
        done = build.run(out, "sign", folder / "none.pub", **variables)
        checks.that(done.returncode and said in done.stderr, f"{said}: {done.stderr}")
    variables = minisign(folder)
    if not variables:
        return
    key = (folder / "one.key").read_text().rstrip("\n")
    signature = out / "SHA256SUMS.minisig"
    done = build.run(out, "sign", folder / "other.pub", SIGNING_KEY=key, **variables)
    checks.that(done.returncode and "does not match" in done.stderr, f"another key: {done.stderr}")
    checks.that(not signature.exists(), "a signature by another key stays")
    done = build.run(out, "sign", folder / "one.pub", SIGNING_KEY=key, **variables)
    checks.equal(done.returncode, 0, f"sign: {done.stderr}")
    checks.that(signature.exists(), "no signature")
    checks.that(key.splitlines()[-1] not in done.stdout + done.stderr, "the key is printed")


def publish(out, changelog, forge, token=TOKEN):
    """Runs what the verb runs, with a changelog that has the version."""
    variables = {
        "GITHUB_SERVER_URL": f"http://127.0.0.1:{forge.server_port}",
        "GITHUB_REPOSITORY": "acme/ci",
        "TOKEN": token,
    }
    return subprocess.run(
        ["python3", tools.ROOT / "deploy/package/publish.py", TAG, changelog, out],
        env=os.environ | variables, capture_output=True, text=True, timeout=60,
    )


def check_publish(checks, folder, out):
    changelog = folder / "CHANGELOG.md"
    sections = ["# Changelog", "## [Unreleased]", f"## [{build.VERSION}]", NOTES, "## [0.0.1]"]
    changelog.write_text("\n\n".join(sections))
    (out / "SHA256SUMS.minisig").write_text("a signature\n")
    (out / "unlisted").write_text("not released\n")
    forge = Forge()
    done = publish(out, changelog, forge, token="another")
    checks.that(done.returncode and ": 401 " in done.stderr, f"a wrong token: {done.stderr}")
    forge.room = 1
    done = publish(out, changelog, forge)
    checks.that(done.returncode and "the disk is full" in done.stderr, f"{done.stderr}")
    [release] = forge.releases.values()
    checks.equal((release["draft"], len(release["assets"])), (True, 1), "half a release")
    forge.room = 100
    done = publish(out, changelog, forge)
    checks.equal(done.returncode, 0, f"publish again: {done.stderr}")
    checks.equal(len(forge.releases), 1, "releases")
    release = forge.releases[release["id"]]
    found = {asset["name"]: asset["sha256"] for asset in release["assets"]}
    names = ("SHA256SUMS", "SHA256SUMS.minisig", "tinqs-ci-lambda.zip")
    wanted = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    checks.equal(found, wanted, "files of the release")
    checks.equal(len(release["assets"]), len(names), "each file once")
    kept = [release[key] for key in ("tag_name", "body", "draft")]
    checks.equal(kept, [TAG, NOTES, False], "the release")
    done = publish(out, changelog, forge)
    checks.that(done.returncode and "published already" in done.stderr, f"{done.stderr}")
    checks.that(TOKEN not in done.stdout + done.stderr, "the token is printed")
    forge.shutdown()


def check(checks):
    """Checks a release."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        out = folder / "out"
        binary = folder / "stand-in"
        binary.write_text(build.STAND_IN)
        binary.chmod(0o755)
        for arguments in (("zip", binary), ("sums",)):
            done = build.run(out, *arguments)
            checks.equal(done.returncode, 0, f"build {arguments[0]}: {done.stderr}")
        check_tag(checks, out)
        check_sign(checks, folder, out)
        check_publish(checks, folder, out)
