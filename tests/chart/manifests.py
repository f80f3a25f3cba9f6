"""Checks of rendered manifests."""

import json
import tomllib

import jsonschema
import kubernetes_validate
import tools
import yaml

SECRETS = "/etc/tinqs-ci/secrets/"
TLS = "/etc/tinqs-ci/tls/"
RULES = tools.ROOT / "docs/alerts/tinqs-ci.rules.yaml"
DASHBOARDS = sorted((tools.ROOT / "docs/dashboards").glob("*.json"))
# No schema of these is at hand without a cluster: their keys are listed here.
OPERATOR = {
    "ServiceMonitor": {"selector": {"matchLabels"}, "endpoints": {"port", "path", "interval", "scheme", "tlsConfig"}},
    "PrometheusRule": {"groups": {"name", "interval", "rules"}},
}
said = set()


def once(what, why):
    if what not in said:
        said.add(what)
        tools.skipped(what, why)


def check(checks, name, manifests, values, kubernetes):
    """Checks the manifests of one values file for one version of Kubernetes."""
    by_kind = {}
    for manifest in manifests:
        by_kind.setdefault(manifest["kind"], []).append(manifest)
        check_schema(checks, name, manifest, kubernetes)
    check_names(checks, name, manifests)
    pods = [(d["metadata"]["name"], d["spec"]["template"]) for d in by_kind["Deployment"]]
    tests = [(p["metadata"]["name"], p) for p in by_kind["Pod"]]
    for pod_name, pod in pods + tests:
        check_restricted(checks, f"{name}, {pod_name}", pod["spec"])
        check_secrets(checks, f"{name}, {pod_name}", pod["spec"], by_kind["ConfigMap"], values)
        check_certificate(checks, f"{name}, {pod_name}", pod["spec"], values)
    check_scheme(checks, name, by_kind, values)
    check_selectors(checks, name, by_kind)
    check_doors(checks, name, by_kind)
    check_mode(checks, name, by_kind, values)
    check_operator(checks, name, by_kind)
    for config in by_kind["ConfigMap"]:
        what = f"{name}, {config['metadata']['name']}"
        if config["metadata"]["name"].endswith("-dashboards"):
            check_dashboards(checks, what, config, values)
        else:
            check_config(checks, what, config, values)


def check_schema(checks, name, manifest, kubernetes):
    kind = manifest["kind"]
    if kind in OPERATOR:
        return
    try:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
        checks.that(True, "")
    except kubernetes_validate.ValidationError as error:
        checks.that(False, f"{name}: {kind} in Kubernetes {kubernetes}: {error}")


def check_names(checks, name, manifests):
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    checks.equal(len(names), len(set(names)), f"{name}: two manifests of one name in {names}")
    for kind, own in names:
        checks.that(len(own) <= 63, f"{name}: the name of {kind} {own} is too long")


def check_restricted(checks, what, spec):
    """The rules of the Pod Security profile `restricted`, and no token of the API server."""
    pod = spec["securityContext"]
    checks.equal(pod["runAsNonRoot"], True, f"{what}: runAsNonRoot")
    checks.that(pod["runAsUser"] > 0, f"{what}: runs as root")
    checks.equal(pod["seccompProfile"], {"type": "RuntimeDefault"}, f"{what}: seccompProfile")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        checks.that(not spec.get(key), f"{what}: {key}")
    checks.equal(spec["automountServiceAccountToken"], False, f"{what}: automount")
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    for volume in spec["volumes"]:
        checks.that(set(volume) - {"name"} <= allowed, f"{what}: volume {volume}")
    for container in spec["containers"]:
        context = container["securityContext"]
        checks.equal(context["allowPrivilegeEscalation"], False, f"{what}: escalation")
        checks.equal(context["capabilities"], {"drop": ["ALL"]}, f"{what}: capabilities")
        checks.equal(context["readOnlyRootFilesystem"], True, f"{what}: root")
        checks.that("privileged" not in context, f"{what}: privileged")
        checks.that(all("hostPort" not in p for p in container.get("ports", [])), f"{what}: port")
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        checks.equal(mounts, {v["name"] for v in spec["volumes"]}, f"{what}: mounts")


