"""Helm on the chart, without the user's configuration."""

import os
import subprocess
from pathlib import Path

import tools

CHART = tools.ROOT / "helm/tinqs-ci"
HELM_3 = ("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0")
HELM_4 = ("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
KUBERNETES = ("1.27", "1.37")
MONITORING = "monitoring.coreos.com/v1"


def values_file(name, chart=CHART):
    return chart / "ci" / f"{name}.yaml"


def values_names():
    return sorted(file.stem for file in (CHART / "ci").glob("*.yaml"))


class Helm:
    """Helm with a fixed release. Without `kubeconfig` it knows no cluster."""

    def __init__(self, program, scratch, kubeconfig=None):
        self.program = program
        # A server on the same host would wait for it.
        self.low = [] if kubeconfig else ["nice", "-n", "19"]
        names = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        self.environment = os.environ | {name: str(scratch) for name in names}
        self.environment |= {"GOMAXPROCS": "1", "KUBECONFIG": str(kubeconfig or f"{scratch}/none")}

    def run(self, *arguments):
        return subprocess.run(
            [*self.low, self.program, *arguments],
            capture_output=True, text=True, env=self.environment, timeout=120,
        )

    def template(self, name, settings=(), kubernetes=KUBERNETES[-1], apis=(MONITORING,)):
        """Renders with a file of ci/ (its name) or another file (its path)."""
        file = name if isinstance(name, Path) else values_file(name)
        sets = [part for setting in settings for part in ("--set", setting)]
        apis = [part for api in apis for part in ("--api-versions", api)]
        release = ["ci", CHART, "--namespace", "ci", "--kube-version", f"{kubernetes}.0"]
        return self.run("template", *release, "--values", file, *sets, *apis)
