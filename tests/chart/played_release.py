"""One installed release with the real program: probes, webhook in, machine out, restart."""

import base64
import hashlib
import hmac
import json
import secrets
import ssl
import time
import tomllib
import urllib.error
import urllib.request

import front
import sandbox
from asking import until
from forge import OWNER
from world import AWS, Cloud
from workflows import matrix

IRSA = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
POD_IDENTITY = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token"
API = 8081
METRICS = 9464


class PlayedRelease:
    """The pods of a release, started as its Deployments say, behind its Services."""

    def __init__(self, checks, world, case, given):
        self.checks, self.world, self.given = checks, world, given
        self.name, self.namespace = case["name"], case["namespace"]
        self.folder = world.folder / self.name
        self.folder.mkdir()
        self.objects = {}
        for one in case["objects"]:
            self.objects.setdefault(one["kind"], {})[one["metadata"]["name"]] = one
        self.templates = [pod for pod in case["pods"] if "generateName" in pod["metadata"]]
        self.doctor = next(pod for pod in case["pods"] if "generateName" not in pod["metadata"])
        texts = [m["data"]["tinqs-ci.toml"] for m in self.objects["ConfigMap"].values() if "tinqs-ci.toml" in m["data"]]
        self.config = max((tomllib.loads(text) for text in texts), key=lambda c: len(c["forge"]))
        self.pods, self.listeners, self.by_web_identity = [], [], False
        world.asked.clear()
        world.proxied.clear()

    def __enter__(self):
        forge = self.world.forge
        self.secret = {"webhook-secret": secrets.token_hex(32), "api-token": secrets.token_hex(32)}
        self.secret |= {"api-read": secrets.token_hex(32), "forge-token": forge.token}
        self.secret |= {"webhook-secret-former": secrets.token_hex(32)}
        self.secret |= {"runner-token": forge.runner_token(), "git-token": forge.token}
        known = {name: value.encode() for name, value in self.secret.items()}
        maps = {n: {k: v.encode() for k, v in m["data"].items()} for n, m in self.objects["ConfigMap"].items()}
        # A map that the values file of all options mounts.
        maps["ca"] = {"ca.crt": self.world.authority.cert.read_bytes()}
        self.volumes = sandbox.Volumes(self.folder, maps, {"tinqs-ci": known, **self.certificates()})
        classes, installation = self.config["class"], self.config["installation"]
        self.cloud = Cloud(self.world, self.folder / "cloud", classes, installation, self.given["runner"])
        self.cloud.__enter__()
        return self

    def __exit__(self, error, *_):
        if error:
            for pod in self.pods:
                print(f"the last lines of {pod.folder.name}:\n{pod.log()[-3000:]}", flush=True)
        for listener in self.listeners:
            listener.close()
        for pod in self.pods:
            pod.remove()
        self.cloud.__exit__(None, None, None)

    def certificates(self):
        """The Secret of tls.secretName, with the names that the documentation tells to ask for."""
        own = next(n for n, s in self.objects["Service"].items() if s["spec"].get("clusterIP") != "None")
        names = [f"{own}.{self.namespace}", f"{own}.{self.namespace}.svc", "localhost"]
        names += [m["spec"]["endpoints"][0].get("tlsConfig", {}).get("serverName")
                  for m in self.objects.get("ServiceMonitor", {}).values()]
        cert, key = self.world.authority.issue(self.name, [name for name in names if name])
        files = {"tls.crt": cert.read_bytes(), "tls.key": key.read_bytes()}
        return {pod_secret: files for pod_secret in ("tinqs-ci-tls", "ci-pods-tls")}

    def pod(self, admitted):
        """Makes a pod, with the role that its service account brings."""
        pod = sandbox.Pod(
            self.folder, admitted, self.volumes, self.given["program"], self.world.hosts, self.world.bundle
        )
        self.pods.append(pod)
        account = self.objects["ServiceAccount"].get(admitted["spec"]["serviceAccountName"], {})
        notes = account.get("metadata", {}).get("annotations", {})
        role = notes.get("eks.amazonaws.com/role-arn")
        if role:
            self.by_web_identity = True
            named = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": IRSA}
            pod.inject(IRSA, "token", named)
        else:
            named = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
            named["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = POD_IDENTITY
            pod.inject(POD_IDENTITY, self.world.role_token, named)
        return pod

    def that(self, holds, message):
        return self.checks.that(holds, f"{self.name}: {message}")

    def equal(self, found, wanted, message):
        return self.checks.equal(found, wanted, f"{self.name}: {message}")

    def play(self):
        if self.config["queue"].startswith("sqs:"):
            self.make_table_and_queue()
        self.start()
        self.check_doors()
        self.check_doctor()
        self.serve_services()
        self.check_webhooks()
        self.check_job()
        self.check_metrics()
        self.check_commands()
        self.check_end()
        if self.config["store"].startswith("redb:"):
            self.check_return()
        self.check_asked()

    def check_asked(self):
        """Only the services that the configuration names were asked, at their own addresses."""
        services = {self.config[key].split(":")[0] for key in ("store", "queue", "compute")}
        # `doctor` asks whose role it has, and a web identity is exchanged for one.
        if self.by_web_identity or "--offline" not in self.doctor["spec"]["containers"][0]["args"]:
            services.add("sts")
        wanted = {service for service in AWS if service in services}
        found = {service for service, hosts in AWS.items() if self.world.asked & hosts}
        self.equal(found, wanted, "services of AWS that were asked")
        by_proxy = any("HTTPS_PROXY" in pod.environment() for pod in self.pods)
        self.equal(bool(self.world.proxied), by_proxy, f"asked by the proxy: {self.world.proxied}")

    def make_table_and_queue(self):
        """They exist before the chart is installed; here the program makes those it is configured for."""
        pod = self.pod(self.templates[0])
        pod.seal()
        code, said = pod.execute("tinqs-ci", "init", "--aws", "--queue-name", "tinqs-ci")
        self.that(code == 0 and "created" in said, f"init --aws: {code}, {said}")

    def start(self):
        """Starts every replica. Each must pass its startup and readiness probes, and stay alive."""
        self.running = []
        for admitted in self.templates:
            name = admitted["metadata"]["generateName"].removesuffix("-")
            for _ in range(self.objects["Deployment"][name]["spec"]["replicas"]):
                pod = self.pod(admitted)
                pod.start()
                self.running.append(pod)
        for pod in self.running:
            began = time.monotonic()
            if not self.equal(pod.wait_until_started(), 200, "the startup probe"):
                raise AssertionError(pod.log()[-3000:])
            until("the readiness probe passes", lambda pod=pod: pod.probe("readinessProbe") == 200, 60)
            self.that(time.monotonic() - began < 60, "a start takes a minute")
            self.equal(pod.probe("livenessProbe"), 200, "the liveness probe")

    def check_doors(self):
        """Of a pod's ports only those of webhooks and metrics are open to others."""
        for pod in self.running:
            ports = {port["containerPort"] for port in pod.container["ports"]}
            self.that(all(pod.reaches(port) for port in ports), f"not all of {ports} are open")
            self.that(not pod.reaches(API), "the API is open to other pods")
            self.equal(pod.reaches(METRICS), METRICS in ports, "the port of metrics is open")

    def check_doctor(self):
        """The pod of `helm test`."""
        pod = self.pod(self.doctor)
        pod.seal()
        code, said = pod.execute(*pod.container["command"], *pod.container["args"])
        self.that(code == 0 and " 0 failed" in said, f"doctor: {code}, {said}")

    def serve_services(self):
        """Gives each Service its address, name and pods."""
        for name, service in self.objects["Service"].items():
            spec = service["spec"]
            pods = [pod for pod in self.running if spec["selector"].items() <= pod.labels.items()]
            self.that(pods, f"the Service {name} selects no pod")
            if spec["clusterIP"] == "None":
                continue
            sandbox.run("ip", "address", "add", f"{spec['clusterIP']}/32", "dev", sandbox.BRIDGE)
            self.world.names[f"{name}.{self.namespace}"] = spec["clusterIP"]
            self.world.write_hosts()
            [port] = spec["ports"]
            targets = [(pod.address, pod.port(port["targetPort"])) for pod in pods]
            self.listeners.append(front.service(spec["clusterIP"], port["port"], targets))
            scheme = port.get("appProtocol", "http")
            usual = {"http": 80, "https": 443}[scheme] == port["port"]
            self.webhook = f"{scheme}://{name}.{self.namespace}{'' if usual else ':%d' % port['port']}/webhook"

    def post(self, secret):
        """Posts a signed delivery to the Service, whose certificate is verified."""
        body = json.dumps({"action": "queued", "workflow_job": {}}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Gitea-Event": "ping", "X-Gitea-Signature": signature}
        headers["X-Gitea-Delivery"] = secrets.token_hex(8)
        request = urllib.request.Request(self.webhook, body, headers)
        trust = ssl.create_default_context(cafile=self.world.authority.cert)
        try:
            with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def check_webhooks(self):
        """The Service takes signed webhooks, and refuses others."""
        accepted = self.post(self.secret["webhook-secret"])
        self.that(accepted in (200, 202, 204), f"a signed webhook: {accepted}")
        if isinstance(self.config["forge"]["webhook_secret"], list):
            former = self.post(self.secret["webhook-secret-former"])
            self.that(former in (200, 202, 204), f"a webhook with the former secret: {former}")
        self.equal(self.post("another-secret"), 401, "a webhook with another secret")

    def check_job(self):
        """A pushed workflow: its webhook is accepted, a machine comes and runs the job, nothing stays."""
        forge, before = self.world.forge, len(self.world.deliveries())
        hook = forge.add_webhook(self.webhook, self.secret["webhook-secret"])
        scope = self.config["forge"].get("scope", "all")
        owner = scope.removeprefix("org:") if scope.startswith("org:") else OWNER
        began = time.monotonic()
        forge.push(self.name, ".gitea/workflows/a.yml", matrix(2, 1), owner)

        def done():
            jobs = forge.jobs(self.name, owner)
            return len(jobs) == 2 and all(job["status"] == "completed" for job in jobs) and jobs

        jobs = until("the jobs are done", done, 60)
        print(f"{self.name}: two jobs took {time.monotonic() - began:.1f} s", flush=True)
        self.equal([job["conclusion"] for job in jobs], ["success"] * 2, "conclusions of the jobs")
        made = [machine["ImageId"] for machine in self.cloud.machines()]
        self.equal(made, [self.config["class"][0]["machines"]["image"]] * 2, "images of the machines")
        # Gitea notes what it sends before it knows the answer.
        sent = until("all webhooks are accepted", lambda: all(self.world.deliveries()[before:]), 30)
        self.that(sent and len(self.world.deliveries()) > before, "Gitea sent no webhook")
        until("no registration is left", lambda: forge.runners() == [], 120)
        until("no machine is left", lambda: self.cloud.live() == [], 120)
        forge.remove_webhook(hook)

    def check_metrics(self):
        """Each pod shows its metrics as a scrape asks for them, with the certificate's own name."""
        for monitor in self.objects.get("ServiceMonitor", {}).values():
            [endpoint] = monitor["spec"]["endpoints"]
            secured, path = endpoint.get("scheme") == "https", endpoint["path"]
            for pod in self.running:
                text = self.scraped(pod, path, endpoint["tlsConfig"]["serverName"] if secured else None)
                self.that("\ntinqs_ci_build_info{" in text, f"metrics: {text[:300]}")

    def scraped(self, pod, path, server_name):
        connection = sandbox.socket.create_connection((pod.address, METRICS), timeout=10)
        if server_name:
            trust = ssl.create_default_context(cafile=self.world.authority.cert)
            connection = trust.wrap_socket(connection, server_hostname=server_name)
        with connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {pod.address}:{METRICS}\r\n\r\n".encode())
            text = b""
            while data := connection.recv(65536):
                text += data
        return text.decode()

    def check_commands(self):
        """`kubectl exec` as NOTES.txt and the how-to tell, in a pod that reconciles."""
        pod = next(pod for pod in self.running if "ingest" not in pod.container["args"])
        code, said = pod.execute("tinqs-ci", "get", "runs", "-o", "name")
        self.that(code == 0, f"get runs: {code}, {said}")
        code, said = pod.execute("tinqs-ci", "status")
        self.that(code == 0, f"status: {code}, {said}")

    def check_end(self):
        """A pod ends by itself within its grace period, and no log has a credential."""
        for pod in self.running:
            self.equal(pod.stop(), 0, "exit code after SIGTERM")
            text = pod.log()
            hidden = [name for name, value in self.secret.items() if value in text]
            encoded = [n for n, v in self.secret.items() if base64.b64encode(v.encode()).decode() in text]
            self.equal(hidden + encoded, [], "credentials in the log")
            self.that('"level":"ERROR"' not in text, f"errors in the log: {text[-2000:]}")

    def check_return(self):
        """Another pod on the same claim, as after an upgrade: it knows the runs."""
        [old] = self.running
        old.remove()
        self.pods.remove(old)
        self.start()
        [pod] = self.running
        code, said = pod.execute("tinqs-ci", "get", "runs", "-o", "name")
        self.that(code == 0 and said.count("job-") == 2, f"runs after a restart: {code}, {said}")
        self.equal(pod.stop(), 0, "exit code of the second pod")
