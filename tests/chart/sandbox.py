"""Plays what a node does with an admitted pod: files, mounts, a network of its own, probes.

Needs root, in mount and network namespaces of the test's own, which end with it.
"""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

BRIDGE, WORLD = "pods", "10.244.0.1"
# What a dynamically linked program of this host needs; the image has a static one.
LIBRARIES = ("/lib", "/lib64", "/usr/lib")
BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def make_bridge(*addresses):
    """The network of the pods, with addresses of the world and of Services."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{WORLD}/16", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    for address in addresses:
        run("ip", "address", "add", f"{address}/32", "dev", BRIDGE)


def projected(folder, files, mode, group):
    """A volume as the kubelet writes it: files in a dated folder, which a link names."""
    dated = folder / "..2026_12_01"
    dated.mkdir(parents=True)
    for name, data in files.items():
        (dated / name).write_bytes(data)
        os.chown(dated / name, 0, group)
        (dated / name).chmod(mode)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to(dated.name)
    for place in (folder, dated):
        os.chown(place, 0, group)
        place.chmod(0o2755)


class Volumes:
    """The volumes of the pods of one values file. Claims outlive pods."""

    def __init__(self, folder, maps, secrets):
        """`maps` and `secrets`: name of the object -> key -> bytes."""
        self.folder, self.maps, self.secrets = folder, maps, secrets

    def make(self, volume, place, group):
        """Returns the folder of one volume of a pod."""
        folder = place / volume["name"]
        if "configMap" in volume:
            source = volume["configMap"]
            projected(folder, self.maps[source["name"]], source["defaultMode"], group)
        elif "secret" in volume:
            source = volume["secret"]
            data = self.secrets[source["secretName"]]
            files = {item["path"]: data[item["key"]] for item in source["items"]}
            projected(folder, files, source["defaultMode"], group)
        else:
            claim = volume.get("persistentVolumeClaim")
            folder = self.folder / "claims" / claim["claimName"] if claim else folder
            if not folder.exists():
                folder.mkdir(parents=True)
                os.chown(folder, 0, group)
                folder.chmod(0o2775 if claim else 0o2777)
        return folder


def decoded(secret):
    return {key: base64.b64decode(value) for key, value in secret.items()}


class Pod:
    """One container of an admitted pod, as processes of this host."""

    made = 0

    def __init__(self, folder, pod, volumes, program, hosts, bundle):
        """`hosts` and `bundle`: files of the pod's names and of the authorities it believes."""
        Pod.made += 1
        self.address = f"10.244.1.{Pod.made}"
        self.spec, self.labels = pod["spec"], pod["metadata"].get("labels", {})
        [self.container] = self.spec["containers"]
        self.context = self.spec["securityContext"]
        self.folder = folder / f"pod-{Pod.made}"
        self.root = self.folder / "root"
        self.process, self.network = None, None
        # What is put into the pod by EKS, beside the container's own environment.
        self.more = {}
        self.make_root(program, hosts, bundle)
        self.mount(volumes)
        self.make_network()

    def make_root(self, program, hosts, bundle):
        """A root like the image's: the program, certificates, names, an empty /tmp."""
        self.root.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "image", self.root)
        for name in ("usr/local/bin", "etc/ssl/certs", "dev", "proc"):
            (self.root / name).mkdir(parents=True)
        (self.root / "tmp").mkdir()
        (self.root / "tmp").chmod(0o1777)
        for library in LIBRARIES:
            if Path(library).is_dir():
                self.bind(Path(library).resolve(), library, True)
        for file, place in ((program, "usr/local/bin/tinqs-ci"), (hosts, "etc/hosts"), (bundle, BUNDLE)):
            self.bind(file, place, True)
        self.bind("/dev/null", "dev/null", False)
        self.bind("/dev/urandom", "dev/urandom", False)
        run("mount", "-t", "proc", "proc", self.root / "proc")

    def bind(self, source, place, read_only):
        target = self.root / str(place).lstrip("/")
        if Path(source).is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        run("mount", "--bind", source, target)
        if read_only:
            run("mount", "-o", "remount,bind,ro", target)

    def mount(self, volumes):
        """Mounts every volume where the container wants it."""
        group = self.context["fsGroup"]
        known = {volume["name"]: volume for volume in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            source = volumes.make(known[mount["name"]], self.folder / "volumes", group)
            source = source / mount["subPath"] if "subPath" in mount else source
            self.bind(source.resolve(), mount["mountPath"], mount.get("readOnly", False))

    def inject(self, place, text, environment):
        """Adds a file and variables, as an admission webhook of EKS does for roles."""
        file = self.folder / Path(place).name
        file.write_text(text)
        file.chmod(0o644)
        self.bind(file, place, True)
        self.more |= environment

    def make_network(self):
        """A network namespace with an address on the bridge; a sleeping process keeps it."""
        self.network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.network.pid}/ns/net") == mine:
            time.sleep(0.01)
        inside = ["nsenter", "--target", self.network.pid, "--net", "ip"]
        ours = f"veth{Pod.made}"
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", self.network.pid)
        run("ip", "link", "set", ours, "master", BRIDGE, "up")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", f"{self.address}/16", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", WORLD)

    def command(self, *words):
        """A command in the container: its user, root, network, and no way to more rights."""
        user, group = self.context["runAsUser"], self.context["runAsGroup"]
        # By their paths: PATH is the container's.
        entered = [shutil.which("setpriv"), "--no-new-privs", shutil.which("nsenter"), "--target", str(self.network.pid), "--net"]
        entered += [f"--root={self.root}", f"--wd={self.root}{self.container['workingDir']}"]
        return [*entered, "--setuid", str(user), "--setgid", str(group), "--", *words]

    def environment(self):
        named = {one["name"]: one.get("value", "") for one in self.container["env"]}
        return {"PATH": "/usr/local/bin"} | named | self.more

    def seal(self):
        if self.container["securityContext"]["readOnlyRootFilesystem"]:
            run("mount", "-o", "remount,ro", self.root)

    def start(self):
        self.seal()
        words = [*self.container["command"], *self.container["args"]]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(*words), env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log(self):
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def execute(self, *words):
        """`kubectl exec`. Returns the exit code and what was printed."""
        done = subprocess.run(
            self.command(*words), env=self.environment(), capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout + done.stderr

    def port(self, name):
        return next(p["containerPort"] for p in self.container["ports"] if p["name"] == name)

    def probe(self, kind):
        """Returns the status of a probe once, as the kubelet asks, which verifies no certificate."""
        probe = self.container[kind]
        asked = probe["httpGet"]
        url = f"{asked.get('scheme', 'HTTP').lower()}://{self.address}:{self.port(asked['port'])}{asked['path']}"
        trust = ssl._create_unverified_context()  # noqa: S323
        try:
            with urllib.request.urlopen(url, timeout=probe["timeoutSeconds"], context=trust) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            return str(error)

    def wait_until_started(self):
        """Asks as often as the startup probe allows. Returns the last answer."""
        probe = self.container["startupProbe"]
        until = time.monotonic() + probe["periodSeconds"] * probe["failureThreshold"]
        found = None
        while found != 200 and time.monotonic() < until and self.process.poll() is None:
            found = self.probe("startupProbe")
            time.sleep(0.2)
        return found

    def reaches(self, port):
        """Whether a port of the pod accepts connections from outside."""
        try:
            socket.create_connection((self.address, port), timeout=2).close()
        except OSError:
            return False
        return True

    def stop(self):
        """Ends the container as the kubelet does. Returns its exit code, or None if it was killed."""
        self.process.terminate()
        try:
            return self.process.wait(self.spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def remove(self):
        if self.process and self.process.poll() is None:
            self.stop()
        self.network.kill()
        self.network.wait()
        run("umount", "--recursive", self.root)
        shutil.rmtree(self.folder)
