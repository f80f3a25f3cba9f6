#!/usr/bin/env python3
"""Tests tinqs-ci with independent emulators of AWS, a real Gitea and its real runner.

    python3 tests/real/aws.py target/debug/tinqs-ci

Needs Go, git, a C compiler and Python's venv; `requirements.txt` lists the emulators, which are
installed in `--work`. Guests run the user data of their launch. Exits with 0 if every scenario
passed, else with 1. Stops only the processes that it started.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asking import all_succeed, until
from forge import free_port
from host import Program
from noticed import NOTICED
from options import options_of_machines
from recorded import launch, recording
from short import short_jobs
from workflows import AS_USER, IN_IMAGE, matrix, surroundings_of

HERE = Path(__file__).resolve().parent
SECRET = "the-secret-of-the-webhook"


def installed(work):
    """Installs the emulators and runs this program again in their environment."""
    venv = work / "emulators"
    python = venv / "bin/python"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    if Path(sys.prefix) != venv:
        os.execv(python, [python, *sys.argv])


class Host(Program):
    """The program with the predecessor's eight variables and the emulators' addresses."""

    def __init__(self, dir, program, forge, cloud):
        super().__init__(dir, program)
        dir.mkdir(parents=True)
        image, subnet, group = cloud.place()
        self.webhooks = f"127.0.0.1:{free_port()}"
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(dir),
            "GITEA_URL": forge.url, "GITEA_TOKEN": forge.token, "RUNNER_TOKEN": forge.runner_token(),
            "RUNNER_AMI": image, "SUBNET": subnet, "SECURITY_GROUP": group,
            "DDB_TABLE": "tinqs-ci-runs", "INSTANCE_PROFILE": "",
            "TINQS_CI_SERVER__WEBHOOKS": self.webhooks, "TINQS_CI_FORGE__WEBHOOK_SECRET": SECRET,
            # Commands find the server by it.
            "TINQS_CI_SERVER__API": f"127.0.0.1:{free_port()}",
            **cloud.environment(),
        }

    def queue(self):
        """Returns the URL of the queue to which events of machines are sent."""
        return self.environment["TINQS_CI_QUEUE"].removeprefix("sqs:")

    @contextlib.contextmanager
    def varied(self, **variables):
        """Restarts the server with other values of variables, and afterwards with the former ones."""
        before = self.environment
        try:
            self.environment = {**before, **variables}
            self.kill()
            self.serve()
            yield
        finally:
            self.environment = before
            self.kill()
            self.serve()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)


class AsFunction(Host):
    """The zip in a played runtime of Lambda; the program itself only sets it up."""

    SECRET = "a-secret-of-this-check"

    def __init__(self, dir, program, forge, cloud, archive):
        super().__init__(dir, program, forge, cloud)
        self.archive, self.forge, self.sqs, self.function = archive, forge, cloud.sqs, None
        self.environment["WEBHOOK_SECRET"] = self.SECRET

    def serve(self):
        from function import Function

        self.function = Function(self.dir, self.archive, self.environment, self.sqs)
        self.forge.add_webhook(self.function.url, self.SECRET)

    def stop(self):
        if self.function:
            self.function.stop()


def set_up(forge, cloud, host):
    """`init --aws` creates what is missing, once; `doctor` reports no failure."""
    said = host.said("init", "--aws", "--queue-name", "tinqs-ci-wake")
    assert "table tinqs-ci-runs created" in said and "queue tinqs-ci-wake created" in said, said
    again = host.said("init", "--aws", "--queue-name", "tinqs-ci-wake")
    assert " created" not in again, again
    (queue,) = [line.split('"')[1] for line in said.splitlines() if line.strip().startswith("queue = ")]
    host.environment["TINQS_CI_QUEUE"] = queue
    forge.add_webhook(f"http://{host.webhooks}/webhook", SECRET)
    said = host.said("doctor")
    print(said)
    assert " 0 failed" in said, said
    host.serve()


def asked_for(forge, cloud, host):
    """Checks the parameters of a launch in the emulator's description, and in its record of the call
    that nothing was asked of CPU credits: AWS's own setting applies, and moto always tells `standard`."""
    forge.push("one", ".gitea/workflows/a.yml", matrix(1, 0))
    all_succeed(forge, "one", 1, 120)
    (machine,) = cloud.machines()
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    assert tags["tinqs-ci"] == "tinqs-ci" and tags["tinqs-ci/attempt"].startswith("tq-"), tags
    assert machine["ClientToken"].startswith(tags["tinqs-ci/attempt"]), machine["ClientToken"]
    assert machine["InstanceType"] == "t3.small" and machine["InstanceLifecycle"] == "spot", machine
    assert machine["MetadataOptions"]["HttpTokens"] == "required", machine["MetadataOptions"]
    assert machine["MetadataOptions"]["HttpPutResponseHopLimit"] == 1, machine["MetadataOptions"]
    id = machine["InstanceId"]
    told = cloud.ec2.describe_instance_attribute(InstanceId=id, Attribute="instanceInitiatedShutdownBehavior")
    assert told["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate", told
    (job,) = forge.jobs("one")
    asked = launch(cloud.dir, job["id"])
    assert asked["InstanceType"] == "t3.small", asked
    assert not [name for name in asked if name.startswith("CreditSpecification")], asked


def surroundings(forge, cloud, host):
    """A job has the environment of a login on its machine, including `/etc/profile.d`."""
    forge.push("around", ".gitea/workflows/a.yml", surroundings_of(*cloud.login()))
    all_succeed(forge, "around", 1, 120)


def matrix_of_20(forge, cloud, host):
    before = len(cloud.machines())
    forge.push("matrix", ".gitea/workflows/a.yml", matrix(20, 1))
    all_succeed(forge, "matrix", 20, 300)
    made = len(cloud.machines()) - before
    assert made == 20, f"{made} machines for 20 jobs"


def short_jobs_without_webhook(forge, cloud, host):
    with host.varied(LIMIT="40"):
        short_jobs(forge, cloud.machines, lambda: nothing_left(forge, cloud))


def controller_killed(forge, cloud, host):
    """No emulator honors client tokens: a launch with a lost reply may be duplicated, never lost."""
    forge.push("killed", ".gitea/workflows/a.yml", matrix(10, 2))
    for _ in range(4):
        time.sleep(2)
        host.kill()
        host.serve()
    all_succeed(forge, "killed", 10, 300)


def machine_taken(forge, cloud, host):
    """Spot interrupts a machine before its job began: the event causes the next launch."""
    cloud.boot(False)
    before = {m["InstanceId"] for m in cloud.machines()}
    forge.push("taken", ".gitea/workflows/a.yml", matrix(1, 0))
    new = until("a machine", lambda: [m for m in cloud.live() if m["InstanceId"] not in before], 60)
    (first,) = [m["InstanceId"] for m in new]
    at = time.monotonic()
    cloud.take(first, host.queue())
    until("the next machine", lambda: [m for m in cloud.live() if m["InstanceId"] not in before], 60)
    print(f"       replaced {time.monotonic() - at:.1f} s after the event")
    cloud.boot(True)
    all_succeed(forge, "taken", 1, 120)


def image(forge, cloud, host):
    """A job finds what the image's provisioning installed. Unit and cloud-init start one runner."""
    before = {m["InstanceId"] for m in cloud.machines()}
    forge.push("image", ".gitea/workflows/a.yml", IN_IMAGE)
    all_succeed(forge, "image", 1, 120)
    (machine,) = [m["InstanceId"] for m in cloud.machines() if m["InstanceId"] not in before]
    logs = {name: (cloud.dir / machine / "guest" / name).read_text() for name in ("unit.log", "cloud-init.log")}
    assert "starting gitea-runner" in logs["unit.log"], logs
    assert "this script runs already" in logs["cloud-init.log"], logs
    assert "starting" not in logs["cloud-init.log"], logs


USER_OF_THE_IMAGE = """store = "dynamodb:{DDB_TABLE}"
compute = "ec2:{AWS_REGION}"
[[class]]
name = "linux"
labels = ["linux"]
[class.machines]
image = "{RUNNER_AMI}"
kinds = ["t3.small"]
subnets = ["{SUBNET}"]
security_groups = ["{SECURITY_GROUP}"]
[class.runner]
user = "runner"
"""


def user_of_the_image(forge, cloud, host):
    """With `[class.runner] user` the job is not root, and the machine refuses it the metadata service.

    The firewall is a stand-in, which is asked for the rule: `tests/deploy/fence.py` loads it.
    """
    before = {m["InstanceId"] for m in cloud.machines()}
    file = host.dir / "user.toml"
    file.write_text(USER_OF_THE_IMAGE.format(**host.environment))
    with host.varied(TINQS_CI_CONFIG=str(file)):
        forge.push("user", ".gitea/workflows/a.yml", AS_USER)
        all_succeed(forge, "user", 1, 120)
        nothing_left(forge, cloud)
    (machine,) = [m["InstanceId"] for m in cloud.machines() if m["InstanceId"] not in before]
    guest = cloud.dir / machine / "guest"
    asked = (guest / "firewall.log").read_text()
    assert "skuid" in asked and "169.254.169.254 reject" in asked, asked
    said = (guest / "unit.log").read_text()
    assert "can reach" not in said and "powering off" in said, said


SCENARIOS = [set_up, asked_for, surroundings, matrix_of_20, short_jobs_without_webhook, controller_killed,
             machine_taken, options_of_machines, *NOTICED]
# As a function, which Lambda starts and ends.
IN_FUNCTION = [set_up, asked_for, surroundings, matrix_of_20, machine_taken]
# With machines made of a root.
IN_ROOT = [set_up, asked_for, surroundings, image, user_of_the_image]


def nothing_left(forge, cloud):
    until("no registration is left", lambda: forge.runners() == [], 120)
    until("no machine is left", lambda: cloud.live() == [], 120)


def play(scenario, forge, cloud, host):
    began = time.monotonic()
    try:
        scenario(forge, cloud, host)
        nothing_left(forge, cloud)
    except Exception as error:
        print(f"FAILED {scenario.__name__}: {type(error).__name__}: {error}", flush=True)
        return False
    finally:
        cloud.boot(True)
    print(f"ok     {scenario.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def emulators(dir, dynamodb):
    from cloud import Emulator  # imports packages that are installed by now

    bin = Path(sys.prefix, "bin")
    program = [str(bin / "python"), str(HERE / "spot_moto.py"), "-H", "127.0.0.1", "-p", "{port}"]
    moto = Emulator(dir, "moto", program, recording(dir))
    playing = dict.fromkeys(["ec2", "sqs", "sts", "iam", "ssm", "dynamodb"], moto)
    if dynamodb == "ministack":
        environment = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": "{port}"}
        playing["dynamodb"] = Emulator(dir, dynamodb, [str(bin / "ministack")], environment)
    return playing


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tinqs_ci", type=Path, help="the program, with the AWS adapters")
    parser.add_argument("--gitea", default="v1.26.4", help="version of Gitea")
    parser.add_argument("--runner", default="v1.0.8", help="version of gitea.com/gitea/runner")
    parser.add_argument("--dynamodb", default="ministack", choices=["ministack", "moto"], help="emulator of DynamoDB")
    parser.add_argument("--work", type=Path, default=Path("target/real"), help="directory for builds, which are kept")
    parser.add_argument("--only", help="run only `set_up` and this scenario")
    parser.add_argument("--root", type=Path, help="as root: make machines of what tests/deploy/root left there")
    parser.add_argument("--zip", type=Path, help="play this Lambda function (deploy/build zip) instead of a host")
    parser.add_argument("--keep", type=Path, help="empty directory for logs, which are kept")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    installed(work)
    from cloud import Cloud
    from forge import Forge, build, build_gitea

    gitea = build_gitea(work, arguments.gitea)
    runner = build(work, "gitea.com/gitea/runner", arguments.runner, [])
    with tempfile.TemporaryDirectory(prefix="tinqs-ci-real-") as scratch:
        place = arguments.keep or Path(scratch)
        (place / "bin").mkdir(parents=True)
        (place / "bin/gitea-runner").symlink_to(runner[0])
        playing = emulators(place, arguments.dynamodb)
        path = f"{place / 'bin'}:{os.environ['PATH']}"
        root = arguments.root.resolve() if arguments.root else None
        with Cloud(place, playing, path, root) as cloud, Forge(place / "forge", gitea) as forge:
            making = (place / "host", arguments.tinqs_ci.resolve(), forge, cloud)
            host = AsFunction(*making, arguments.zip.resolve()) if arguments.zip else Host(*making)
            try:
                scenarios = IN_ROOT if arguments.root else IN_FUNCTION if arguments.zip else SCENARIOS
                chosen = [s for s in scenarios if arguments.only in (None, s.__name__) or s is set_up]
                held = all([play(scenario, forge, cloud, host) for scenario in chosen])
            finally:
                host.stop()
    told = f"Gitea {arguments.gitea}, runner {arguments.runner}, EC2 and SQS by moto, DynamoDB by {arguments.dynamodb}"
    print(f"{told}: {'every scenario passed' if held else 'FAILED'}")
    return 0 if held else 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
