"""The programs that run beside each other: the demo and Prometheus."""

import json
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

TOKEN = "demo-api-token"
PATIENCE = 90


def fetch(url, token=None, trust=None):
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        return answer.read().decode()


class Program:
    """A program that is ended with the block."""

    def start(self, command, log):
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def wait_for(self, what, found):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if (answer := found()) is not None:
                return answer
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError(f"{what}: {self.log.read_text()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Demo(Program):
    """`tinqs-ci demo`, on addresses that it chooses, by TLS if it gets a certificate."""

    def __init__(self, program, folder, *arguments, certificate=None):
        self.trust = certificate and ssl.create_default_context(cafile=certificate.cert)
        arguments = [*arguments, *(certificate.arguments if certificate else [])]
        self.start([program, "demo", *arguments], folder / "demo.log")
        self.url = self.wait_for("the demo does not start", self.address)
        self.wait_for("the demo has no metrics", self.answers)

    def address(self):
        found = re.search(r"real tinqs-ci at (https?://\S+?)[;\s]", self.log.read_text())
        return found and found[1]

    def answers(self):
        try:
            return self.metrics() or None
        except OSError:
            return None

    def goes_on(self):
        """Waits until the story is over, and the world as fast as ours."""
        keeps = lambda: "keeps running" in self.log.read_text() or None  # noqa: E731
        self.wait_for("the story does not end", keeps)
        self.wait_for("the demo has no metrics", self.answers)

    def metrics(self):
        return fetch(f"{self.url}/metrics", trust=self.trust)

    def now(self):
        """The time of the simulated world."""
        text = json.loads(fetch(f"{self.url}/v1/status", TOKEN, self.trust))["now"]
        return datetime.fromisoformat(text).timestamp()


class Prometheus(Program):
    """Prometheus, which scrapes one address every second, by TLS if that has a certificate."""

    def __init__(self, program, folder, target, rules=None, certificate=None):
        secured = {"scheme": "https", "tls_config": {"ca_file": str(certificate.cert)}} if certificate else {}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "tinqs-ci", "static_configs": [{"targets": [target]}], **secured}],
        }
        file = folder / "prometheus.yaml"
        file.write_text(json.dumps(config))
        command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder}/data"]
        # It chooses a port itself, which only its log tells.
        command += ["--web.listen-address=127.0.0.1:0", "--query.lookback-delta=10s"]
        self.start(command, folder / "prometheus.log")
        self.url = self.wait_for("Prometheus does not start", self.address)
        self.wait_for("Prometheus does not answer", self.ready)

    def address(self):
        found = re.search(r'Listening on" address=(127\.0\.0\.1:[1-9]\d*)', self.log.read_text())
        return found and f"http://{found[1]}"

    def ready(self):
        try:
            return fetch(f"{self.url}/-/ready")
        except OSError:
            return None

    def api(self, path):
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def firing(self):
        """The names of the alerts that fire."""
        alerts = self.api("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def query(self, expression):
        """The values of an instant query."""
        result = self.api("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return [float(one["value"][1]) for one in result]
