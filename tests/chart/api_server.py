"""etcd and kube-apiserver on loopback, without controllers, and a small client."""

import contextlib
import json
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

SERVICES = "10.96.0.0/16"
PATIENCE = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command, log):
    """A process that is ended with the block."""
    with log.open("wb") as out:
        command = [str(part) for part in command]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def started(etcd, kube_apiserver, folder):
    """Starts both in a folder of their own. Returns a client of the API."""
    client, peer, port = free_port(), free_port(), free_port()
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},tester,1,"system:masters"\n')
    (folder / "tokens.csv").chmod(0o600)
    key = folder / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    to_etcd, to_peer = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    store = [etcd, "--data-dir", folder / "etcd", "--listen-client-urls", to_etcd]
    store += ["--advertise-client-urls", to_etcd, "--listen-peer-urls", to_peer]
    store += ["--initial-advertise-peer-urls", to_peer, "--initial-cluster", f"default={to_peer}"]
    store += ["--unsafe-no-fsync"]
    server = [kube_apiserver, "--etcd-servers", to_etcd, "--bind-address=127.0.0.1"]
    server += ["--secure-port", port, "--cert-dir", folder / "certificates"]
    server += ["--service-account-issuer=https://kubernetes.default.svc"]
    server += ["--service-account-key-file", key, "--service-account-signing-key-file", key]
    server += ["--token-auth-file", folder / "tokens.csv", "--authorization-mode=RBAC"]
    server += ["--service-cluster-ip-range", SERVICES, "--endpoint-reconciler-type=none"]
    with running(store, folder / "etcd.log") as first:
        with running(server, folder / "kube-apiserver.log") as second:
            api = Api(folder, port, token)
            api.wait_until_ready([(first, "etcd"), (second, "kube-apiserver")])
            yield api


class Refused(Exception):
    """The API server refused a request: its status and its message."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Api:
    """A client of the API server, and the kubeconfig for others."""

    def __init__(self, folder, port, token):
        self.folder, self.token = folder, token
        self.url = f"https://127.0.0.1:{port}"
        self.warnings = []
        self.kubeconfig = folder / "kubeconfig"

    def write_kubeconfig(self):
        certificate = self.folder / "certificates/apiserver.crt"
        self.trust = ssl.create_default_context(cafile=certificate)
        cluster = {"server": self.url, "certificate-authority": str(certificate)}
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "tester", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "tester"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))
        self.kubeconfig.chmod(0o600)

    def wait_until_ready(self, processes):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for process, name in processes:
                if process.poll() is not None:
                    text = (self.folder / f"{name}.log").read_text()
                    raise AssertionError(f"{name} ended with {process.returncode}: {text[-3000:]}")
            try:
                self.write_kubeconfig()
                self.call("GET", "/readyz")
                # The classes of system pods are made after the server is ready.
                self.call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses/system-cluster-critical")
                return
            except (OSError, Refused):
                time.sleep(0.2)
        raise AssertionError(f"kube-apiserver is not ready within {PATIENCE} s: see its log")

    def call(self, method, path, body=None):
        """Sends a request. Returns the decoded answer, and keeps the server's warnings."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.trust) as answer:
                self.warnings = answer.headers.get_all("Warning") or []
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                message = json.loads(text)["message"]
            except (ValueError, KeyError):
                message = text[:300]
            raise Refused(error.code, message) from None
        return json.loads(text) if text[:1] == b"{" else text

    def create(self, path, **body):
        return self.call("POST", path, body)

    def resources(self):
        """Every kind of namespaced object that can be listed, as path and name."""
        groups = [g["preferredVersion"]["groupVersion"] for g in self.call("GET", "/apis")["groups"]]
        for root in ["/api/v1", *(f"/apis/{version}" for version in groups)]:
            for resource in self.call("GET", root)["resources"]:
                if resource["namespaced"] and "list" in resource["verbs"]:
                    yield root, resource["name"], resource["kind"]

    def objects(self, namespace):
        """Every object of a namespace, by kind and name. Not events, which tell and are nothing."""
        found = {}
        for root, resource, kind in self.resources():
            if kind != "Event":
                listed = self.call("GET", f"{root}/namespaces/{namespace}/{resource}")["items"]
                # The items of a list do not say their kind.
                found |= {(kind, item["metadata"]["name"]): {"kind": kind, **item} for item in listed}
        return found
