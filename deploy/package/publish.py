"""Attaches files to a release of the forge: publish.py TAG CHANGELOG FOLDER

The files are those of FOLDER/SHA256SUMS, with it and its signature. The environment is that of a
job of Gitea Actions: GITHUB_SERVER_URL, GITHUB_REPOSITORY, and TOKEN, which may write the
repository's releases. The release is a draft until every file is there; a call that failed may be
repeated.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

# Of one call, in seconds: the largest file is sent in one.
TIMEOUT = 120


def fail(message):
    sys.exit(f"publish: {message}")


def variable(name):
    return os.environ.get(name) or fail(f"the variable {name} is not set")


class Releases:
    """The releases of one repository."""

    def __init__(self):
        server = variable("GITHUB_SERVER_URL").rstrip("/")
        self.url = f"{server}/api/v1/repos/{variable('GITHUB_REPOSITORY')}/releases"
        self.token = variable("TOKEN")

    def call(self, method, path, body=None, kind="application/json"):
        """Returns the answer as JSON, None without one."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=body, method=method)
        request.add_header("Authorization", f"token {self.token}")
        request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace")
            fail(f"{method} {self.url}{path}: {error.code} {said}")
        except OSError as error:
            fail(f"{method} {self.url}{path}: {error}")
        return json.loads(text) if text else None

    def draft(self, tag, notes):
        """Returns the release as an empty draft, which is created if there is none."""
        found = [one for one in self.call("GET", "?limit=50") if one["tag_name"] == tag]
        if not found:
            wanted = {"tag_name": tag, "name": tag, "body": notes, "draft": True}
            return self.call("POST", "", wanted)
        if not found[0]["draft"]:
            fail(f"the release {tag} is published already: release another version")
        for asset in found[0]["assets"]:
            self.call("DELETE", f"/{found[0]['id']}/assets/{asset['id']}")
        return found[0]

    def attach(self, release, file):
        boundary = uuid.uuid4().hex
        head = f'Content-Disposition: form-data; name="attachment"; filename="{file.name}"'
        body = f"--{boundary}\r\n{head}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        body += file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        path = f"/{release['id']}/assets?name={urllib.parse.quote(file.name)}"
        asset = self.call("POST", path, body, f"multipart/form-data; boundary={boundary}")
        if asset["size"] != file.stat().st_size:
            fail(f"the forge has {asset['size']} bytes of {file.name}: run it again")


def section(changelog, tag):
    """Returns what the changelog says about this version."""
    head = f"## [{tag.removeprefix('v')}]"
    _, found, rest = changelog.partition(head)
    if not found:
        fail(f"the changelog has no section {head}")
    return rest.partition("\n")[2].partition("\n## ")[0].strip()


def main(tag, changelog, folder):
    folder = Path(folder)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    names = [line.split(maxsplit=1)[1] for line in lines] + ["SHA256SUMS", "SHA256SUMS.minisig"]
    releases = Releases()
    release = releases.draft(tag, section(Path(changelog).read_text(), tag))
    for name in names:
        releases.attach(release, folder / name)
        print(f"attached {name}")
    releases.call("PATCH", f"/{release['id']}", {"draft": False})
    print(f"published {tag}")


main(*sys.argv[1:])
