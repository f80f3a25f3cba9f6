"""A Gitea on loopback, built from source."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

OWNER = "boss"
SETTINGS = """RUN_MODE = prod
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_USER = {user}
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {source}
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = {dir}/gitea.db
[security]
INSTALL_LOCK = true
[webhook]
ALLOWED_HOST_LIST = loopback
[actions]
ENABLED = true
[log]
MODE = file
LEVEL = Info
ROOT_PATH = {dir}/log
"""


# Modules that Gitea 1.27 requires under a new path, and the path under which proxies serve them.
RENAMED = {
    "gitea.dev/actions-proto-go": "code.gitea.io/actions-proto-go@v0.6.0",
    "gitea.dev/sdk": "code.gitea.io/sdk/gitea@v0.25.1",
}


def build_gitea(work, version):
    """Builds Gitea once. Returns the program and its source."""
    flags = ["-tags", "sqlite sqlite_unlock_notify"]
    minor = int(version.removeprefix("v").split(".")[1])
    prepare = prepare_1_27 if minor >= 27 else None
    return build(work, "code.gitea.io/gitea", version, flags, prepare)


def prepare_1_27(source):
    for path, served_as in RENAMED.items():
        replace = f"-replace={path}={served_as}"
        subprocess.run(["go", "mod", "edit", replace], cwd=source, check=True)
    # A source of migrations, which needs the new SDK. Actions do not use it.
    for file in (source / "services/migrations").glob("gitea_downloader*.go"):
        file.unlink()


def build(work, module, version, flags, prepare=None):
    """Builds a Go module's program once. Returns the program and its source."""
    name = module.rsplit("/", 1)[1]
    source, program = work / f"{name}-{version}", work / f"{name}-{version}.bin"
    if not program.exists():
        print(f"building {module} {version}", flush=True)
        work.mkdir(parents=True, exist_ok=True)
        told = subprocess.run(
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            cwd=work, check=True, capture_output=True, text=True,
            env={**os.environ, "GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": "-mod=mod"},
        )
        shutil.rmtree(source, ignore_errors=True)
        # The module cache is read-only, and so would be a plain copy of it.
        shutil.copytree(json.loads(told.stdout)["Dir"], source, copy_function=shutil.copyfile)
        for dir, _, _ in os.walk(source):
            os.chmod(dir, 0o755)
        if prepare:
            prepare(source)
        stamp = f"-X main.Version={version.removeprefix('v')}"
        subprocess.run(
            ["go", "build", "-mod=mod", *flags, "-ldflags", stamp, "-o", program, "."], cwd=source, check=True
        )
    return program, source


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Forge:
    def __init__(self, dir, built):
        self.dir, (self.program, source) = dir, built
        self.port, self.process, self.made = free_port(), None, 0
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(dir),
            "GITEA_WORK_DIR": str(dir),
            "GITEA_CUSTOM": str(dir / "custom"),
        }
        (dir / "custom/conf").mkdir(parents=True)
        settings = SETTINGS.format(user=user(), port=self.port, source=source, dir=dir)
        (dir / "custom/conf/app.ini").write_text(settings)

    def __enter__(self):
        self.run("migrate")
        user = ["--username", OWNER]
        self.run("admin", "user", "create", "--admin", *user, "--random-password",
                 "--email", "boss@example.org", "--must-change-password=false")
        said = self.run("admin", "user", "generate-access-token", *user, "--scopes", "all", "--raw")
        self.token = said.split()[-1]
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"gitea {arguments[0]}: {done.stderr[-2000:]}"
        return done.stdout

    def start(self):
        log = open(self.dir / "web.log", "ab")
        self.process = subprocess.Popen([self.program, "web"], env=self.environment, stdout=log, stderr=log)
        # Two minutes, for a host that does other work.
        for _ in range(600):
            try:
                return self.call("GET", "/version")
            except (OSError, AssertionError):
                assert self.process.poll() is None, (self.dir / "web.log").read_text()[-2000:]
                time.sleep(0.2)
        raise AssertionError("gitea does not answer")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def call(self, method, path, body=None, authorization=None):
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": authorization or f"token {self.token}", "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:300]}") from error

    def push(self, repo, path, text, owner=OWNER):
        """Commits a file. Creates the repository if it does not exist. `owner`: or an organization."""
        try:
            self.call("GET", f"/repos/{owner}/{repo}")
        except AssertionError:
            where = "/user/repos" if owner == OWNER else f"/orgs/{owner}/repos"
            self.call("POST", where, {"name": repo, "auto_init": True, "default_branch": "main"})
        content = base64.b64encode(text.encode()).decode()
        self.call("POST", f"/repos/{owner}/{repo}/contents/{path}",
                  {"content": content, "message": f"add {path}", "branch": "main"})

    def delete(self, repo):
        self.call("DELETE", f"/repos/{OWNER}/{repo}")

    def repositories(self):
        return [repo["name"] for repo in self.call("GET", "/user/repos?limit=50")]

    def jobs(self, repo, owner=OWNER):
        found, page = [], 1
        while True:
            jobs = self.call("GET", f"/repos/{owner}/{repo}/actions/jobs?limit=50&page={page}")["jobs"]
            found += jobs or []
            if len(jobs or []) < 50:
                return found
            page += 1

    def rerun_failed(self, repo, run_id):
        self.call("POST", f"/repos/{OWNER}/{repo}/actions/runs/{run_id}/rerun-failed-jobs")

    def minor(self):
        """Returns the second number of the version."""
        return int(self.call("GET", "/version")["version"].split(".")[1])

    def new_token(self):
        """Creates another token of the owner. Returns its name and the token."""
        self.made += 1
        name = f"token-{self.made}"
        said = self.run("admin", "user", "generate-access-token", "--username", OWNER,
                        "--token-name", name, "--scopes", "all", "--raw")
        return name, said.split()[-1]

    def revoke(self, name):
        """Deletes a token, which needs the owner's password."""
        password = "correct-horse-battery-staple"
        self.run("admin", "user", "change-password", "--username", OWNER, "--password", password,
                 "--must-change-password=false")
        basic = base64.b64encode(f"{OWNER}:{password}".encode()).decode()
        self.call("DELETE", f"/users/{OWNER}/tokens/{name}", authorization=f"Basic {basic}")

    def restart_with(self, before, after):
        """Changes a line of the configuration, and restarts."""
        file = self.dir / "custom/conf/app.ini"
        text = file.read_text()
        assert before in text, before
        self.stop()
        file.write_text(text.replace(before, after))
        self.start()

    def add_webhook(self, url, secret):
        """Adds a webhook for the jobs of every repository. Returns its ID."""
        config = {"url": url, "content_type": "json", "secret": secret, "is_system_webhook": "true"}
        hook = {"type": "gitea", "active": True, "events": ["workflow_job"], "config": config}
        return self.call("POST", "/admin/hooks", hook)["id"]

    def remove_webhook(self, id):
        self.call("DELETE", f"/admin/hooks/{id}")

    def registrations(self):
        """Returns the name of every registered runner by its ID."""
        rows = self.call("GET", "/admin/actions/runners?limit=50")["runners"]
        return {row["id"]: row["name"] for row in rows}

    def runners(self):
        return list(self.registrations().values())

    def runner_token(self):
        return self.call("POST", "/admin/actions/runners/registration-token")["token"]

    def webhooks(self, active=True, events=("workflow_job",)):
        for hook in self.call("GET", "/admin/hooks"):
            self.call("PATCH", f"/admin/hooks/{hook['id']}", {"active": active, "events": list(events)})


def user():
    return Path("/proc/self").owner()
