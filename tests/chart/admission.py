"""Pods as the API server admits them, in a namespace that enforces Pod Security `restricted`.

No controller runs that would make the pods of a Deployment, so the test asks the server to create
them from its template, without keeping them (`dryRun`).
"""

import copy

import yaml
from api_server import Refused

# Each part without which the profile refuses a pod: where it is, and its keys.
NEEDED = [
    ("pod", "runAsNonRoot"),
    ("pod", "seccompProfile"),
    ("container", "allowPrivilegeEscalation"),
    ("container", "capabilities"),
]


def create(api, namespace, pod):
    return api.create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", **pod)


def without(pod, place, key):
    """The pod without a part of its security contexts."""
    changed = copy.deepcopy(pod)
    spec = changed["spec"] if place == "pod" else changed["spec"]["containers"][0]
    del spec["securityContext"][key]
    return changed


def judged(checks, api, namespace, pod, what):
    """The pod as the server would make it: admitted, and refused without any part it needs."""
    try:
        made = create(api, namespace, pod)
    except Refused as refusal:
        checks.that(False, f"{what} is refused: {refusal}")
        return None
    checks.equal(api.warnings, [], f"{what}: warnings of the server")
    for place, key in NEEDED:
        try:
            create(api, namespace, without(pod, place, key))
            checks.that(False, f"{what} is admitted without {key}: nothing judges pods here")
        except Refused as refusal:
            known = refusal.code == 403 and "violates PodSecurity" in refusal.message
            checks.that(known and key in refusal.message, f"{what} without {key}: {refusal}")
    return made


def check(release, objects):
    """Asks the server for the pods of a release: of its Deployments, and of `helm test`."""
    checks, api, namespace = release.checks, release.api, release.namespace
    pods = []
    for (kind, name), deployment in objects.items():
        if kind == "Deployment":
            template = deployment["spec"]["template"]
            meta = {**template["metadata"], "generateName": f"{name}-"}
            pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
    text = release.ran("get", "hooks", "tinqs-ci")
    tests = [hook for hook in yaml.safe_load_all(text) if hook]
    checks.equal([hook["kind"] for hook in tests], ["Pod"], f"{release.what}: hooks")
    found = []
    for pod in pods + tests:
        meta = pod["metadata"]
        what = f"{release.what}: the pod {meta.get('name') or meta['generateName']}"
        made = judged(checks, api, namespace, pod, what)
        if made:
            found.append(made)
    check_selected(checks, release.what, objects, found)
    return found


def check_selected(checks, what, objects, pods):
    """Each Service finds pods with its port, as the server has both; and each budget finds pods."""
    def selected(selector):
        return [p for p in pods if selector.items() <= p["metadata"].get("labels", {}).items()]

    for (kind, name), one in objects.items():
        if kind == "Service":
            found = selected(one["spec"]["selector"])
            checks.that(found, f"{what}: the Service {name} selects no pod")
            wanted = {port["targetPort"] for port in one["spec"]["ports"]}
            for pod in found:
                ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
                checks.that(wanted <= ports, f"{what}: the Service {name} finds no {wanted} in {ports}")
        elif kind == "PodDisruptionBudget":
            found = selected(one["spec"]["selector"]["matchLabels"])
            checks.equal(len(found), 1, f"{what}: pods of the budget {name}")
