"""Independent emulators of EC2, SQS and DynamoDB on loopback, and guests that run user data."""

import base64
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from threading import Event, Thread

import boto3
from botocore.config import Config

from forge import free_port
from machine_root import RootGuest
from metadata import Metadata
from spot_moto import TAKEN

REGION = "us-east-1"
# The same marker as in the project's own wire.
GUEST = "TINQS_CI_SIMULATED_GUEST"
WARNING = "EC2 Spot Instance Interruption Warning"
STATE_CHANGE = "EC2 Instance State-change Notification"
POWER_OFF = Path(__file__, "../../../simulator/src/ec2_wire/guest/poweroff.sh").resolve().read_text()


class Emulator:
    """A process that emulates AWS services."""

    def __init__(self, dir, name, command, environment=()):
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        log = open(dir / f"{name}.log", "wb")
        command = [part.format(port=self.port) for part in command]
        variables = {key: value.format(port=self.port) for key, value in dict(environment).items()}
        self.process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
        )
        # Two minutes, for a host that does other work.
        for _ in range(1200):
            assert self.process.poll() is None, f"{name} ended: see {log.name}"
            try:
                urllib.request.urlopen(self.url, timeout=5)
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise AssertionError(f"{name} does not answer")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# Like Debian's profile, which overwrites PATH.
PROFILE = """PATH=/usr/local/bin:/usr/bin:/bin
export PATH
for i in /etc/profile.d/*.sh; do
  . "$i"
done
"""


