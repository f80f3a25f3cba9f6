"""tinqs-ci as a new user sets it up: `init`, `doctor`, `serve`."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from forge import free_port


class Program:
    """The program with a directory and an environment."""

    def __init__(self, dir, program):
        self.dir, self.program, self.process, self.environment = dir, program, None, {}
        # Variables of `serve` alone.
        self.serving = {}

    def said(self, *arguments):
        done = subprocess.run(
            [self.program, *arguments], cwd=self.dir, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"tinqs-ci {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def printed(self, *arguments):
        """Returns the exit code of a command and what it printed."""
        done = subprocess.run(
            [self.program, *arguments], cwd=self.dir, env=self.environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    def serve(self):
        log = open(self.dir / "serve.log", "ab")
        self.process = subprocess.Popen(
            [self.program, "serve", "--insecure-root"], cwd=self.dir, stdout=log, stderr=log,
            env={**self.environment, **self.serving},
            # Like this program, it ignores the signal of a file size limit.
            restore_signals=False,
        )

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        """Returns the lines of the server's log."""
        return (self.dir / "serve.log").read_text().splitlines()

    def reconciles(self, action, since=0):
        """Returns the log's lines of reconciles with this action, from this line of the log on."""
        lines = [json.loads(line) for line in self.log()[since:]]
        return [line for line in lines if action in line.get("action", "").split("+")]

    def acted(self, action, since=0):
        """Returns the run and the machine of each of these reconciles."""
        return [(line.get("run"), line.get("machine")) for line in self.reconciles(action, since)]


class Host(Program):
    def __init__(self, dir, program, runner, forge, demand, installation=None, url=None):
        """`installation`: a name of its own, and no webhook: it finds jobs by polling. `url`: the
        forge's address, if it is another one for this host."""
        super().__init__(dir, program)
        self.listen = f"127.0.0.1:{free_port()}"
        self.runner = runner[0]
        api = f"127.0.0.1:{free_port()}"
        (dir / "bin").mkdir(parents=True)
        self.install_runner()
        self.environment = {
            "PATH": f"{dir / 'bin'}:{os.environ['PATH']}",
            "HOME": str(dir),
            "GITEA_TOKEN": forge.token,
            # Commands find the server by the configuration in their directory.
            "TINQS_CI_SERVER__API": api,
        }
        webhook = [] if installation else ["--create-webhook"]
        self.said(
            "init", "--yes", "--url", url or forge.url, "--scope", "all", "--labels", "linux",
            "--demand", demand, *webhook, "--listen", self.listen,
        )
        if installation:
            file = dir / "tinqs-ci.toml"
            file.write_text(f'installation = "{installation}"\n{file.read_text()}')

    def __enter__(self):
        self.serve()
        said = self.said("doctor")
        assert " 0 failed" in said, said
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        for machine in self.live():
            self.end_machine(machine)

    def install_runner(self):
        (self.dir / "bin/gitea-runner").symlink_to(self.runner)

    def install_hung_runner(self):
        """Installs a runner that never calls the forge, and that cannot be asked to end."""
        runner = self.dir / "bin/gitea-runner"
        runner.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n")
        runner.chmod(0o755)

    def remove_runner(self):
        (self.dir / "bin/gitea-runner").unlink()

    def write_secret(self, file, text):
        """Replaces a file by a rename."""
        new = file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text)
        new.rename(file)

    @contextlib.contextmanager
    def configured(self, change):
        """Restarts the server with a changed configuration, and afterwards with the former one."""
        file = self.dir / "tinqs-ci.toml"
        text = file.read_text()
        changed = change(text)
        assert changed != text, "the configuration did not change"
        try:
            self.restart(changed)
            yield
        finally:
            self.restart(text)

    def restart(self, text=None):
        """Restarts the server, with another configuration if there is one; waits until it answers."""
        self.kill()
        if text is not None:
            (self.dir / "tinqs-ci.toml").write_text(text)
        self.serve()
        for _ in range(100):
            if self.printed("get", "classes")[0] == 0:
                return
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def machines(self):
        """Returns the directory of every machine."""
        dir = self.dir / "data/machines"
        return sorted(path for path in dir.iterdir() if path.name.startswith("tq-")) if dir.exists() else []

    def live(self):
        """Returns the directories of machines with processes."""
        return [machine for machine in self.machines() if processes(machine.name)]

    def end_machine(self, machine):
        """Kills a machine's processes, like a power failure."""
        for _ in range(50):
            found = processes(machine.name)
            if not found:
                return
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)


def processes(token):
    """Returns the processes with the machine's marker."""
    marker = f"TINQS_CI_MACHINE={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            pass
    return found
