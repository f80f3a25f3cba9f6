"""The world around the played pods: a real Gitea, emulators of AWS, names, certificates, roles."""

import json
import os
import secrets
import sqlite3
import sys
from pathlib import Path

import cloud
import front
import sandbox
from forge import Forge

REGION, ACCOUNT = "eu-central-1", "111122223333"
FORGE_NAMES = ("git.example.com", "gitea-http.gitea")
AWS = {name: {f"{name}.{REGION}.amazonaws.com"} for name in ("ec2", "sqs", "sts", "dynamodb")}
# Asked by clients that know their account, as those with a role of the service account do.
AWS["dynamodb"].add(f"{ACCOUNT}.ddb.{REGION}.amazonaws.com")
AWS_NAMES = set().union(*AWS.values())
ROLES = "169.254.170.23"
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
HERE = Path(__file__).resolve().parent


class Authority:
    """A private certificate authority, which openssl makes."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.cert, self.key = folder, folder / "ca.crt", folder / "ca.key"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        sandbox.run(*made, "-days", "2", "-subj", "/CN=private", "-keyout", self.key, "-out", self.cert)

    def issue(self, own, names):
        """A certificate for these names, as the files of its chain and key."""
        cert, key, request = (self.folder / f"{own}.{end}" for end in ("crt", "key", "csr"))
        made = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        sandbox.run(*made, "-subj", f"/CN={own}", "-keyout", key, "-out", request)
        extensions = self.folder / f"{own}.ext"
        listed = ",".join(f"DNS:{name}" for name in names)
        extensions.write_text(f"subjectAltName={listed}\nbasicConstraints=critical,CA:FALSE\n")
        signed = ["openssl", "x509", "-req", "-days", "2", "-CA", self.cert, "-CAkey", self.key]
        sandbox.run(*signed, "-CAcreateserial", "-extfile", extensions, "-in", request, "-out", cert)
        return cert, key


class World:
    """What all values files share: the network, the names, the forge."""

    def __init__(self, folder, gitea):
        self.folder = folder
        sandbox.make_bridge(ROLES)
        self.authority = Authority(folder / "authority")
        self.hosts = folder / "hosts"
        self.names = {"localhost": "127.0.0.1", "proxy.example.com": sandbox.WORLD}
        self.names |= dict.fromkeys([*FORGE_NAMES, *sorted(AWS_NAMES)], sandbox.WORLD)
        self.write_hosts()
        self.bundle = folder / "bundle.crt"
        self.bundle.write_bytes(self.authority.cert.read_bytes())
        self.show_to_this_namespace()
        self.forge = Forge(folder / "forge", gitea)
        self.routes, self.role_token = {}, secrets.token_hex(16)

    def write_hosts(self):
        """In place, because pods have the file mounted."""
        with self.hosts.open("w") as file:
            file.writelines(f"{address} {name}\n" for name, address in self.names.items())

    def show_to_this_namespace(self):
        """Gitea, the runners and this program see the names and the authority, too."""
        sandbox.run("mount", "--bind", self.hosts, "/etc/hosts")
        own = self.folder / "own-bundle.crt"
        known = SYSTEM_BUNDLE.read_bytes() if SYSTEM_BUNDLE.exists() else b""
        own.write_bytes(known + self.authority.cert.read_bytes())
        if SYSTEM_BUNDLE.exists():
            sandbox.run("mount", "--bind", own, SYSTEM_BUNDLE)
        os.environ["SSL_CERT_FILE"] = str(own)

    def __enter__(self):
        self.forge.environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
        self.forge.__enter__()
        port = self.forge.port
        self.forge.restart_with("ALLOWED_HOST_LIST = loopback", "ALLOWED_HOST_LIST = private")
        self.forge.restart_with(f"ROOT_URL = http://127.0.0.1:{port}/", "ROOT_URL = https://git.example.com/")
        self.forge.call("POST", "/orgs", {"username": "acme"})
        self.routes |= dict.fromkeys(FORGE_NAMES, port)
        certificate = self.authority.issue("front", ["git.example.com", *sorted(AWS_NAMES)])
        self.asked = front.serve_names(sandbox.WORLD, 443, self.routes, certificate)
        front.serve_names(sandbox.WORLD, 3000, self.routes)
        _, self.proxied = front.proxy(sandbox.WORLD, 3128, (sandbox.WORLD, 443))
        front.serve_roles(ROLES, self.role_token)
        return self

    def __exit__(self, *_):
        self.forge.stop()

    def deliveries(self):
        """Whether each webhook that Gitea sent was accepted."""
        with sqlite3.connect(f"file:{self.forge.dir}/gitea.db?mode=ro", uri=True) as database:
            return [bool(row[0]) for row in database.execute("SELECT is_succeed FROM hook_task WHERE is_delivered")]


class Cloud(cloud.Cloud):
    """The emulators of one values file, with what its classes name, and machines that boot."""

    def __init__(self, world, folder, classes, installation, runner):
        folder.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/gitea-runner").symlink_to(runner)
        keys = ("image", "subnets", "security_groups", "instance_profile")
        names = {key: sorted(named(classes, key)) for key in keys}
        (folder / "names.json").write_text(json.dumps(names))
        emulated = [sys.executable, str(HERE / "emulated.py"), ACCOUNT, REGION, "{port}", str(folder / "names.json")]
        moto = cloud.Emulator(folder, "moto", emulated, {"MOTO_ACCOUNT_ID": ACCOUNT})
        where = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": "{port}"}
        tables = cloud.Emulator(folder, "ministack", [str(Path(sys.prefix, "bin/ministack"))], where)
        emulators = {"ec2": moto, "sqs": moto, "sts": moto, "iam": moto, "dynamodb": tables}
        world.routes |= {host: emulators[name].port for name, hosts in AWS.items() for host in hosts}
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        super().__init__(folder, emulators, path, region=REGION, installation=installation)


def named(classes, key):
    """What the classes name, in their machines."""
    found = set()
    for one in classes:
        value = one["machines"].get(key, [])
        found |= {value} if isinstance(value, str) else set(value)
    return found