def files_of(config):
    """Every credential file that a configuration names."""
    if isinstance(config, dict):
        own = [config["file"]] if "file" in config else []
        return own + [f for value in config.values() for f in files_of(value)]
    if isinstance(config, list):
        return [f for value in config for f in files_of(value)]
    return []


def check_secrets(checks, what, spec, configs, values):
    """A pod gets exactly the credentials that its configuration names."""
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    secret = volumes["secrets"]["secret"]
    checks.equal(secret["secretName"], values["secrets"]["existingSecret"], f"{what}: Secret")
    checks.equal(secret["defaultMode"], 0o440, f"{what}: mode of credentials")
    checks.equal(spec["securityContext"]["fsGroup"], 65532, f"{what}: fsGroup")
    wanted = volumes["config"]["configMap"]["name"]
    [text] = [c["data"]["tinqs-ci.toml"] for c in configs if c["metadata"]["name"] == wanted]
    named = {file.removeprefix(SECRETS) for file in files_of(tomllib.loads(text))}
    mounted = {item["path"] for item in secret["items"]}
    checks.equal(mounted, named, f"{what}: mounted and named credentials")
    [mount] = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "secrets"]
    checks.equal(mount["mountPath"] + "/", SECRETS, f"{what}: place of credentials")
    checks.that("subPath" not in mount, f"{what}: by subPath, a changed Secret is not seen")
    if what.endswith("-ingest"):
        keys = {"webhookSecret": "webhook-secret"} | values["secrets"].get("keys", {})
        wanted = {keys.get("webhookSecret"), keys.get("formerWebhookSecret")} - {None, ""}
        checks.equal(mounted, wanted, f"{what}: credentials of ingest")


def has_tls(values):
    return values.get("tls", {}).get("enabled", False)


def check_certificate(checks, what, spec, values):
    """With TLS a pod gets the two files of the certificate and nothing else of that Secret."""
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    if not checks.equal("tls" in volumes, has_tls(values), f"{what}: a certificate"):
        return
    if not has_tls(values):
        return
    secret = volumes["tls"]["secret"]
    checks.equal(secret["secretName"], values["tls"]["secretName"], f"{what}: its Secret")
    checks.equal(secret["defaultMode"], 0o440, f"{what}: mode of the certificate")
    items = {item["key"]: item["path"] for item in secret["items"]}
    wanted = {"tls.crt": "tls.crt", "tls.key": "tls.key"}
    checks.equal(items, wanted, f"{what}: files of the certificate")
    [mount] = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "tls"]
    checks.equal(mount["mountPath"] + "/", TLS, f"{what}: place of the certificate")
    checks.equal(mount.get("readOnly"), True, f"{what}: the certificate is read only")
    checks.that("subPath" not in mount, f"{what}: by subPath, a renewed certificate is not seen")


def check_scheme(checks, name, by_kind, values):
    """Probes and scrapes use TLS where the ports speak TLS, and nowhere else."""
    tls = has_tls(values)
    for config in by_kind["ConfigMap"]:
        if "tinqs-ci.toml" in config["data"]:
            found = tomllib.loads(config["data"]["tinqs-ci.toml"])["server"].get("tls")
            wanted = {"cert": f"{TLS}tls.crt", "key": f"{TLS}tls.key"} if tls else None
            checks.equal(found, wanted, f"{name}: server.tls")
    for deployment in by_kind["Deployment"]:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            scheme = container[probe]["httpGet"].get("scheme", "HTTP")
            checks.equal(scheme, "HTTPS" if tls else "HTTP", f"{name}: scheme of {probe}")
    for service in by_kind["Service"]:
        for port in service["spec"]["ports"]:
            own = f"{name}: {service['metadata']['name']}"
            checks.equal(port.get("appProtocol"), "https" if tls else None, f"{own}: appProtocol")
            if port["targetPort"] == "webhooks":
                usual = 443 if tls else 80
                wanted = values.get("service", {}).get("port", usual)
                checks.equal(port["port"], wanted, f"{own}: port")
    for monitor in by_kind.get("ServiceMonitor", []):
        [endpoint] = monitor["spec"]["endpoints"]
        wanted = values["metrics"]["serviceMonitor"].get("tlsConfig")
        found = (endpoint.get("scheme", "http"), endpoint.get("tlsConfig"))
        checks.equal(found, ("https" if tls else "http", wanted), f"{name}: ServiceMonitor")


