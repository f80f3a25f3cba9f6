"""Plays installed releases, in namespaces of the test's own: `python tests/chart/inside.py FILE`.

FILE is JSON: the programs, and of each values file the objects and the admitted pods of the API
server. tests/chart/played.py starts this program, in the environment of tests/real.
"""

import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("deploy", "real", "chart")]

import tools  # noqa: E402
from played_release import PlayedRelease  # noqa: E402
from world import World  # noqa: E402


def main():
    given = json.loads(Path(sys.argv[1]).read_text())
    checks = tools.Checks()
    with tempfile.TemporaryDirectory(prefix="tinqs-ci-chart-") as scratch:
        folder = Path(scratch)
        # Pods have another user, who must be able to enter.
        folder.chmod(0o755)
        with World(folder, (given["gitea"], given["source"])) as world:
            for case in given["cases"]:
                began = time.monotonic()
                try:
                    with PlayedRelease(checks, world, case, given) as release:
                        release.play()
                except Exception as error:
                    traceback.print_exc()
                    checks.that(False, f"{case['name']}: {type(error).__name__}: {error}")
                print(f"played {case['name']} in {time.monotonic() - began:.1f} s", flush=True)
    Path(given["result"]).write_text(json.dumps({"passed": checks.passed, "failed": checks.failed}))


main()