class Cloud:
    """The emulators, and machines that run their user data in `bash` with a private /etc, or in a root."""

    TOOLS = "/opt/tools/bin"

    def __init__(self, dir, emulators, path, root=None, region=REGION, installation="tinqs-ci"):
        """`root`: machines are made of this directory."""
        self.region, self.installation = region, installation
        (dir / "etc/profile.d").mkdir(parents=True)
        (dir / "etc/profile").write_text(PROFILE.replace("/etc/", f"{dir}/etc/"))
        (dir / "etc/profile.d/tools.sh").write_text(f"PATH=$PATH:{self.TOOLS}\n")
        self.dir, self.emulators, self.path, self.root = dir, emulators, path, root
        self.guests, self.over, self.boots = {}, Event(), True
        # The machines that are to be taken: when, and the queue to which events of them are sent.
        self.metadata, self.to_take = Metadata(), {}
        self.ec2, self.sqs = self.client("ec2"), self.client("sqs")

    def client(self, service):
        return boto3.client(
            service, region_name=self.region, endpoint_url=self.emulators[service].url,
            aws_access_key_id="test", aws_secret_access_key="test-secret", config=Config(retries={"max_attempts": 2}),
        )

    def environment(self):
        """Returns the standard variables of AWS SDKs that point to the emulators."""
        named = {f"AWS_ENDPOINT_URL_{service.upper()}": e.url for service, e in self.emulators.items()}
        return {
            "AWS_REGION": self.region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_EC2_METADATA_DISABLED": "true", **named,
        }

    def __enter__(self):
        self.thread = Thread(target=self.attend)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for guest in self.guests.values():
            guest.end()
        self.metadata.stop()
        for emulator in {id(e): e for e in self.emulators.values()}.values():
            emulator.stop()

    def place(self):
        """Returns a predefined image, subnet and security group of the emulator."""
        image = next(i for i in self.ec2.describe_images()["Images"] if i.get("Architecture") == "x86_64"
                     and i.get("RootDeviceType") == "ebs" and i.get("Platform") != "windows")
        subnet = self.ec2.describe_subnets()["Subnets"][0]
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        group = next(g for g in groups if g.get("VpcId") == subnet["VpcId"])
        return image["ImageId"], subnet["SubnetId"], group["GroupId"]

    def login(self):
        """Returns HOME of a login on a machine (a pattern), and what its /etc/profile.d adds to PATH."""
        return ("/root", "/usr/local/go/bin") if self.root else ("*/home", self.TOOLS)

    def machines(self):
        """Returns all machines with our tag."""
        pages = self.ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "tag:tinqs-ci", "Values": [self.installation]}]
        )
        return [m for page in pages for r in page["Reservations"] for m in r["Instances"]]

    def live(self):
        return [m for m in self.machines() if m["State"]["Name"] not in ("shutting-down", "terminated")]

    def boot(self, may):
        """Sets whether machines boot."""
        self.boots = may

    def user_data(self, id):
        told = self.ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")
        return base64.b64decode(told["UserData"]["Value"])

    def announce(self, id, at, queue):
        """Announces that a Spot machine is taken back at this Unix time, by its metadata and by an event.
        Then it is taken."""
        self.metadata.announce(id, at)
        self.event(queue, id, WARNING, {"instance-action": "terminate"})
        self.to_take[id] = at, queue

    def take(self, id, queue):
        """Takes a Spot machine back."""
        self.ec2.create_tags(Resources=[id], Tags=[{"Key": TAKEN, "Value": ""}])
        self.ec2.terminate_instances(InstanceIds=[id])
        self.event(queue, id, STATE_CHANGE, {"state": "terminated"})

    def event(self, queue, id, kind, detail):
        """Sends an event of EC2 about a machine, as EventBridge does."""
        body = {
            "version": "0", "id": f"event-{id}", "detail-type": kind,
            "source": "aws.ec2", "account": "123456789012", "time": "2026-11-26T00:00:00Z", "region": REGION,
            "resources": [f"arn:aws:ec2:{REGION}:123456789012:instance/{id}"],
            "detail": {"instance-id": id, **detail},
        }
        self.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))

    def guest(self, id):
        user_data = self.metadata.seen_by(id, self.user_data(id))
        if self.root:
            return RootGuest(self.dir / id, user_data, self.root, POWER_OFF)
        return Guest(self.dir / id, user_data, self.path)

    def attend(self):
        """Takes machines when they are due; boots running ones, and ends those that powered off or were
        terminated."""
        while not self.over.wait(0.3):
            for id, (at, queue) in list(self.to_take.items()):
                if time.time() >= at:
                    del self.to_take[id]
                    self.take(id, queue)
            live = {m["InstanceId"]: m["State"]["Name"] for m in self.live()}
            for id, state in live.items():
                if self.boots and state == "running" and id not in self.guests:
                    self.guests[id] = self.guest(id)
            for id, guest in self.guests.items():
                if id in live and guest.powered_off():
                    self.ec2.terminate_instances(InstanceIds=[id])
                elif id not in live:
                    guest.end()


class Guest:
    def __init__(self, dir, user_data, path):
        self.dir, self.over = dir, False
        (dir / "bin").mkdir(parents=True)
        (dir / "home").mkdir()
        for name in ("poweroff", "shutdown", "halt", "systemctl"):
            (dir / "bin" / name).write_text(POWER_OFF)
            (dir / "bin" / name).chmod(0o700)
        user_data = user_data.replace(b"/etc/", f"{dir.parent}/etc/".encode())
        # All machines share the host's `/run`.
        user_data = user_data.replace(b"/run/tinqs-ci", f"{dir}/running".encode())
        (dir / "user-data").write_bytes(user_data)
        log = open(dir / "log", "wb")
        self.process = subprocess.Popen(
            ["bash", dir / "user-data"], cwd=dir / "home", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": f"{dir / 'bin'}:{path}", "HOME": str(dir / "home"), GUEST: str(dir)},
        )

    def powered_off(self):
        return (self.dir / "powered-off").exists()

    def end(self):
        if self.over:
            return
        mark = f"{GUEST}={self.dir}".encode()
        for _ in range(50):
            found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(pid, mark)]
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.poll()
            if not found:
                self.process.wait()
                self.over = True
                return
            time.sleep(0.05)


def marked(pid, mark):
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
