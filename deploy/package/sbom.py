"""Writes a CycloneDX document: sbom.py VERSION Cargo.lock < CRATES

Each line of CRATES is `NAME vVERSION [(…)]|LICENSE`, as `cargo tree` prints it. Hashes come from the
lock file, and the time from SOURCE_DATE_EPOCH, so that a second call writes the same bytes.
"""

import datetime
import json
import os
import sys
import tomllib


def components(lines, hashes):
    """The crates of the program, each once, without those of this repository."""
    found = {}
    for line in lines:
        crate, _, license = line.strip().partition("|")
        if not crate:
            continue
        name, version = crate.split()[:2]
        version = version.removeprefix("v")
        if (name, version) not in hashes:
            sys.exit(f"sbom: {name} {version} is not in the lock file")
        checksum = hashes[name, version]
        if checksum is None:
            continue
        found[name, version] = {
            "type": "library",
            "bom-ref": f"pkg:cargo/{name}@{version}",
            "name": name,
            "version": version,
            "hashes": [{"alg": "SHA-256", "content": checksum}],
            "licenses": [{"expression": license.replace("/", " OR ")}] if license else [],
            "purl": f"pkg:cargo/{name}@{version}",
        }
    return [found[key] for key in sorted(found)]


def main(version, lock):
    with open(lock, "rb") as file:
        packages = tomllib.load(file)["package"]
    hashes = {(p["name"], p["version"]): p.get("checksum") for p in packages}
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": "tinqs-ci",
                "name": "tinqs-ci",
                "version": version,
            },
        },
        "components": components(sys.stdin, hashes),
    }
    if not document["components"]:
        sys.exit("sbom: no crates were given")
    json.dump(document, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