def matches(selector, pod):
    labels = pod["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())


def check_selectors(checks, name, by_kind):
    pods = {d["metadata"]["name"]: d["spec"]["template"] for d in by_kind["Deployment"]}
    doctor = by_kind["Pod"][0]
    for deployment in by_kind["Deployment"]:
        own = deployment["metadata"]["name"]
        selector = deployment["spec"]["selector"]["matchLabels"]
        matched = [pod for pod, template in pods.items() if matches(selector, template)]
        checks.equal(matched, [own], f"{name}: pods of the Deployment {own}")
    for service in by_kind["Service"]:
        own, selector = service["metadata"]["name"], service["spec"]["selector"]
        matched = sorted(pod for pod, template in pods.items() if matches(selector, template))
        metrics = own.endswith("-metrics")
        ingests = [pod for pod in pods if pod.endswith("-ingest")] or sorted(pods)
        checks.equal(matched, sorted(pods) if metrics else ingests, f"{name}: pods of {own}")
        checks.that(not matches(selector, doctor), f"{name}: {own} selects the doctor")
        for pod in matched:
            ports = {p["name"] for p in pods[pod]["spec"]["containers"][0]["ports"]}
            for port in service["spec"]["ports"]:
                checks.that(port["targetPort"] in ports, f"{name}: {own} has {port}")
    for budget in by_kind.get("PodDisruptionBudget", []):
        selector = budget["spec"]["selector"]["matchLabels"]
        matched = [pod for pod, template in pods.items() if matches(selector, template)]
        checks.equal(matched, [budget["metadata"]["name"]], f"{name}: pods of the budget")
    for monitor in by_kind.get("ServiceMonitor", []):
        labels = monitor["spec"]["selector"]["matchLabels"]
        found = [s["metadata"]["name"] for s in by_kind["Service"] if matches(labels, s)]
        checks.that(len(found) == 1 and found[0].endswith("-metrics"), f"{name}: {found}")


def check_doors(checks, name, by_kind):
    """Webhooks are the only port of the Service, metrics have their own, the API has none."""
    for service in by_kind["Service"]:
        ports = [port["targetPort"] for port in service["spec"]["ports"]]
        metrics = service["metadata"]["name"].endswith("-metrics")
        checks.equal(ports, ["metrics" if metrics else "webhooks"], f"{name}: ports")
    for ingress in by_kind.get("Ingress", []):
        paths = [p["path"] for rule in ingress["spec"]["rules"] for p in rule["http"]["paths"]]
        checks.equal(paths, ["/webhook"], f"{name}: paths of the Ingress")
    for deployment in by_kind["Deployment"]:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        checks.that(8081 not in ports.values(), f"{name}: the API is a port of the pod")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            checks.equal(container[probe]["httpGet"]["port"], "webhooks", f"{name}: {probe}")
        live, ready = container["livenessProbe"], container["readinessProbe"]
        paths = (live["httpGet"]["path"], ready["httpGet"]["path"])
        checks.equal(paths, ("/healthz", "/readyz"), f"{name}: paths of the probes")


def check_mode(checks, name, by_kind, values):
    embedded = values["mode"] == "embedded"
    roles = sorted(
        d["spec"]["template"]["spec"]["containers"][0]["args"][2] for d in by_kind["Deployment"]
    )
    split = values.get("ingest", {}).get("enabled", False)
    checks.equal(roles, ["ingest", "reconcile"] if split else ["all"], f"{name}: roles")
    checks.equal("PersistentVolumeClaim" in by_kind, embedded, f"{name}: a volume")
    for deployment in by_kind["Deployment"]:
        spec = deployment["spec"]
        strategy = "Recreate" if embedded else "RollingUpdate"
        checks.equal(spec["strategy"]["type"], strategy, f"{name}: strategy")
        checks.that((spec["replicas"] == 1) == embedded, f"{name}: replicas")
        claims = [v for v in spec["template"]["spec"]["volumes"] if "persistentVolumeClaim" in v]
        checks.equal(len(claims), int(embedded), f"{name}: claims")
    budgets = len(by_kind.get("PodDisruptionBudget", []))
    checks.equal(budgets, 0 if embedded else len(roles), f"{name}: budgets")
    checks.equal(len(by_kind["ServiceAccount"]), len(roles), f"{name}: accounts")
    rights = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret"}
    checks.equal(rights & set(by_kind), set(), f"{name}: rights in the cluster, or a Secret")


def check_operator(checks, name, by_kind):
    for kind, wanted in OPERATOR.items():
        for manifest in by_kind.get(kind, []):
            once("ServiceMonitor and PrometheusRule", "no schema at hand, only their keys are checked")
            spec = manifest["spec"]
            checks.equal(set(spec), set(wanted), f"{name}: keys of {kind}")
            for key, allowed in wanted.items():
                for part in spec[key] if isinstance(spec[key], list) else [spec[key]]:
                    checks.that(set(part) <= allowed, f"{name}: {kind}, {key}: {part}")
    for rule in by_kind.get("PrometheusRule", []):
        wanted = yaml.safe_load(RULES.read_text())
        checks.equal(rule["spec"], wanted, f"{name}: the alert rules")


def check_dashboards(checks, what, config, values):
    """The dashboards are those of the repository, and the sidecar of Grafana finds them."""
    wanted = {file.name: json.loads(file.read_text()) for file in DASHBOARDS}
    found = {name: json.loads(text) for name, text in config["data"].items()}
    checks.equal(found, wanted, f"{what}: the dashboards")
    labels = values["metrics"]["dashboards"].get("labels", {"grafana_dashboard": "1"})
    checks.that(labels.items() <= config["metadata"]["labels"].items(), f"{what}: labels")


def python_patterns(value):
    """The schema's patterns are those of ECMA 262; Python has no `\\p{…}`."""
    if isinstance(value, dict):
        return {key: python_patterns(item) for key, item in value.items()}
    if isinstance(value, list):
        return [python_patterns(item) for item in value]
    if isinstance(value, str):
        value = value.replace("\\p{L}\\p{N}", "\\w")
        return value.replace("\\P{Cc}", "[^\\x00-\\x1f\\x7f-\\x9f]")
    return value


def whole_numbers(value):
    """The configuration knows one fraction, `launch_rate`, and 1e+06 is one in TOML."""
    if isinstance(value, dict):
        return all(key == "launch_rate" or whole_numbers(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(whole_numbers, value))
    return not isinstance(value, float)


def check_values(checks, what, found, values):
    """Values that the chart renames reach the configuration as they are."""
    aws, api = values["aws"], values.get("api", {})
    pairs = {
        "launch_rate": (found.get("aws", {}).get("launch_rate"), aws.get("launchRate")),
        "launch_burst": (found.get("aws", {}).get("launch_burst"), aws.get("launchBurst")),
        "prices": (found.get("prices", {}), values.get("prices", {})),
        "hosts": (found["server"].get("hosts", []), api.get("hosts", [])),
        "budgets": (
            [one.get("budget") for one in found["class"]],
            [one.get("budget") for one in values["classes"]],
        ),
    }
    for name, (rendered, wanted) in pairs.items():
        checks.equal(rendered, wanted, f"{what}: {name}")


def check_config(checks, what, config, values):
    """The configuration fits the program's own schema."""
    found = tomllib.loads(config["data"]["tinqs-ci.toml"])
    checks.that(whole_numbers(found), f"{what}: a number with a fraction")
    check_values(checks, what, found, values)
    schema = python_patterns(json.loads((tools.ROOT / "schemas/config.json").read_text()))
    if "webhooks" not in schema["properties"]["server"]["properties"]:
        once("[server] of the chart", "schemas/config.json does not know `server.webhooks` yet")
        found.pop("server")
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(found))
    checks.that(not errors, f"{what}: {[f'{e.json_path}: {e.message}' for e in errors]}")
