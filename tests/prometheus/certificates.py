"""Certificates that the demo serves."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate for loopback and its key, as files."""

    cert: Path
    key: Path

    @property
    def arguments(self):
        return ["--tls-cert", self.cert, "--tls-key", self.key]


def issue(folder, days):
    """A certificate that signs itself and expires after so many days. `openssl` makes it."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", str(days), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", made.key, "-out", made.cert]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return made
