"""Installs the chart with each values file, upgrades it, rolls it back and removes it."""

import base64
import json
import re
import secrets
import subprocess
import time

import admission
import tools
import yaml
from helm import CHART, values_file

RELEASE = "tinqs-ci"
PAGE = tools.ROOT / "docs/how-to/in-a-cluster.md"
# The chart before it knew TLS and the policy of the role `ingest`: a cluster may still have it.
FORMER = "14437ae3"
ENFORCE = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
# What the chart makes ready for the next release, and what only tells about the past.
RELEASES = re.compile(r"sh\.helm\.release\.v1\.")


def former_chart(folder):
    """Unpacks the chart of a former commit with its own values, or copies today's; an older version."""
    there = subprocess.run(
        ["git", "archive", "--format=tar", FORMER, "helm/tinqs-ci"], cwd=tools.ROOT, capture_output=True
    )
    folder.mkdir()
    if there.returncode == 0:
        subprocess.run(["tar", "-x", "-C", folder, "--strip-components=2"], input=there.stdout, check=True)
    else:
        tools.skipped("upgrade from a former chart", f"no commit {FORMER} here; today's chart is copied")
        subprocess.run(["cp", "-r", f"{CHART}/.", folder], check=True)
    about = folder / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r'\1: "0.0.9"', about.read_text()))
    return folder


