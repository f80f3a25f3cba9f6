"""etcd and kube-apiserver, built once from their Go modules below target/tools.

`go install` refuses both, because their go.mod replaces modules; so each gets a module of its own
with a `main` of a few lines.
"""

import json
import os
import shutil
import subprocess

import tools

ETCD = ("etcd", "go.etcd.io/etcd/server/v3", "v3.7.3")
KUBE_APISERVER = ("kube-apiserver", "k8s.io/kubernetes", "v1.37.2")
OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
MAINS = {
    "etcd": """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
""",
    "kube-apiserver": """package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
""",
}


def go(folder, *arguments):
    """Runs `go` at the lowest priority. Returns its output."""
    low = {"GOFLAGS": "-mod=mod", "GOMAXPROCS": "1", "GOWORK": "off"}
    done = subprocess.run(
        ["nice", "-n", "19", "go", *arguments],
        cwd=folder, env=os.environ | low, stdout=subprocess.PIPE, text=True, check=True, timeout=3600,
    )
    return done.stdout


def module(name, version):
    """Downloads a Go module. Returns its folder, which is read only."""
    return json.loads(go("/", "mod", "download", "-json", f"{name}@{version}"))["Dir"]


def staging(source, version):
    """The modules that Kubernetes has in its own repository, at their published version."""
    edited = json.loads(go("/", "mod", "edit", "-json", f"{source}/go.mod"))
    ours = [r["Old"]["Path"] for r in edited["Replace"] or [] if r["New"]["Path"].startswith("./staging/")]
    published = f"v0.{version.removeprefix('v1.')}"
    return "".join(f"replace {path} => {path} {published}\n" for path in ours)


def prepare(name, path, version):
    """Writes the module of one program. Returns its folder."""
    folder = tools.TOOLS / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    replaced = staging(module(path, version), version) if path == KUBE_APISERVER[1] else ""
    (folder / "go.mod").write_text(f"module check\n\ngo 1.26\n\nrequire {path} {version}\n\n{replaced}")
    (folder / "main.go").write_text(MAINS[name])
    return folder


def stamp(name, version):
    """What kube-apiserver answers at /version, which Helm compares with the chart's kubeVersion."""
    if name != KUBE_APISERVER[0]:
        return ""
    major, minor, _ = version.removeprefix("v").split(".")
    found = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in found.items())


def built(name, path, version):
    """Returns a program, or None if it cannot be built."""
    program = tools.TOOLS / f"{name}-{version}" / name
    if program.exists():
        return program
    if not shutil.which("go"):
        tools.skipped(name, "Go is not installed")
        return None
    print(f"building {name} {version} (once, about 10 minutes for kube-apiserver)", flush=True)
    try:
        folder = prepare(name, path, version)
        go(folder, "build", "-ldflags", f"-s -w {stamp(name, version)}", "-o", f"{name}.new", ".")
    except (OSError, subprocess.SubprocessError) as error:
        tools.skipped(name, f"cannot build {path}@{version}: {error}")
        return None
    (folder / f"{name}.new").rename(program)
    return program


def operator_crds():
    """The CRDs of the Prometheus operator that the chart has objects of, as files."""
    folder = f"{module(*OPERATOR)}/example/prometheus-operator-crd/monitoring.coreos.com_"
    return [f"{folder}{name}.yaml" for name in ("servicemonitors", "prometheusrules")]
