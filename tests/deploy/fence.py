"""Loads the boot script's fence of the instance metadata service into a kernel, and sends packets.

`check` starts this file again in a network namespace of its own, once for each firewall. The
namespace has listeners on the addresses of the metadata service and on a neighbor of it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import tools

SCRIPT = tools.ROOT / "adapters/boot/src/user.sh"
BEGIN, END = "metadata_fenced() {", "} 2>/dev/null"
METADATA = {4: "169.254.169.254", 6: "fd00:ec2::254"}
# Amazon's DNS: what the fence must leave open.
NEIGHBOR = "169.254.169.253"
JOB, OTHER = 61234, 61235
SECRET = b"metadata"
# The programs that each way of fencing finds in PATH.
WAYS = {"nft": ["nft"], "iptables": ["iptables", "ip6tables"], "nothing": []}
# What a kernel must be able to do for it, independent of the script.
PROBES = {
    "nft": (
        "nft add table inet probe && nft 'add chain inet probe out { type filter hook output priority 0; }' "
        "&& nft add rule inet probe out meta skuid 1 accept"
    ),
    "iptables": " && ".join(
        f"{program} -I OUTPUT -m owner --uid-owner 1 -j ACCEPT" for program in ("iptables", "ip6tables")
    ),
    "nothing": "true",
}
NEEDED = ["unshare", "ip", "setpriv", "timeout"]


def fence():
    """Returns the commands of the boot script, as they are sent: without indentation."""
    lines = [line.lstrip() for line in SCRIPT.read_text().splitlines()]
    return "\n".join(lines[lines.index(BEGIN) : lines.index(END) + 1])


def listen(family, address):
    listener = socket.create_server((address, 80), family=family)

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(SECRET)

    threading.Thread(target=serve, daemon=True).start()


def reaches(user, address, *prefix):
    """Returns whether a process of this user gets an answer."""
    ask = ["timeout", "5", *prefix, "bash", "-c", f"exec 3<>/dev/tcp/{address}/80 && cat <&3"]
    done = subprocess.run(
        ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *ask],
        capture_output=True, cwd="/",
    )
    return done.stdout == SECRET


def inside(way):
    """Loads the fence by the programs of `way`, and prints who reached what before and after."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    families = [4]
    for address in (f"{METADATA[4]}/32", f"{NEIGHBOR}/32"):
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    add = ["ip", "-6", "address", "add", f"{METADATA[6]}/128", "dev", "lo", "nodad"]
    if subprocess.run(add, capture_output=True).returncode == 0:
        families.append(6)
        listen(socket.AF_INET6, METADATA[6])
    for address in (METADATA[4], NEIGHBOR):
        listen(socket.AF_INET, address)

    def found():
        users = {"job": JOB, "other": OTHER, "root": 0}
        seen = {f"{name} {family}": reaches(user, METADATA[family])
                for name, user in users.items() for family in families}
        # Root in a namespace of its own is still that user for the firewall.
        seen["job as root of a namespace"] = reaches(JOB, METADATA[4], "unshare", "--user", "--map-root-user")
        seen["job, neighbor"] = reaches(JOB, NEIGHBOR)
        return seen

    before = found()
    with tempfile.TemporaryDirectory() as path:
        for name in WAYS[way]:
            os.symlink(shutil.which(name), Path(path, name))
        loaded = subprocess.run(
            [shutil.which("bash"), "-c", f"uid={JOB}\n{fence()}\nmetadata_fenced"],
            env={"PATH": path}, capture_output=True, text=True,
        )
    print(json.dumps({
        "families": families, "before": before, "status": loaded.returncode,
        "printed": loaded.stdout + loaded.stderr, "after": found(),
    }))


def check_way(checks, way):
    command = ["unshare", "--net", sys.executable, __file__, way]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    if not checks.equal(done.returncode, 0, f"fence by {way}: {done.stderr}"):
        return
    told = json.loads(done.stdout)
    if 6 not in told["families"]:
        tools.skipped(f"fence by {way}, IPv6", "this kernel gives no IPv6 address")
    before, after = told["before"], told["after"]
    spaces = before.pop("job as root of a namespace")
    if not spaces:
        tools.skipped(f"fence by {way}, user namespaces", "users cannot make any here")
    checks.that(all(before.values()), f"{way}: without a fence everybody gets an answer: {before}")
    checks.equal(told["printed"], "", f"{way}: the fence prints nothing")
    works = way != "nothing"
    checks.equal(told["status"] == 0, works, f"{way}: the status says whether it is fenced")
    refused = {f"job {family}" for family in told["families"]} if works else set()
    checks.equal(after.pop("job as root of a namespace"), spaces and not works, f"{way}: in a namespace")
    wanted = {name: name not in refused for name in before}
    checks.equal(after, wanted, f"{way}: who gets an answer")


def check(checks):
    """Checks the fence by each firewall that is here."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        why = f"{missing[0]} is not installed" if missing else "run this as root"
        tools.skipped("fence of the metadata service", why)
        return
    for way, programs in WAYS.items():
        absent = [name for name in programs if not shutil.which(name)]
        if absent:
            tools.skipped(f"fence by {way}", f"{absent[0]} is not installed")
            continue
        probe = ["unshare", "--net", "sh", "-c", PROBES[way]]
        tried = subprocess.run(probe, capture_output=True, text=True, timeout=60)
        if tried.returncode != 0:
            tools.skipped(f"fence by {way}", f"this kernel refuses it: {tried.stderr.strip()}")
            continue
        check_way(checks, way)


if __name__ == "__main__":
    inside(sys.argv[1])