def credentials(values, namespace):
    """The Secret that a values file names, with every key that it names."""
    keys = {"forgeToken": "forge-token", "webhookSecret": "webhook-secret"}
    keys |= values["secrets"].get("keys", {})
    tokens = values.get("api", {}).get("tokens", [{"key": "api-token"}])
    names = {key for key in keys.values() if key} | {token["key"] for token in tokens}
    data = {name: base64.b64encode(secrets.token_hex(32).encode()).decode() for name in sorted(names)}
    meta = {"name": values["secrets"]["existingSecret"], "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def namespace(api, name):
    """Creates a namespace that enforces the profile `restricted`."""
    meta = {"name": name, "labels": ENFORCE}
    api.create("/api/v1/namespaces", apiVersion="v1", kind="Namespace", metadata=meta)
    return name


class Release:
    """A release of the chart with one values file, in a namespace of its own."""

    def __init__(self, checks, api, helm, name, major):
        self.checks, self.api, self.helm, self.name = checks, api, helm, name
        self.what = f"{name}, Helm {major}"
        self.values = yaml.safe_load(values_file(name).read_text())
        self.namespace = namespace(api, f"{name}-{major}")
        secret = credentials(self.values, self.namespace)
        api.create(f"/api/v1/namespaces/{self.namespace}/secrets", **secret)
        self.mine = {("Secret", secret["metadata"]["name"])}

    def ran(self, *arguments):
        """Runs Helm on the release, which must succeed without a warning of the server."""
        done = self.helm.run(*arguments, "--namespace", self.namespace)
        said = f"{self.what}: helm {arguments[0]}: {done.stderr[-1000:]}"
        self.checks.equal(done.returncode, 0, said)
        self.checks.that("arning" not in done.stderr, said)
        return done.stdout

    def upgrade(self, chart, values):
        self.ran("upgrade", "--install", RELEASE, chart, "--values", values)

    def objects(self):
        """What the release made: not the test's Secret, not Helm's records."""
        found = self.api.objects(self.namespace)
        return {key: o for key, o in found.items() if key not in self.mine and not RELEASES.match(key[1])}

    def rendered(self):
        text = self.ran("get", "manifest", RELEASE)
        return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def content(objects):
    """What a user wrote of each object: without what the server counts."""
    found = {}
    for key, one in objects.items():
        labels = one["metadata"].get("labels", {})
        rest = {k: v for k, v in one.items() if k not in ("metadata", "status")}
        found[key] = json.dumps([labels, rest], sort_keys=True)
    return found


def versions(objects):
    return {key: one["metadata"]["resourceVersion"] for key, one in objects.items()}


def kept(objects):
    keep = {key: o["metadata"].get("annotations", {}) for key, o in objects.items()}
    return {key for key, annotations in keep.items() if annotations.get("helm.sh/resource-policy") == "keep"}


def play(release, former):
    """The life of a release. Returns its objects and pods as the server has them."""
    checks, what = release.checks, release.what
    old_values = values_file(release.name, former)
    if old_values.exists():
        release.upgrade(former, old_values)
    else:
        release.upgrade(former, values_file("embedded", former))
    before = content(release.objects())
    checks.that(before, f"{what}: the former chart made nothing")
    release.upgrade(CHART, values_file(release.name))
    now = release.objects()
    wanted = {(m["kind"], m["metadata"]["name"]) for m in release.rendered()}
    checks.equal(set(now), wanted, f"{what}: objects on the server")
    checks.that(content(now) != before, f"{what}: the upgrade changed nothing")
    admitted = admission.check(release, now)
    release.upgrade(CHART, values_file(release.name))
    again = release.objects()
    checks.equal(versions(again), versions(now), f"{what}: the same upgrade again changed objects")
    release.ran("rollback", RELEASE, "1")
    checks.equal(content(release.objects()), before, f"{what}: after the rollback")
    release.ran("rollback", RELEASE, "2")
    checks.equal(content(release.objects()), content(now), f"{what}: after the rollback of the rollback")
    remove_and_return(release, now)
    return {"objects": list(now.values()), "pods": admitted}


def remove_and_return(release, now):
    """`helm uninstall` leaves only what is kept, and the next installation takes that over."""
    checks, what = release.checks, release.what
    wanted = {("PersistentVolumeClaim", name) for kind, name in now if kind == "PersistentVolumeClaim"}
    checks.equal(kept(now), wanted, f"{what}: kept by their annotation")
    release.ran("uninstall", RELEASE)
    left = release.objects()
    checks.equal(set(left), wanted, f"{what}: left by helm uninstall")
    records = [name for _, name in release.api.objects(release.namespace) if RELEASES.match(name)]
    checks.equal(records, [], f"{what}: records of Helm after helm uninstall")
    release.upgrade(CHART, values_file(release.name))
    back = release.objects()
    checks.equal(set(back), set(now), f"{what}: objects of the next installation")
    uids = {key: back[key]["metadata"]["uid"] for key in wanted & set(back)}
    checks.equal(uids, {key: now[key]["metadata"]["uid"] for key in wanted}, f"{what}: the kept volume")
    release.ran("uninstall", RELEASE)
    checks.equal(set(release.objects()), wanted, f"{what}: left by the second helm uninstall")


def hand_over(checks, api, helms, name, former):
    """A release that Helm 3 made is upgraded, rolled back and removed by Helm 4."""
    release = Release(checks, api, helms[3], name, "3-then-4")
    release.upgrade(former, values_file(name, former))
    before = content(release.objects())
    release.helm = helms[4]
    release.upgrade(CHART, values_file(name))
    now = release.objects()
    wanted = {(m["kind"], m["metadata"]["name"]) for m in release.rendered()}
    checks.equal(set(now), wanted, f"{release.what}: objects on the server")
    release.ran("rollback", RELEASE, "1")
    checks.equal(content(release.objects()), before, f"{release.what}: after the rollback")
    release.ran("uninstall", RELEASE)
    checks.equal(set(release.objects()), kept(now), f"{release.what}: left by helm uninstall")


def install_page(checks, api, helm, major, folder):
    """`helm install` of the values that the page prints, as a new user does it."""
    file = folder / f"page-{major}.yaml"
    file.write_text(PAGE.read_text().partition("## 4. Install")[2].split("```")[1].removeprefix("yaml"))
    place = namespace(api, f"page-{major}")
    secret = credentials(yaml.safe_load(file.read_text()), place)
    api.create(f"/api/v1/namespaces/{place}/secrets", **secret)
    began = time.monotonic()
    done = helm.run("install", RELEASE, CHART, "--namespace", place, "--values", file)
    took = time.monotonic() - began
    checks.equal(done.returncode, 0, f"the page's values, Helm {major}: {done.stderr}")
    checks.that("arning" not in done.stderr, f"the page's values, Helm {major}: {done.stderr}")
    made = {kind for kind, name in api.objects(place) if name.startswith(RELEASE)}
    wanted = {"Deployment", "Ingress", "PersistentVolumeClaim", "Service"}
    checks.that(wanted <= made, f"the page's values, Helm {major}: made {sorted(made)}")
    print(f"the page's values by Helm {major}: installed in {took:.1f} s", flush=True)


def check_refused(checks, api, helm, refused, place):
    """Values that contradict each other are refused, and nothing reaches the server."""
    for name, settings, message in refused:
        sets = [part for setting in settings for part in ("--set", setting)]
        arguments = [RELEASE, CHART, "--namespace", place, "--values", values_file(name), *sets]
        done = helm.run("upgrade", "--install", *arguments)
        said = f"helm upgrade --install, {name} with {settings}"
        if checks.that(done.returncode != 0, f"{said} is accepted"):
            checks.that(message in done.stderr, f"{said}: no {message!r} in: {done.stderr}")
    checks.equal(set(api.objects(place)), set(), f"objects in {place} after refused values")
