"""Every query of every panel answers, over a demo that goes on as fast as our world."""

import json
import math
import time

import certificates
import running
import tools

# Drift appears, and goes, within this time.
PATIENCE = 330
RATE_INTERVAL = "1m"


def queries():
    """Every query of every dashboard, with the title of its panel."""
    for file in sorted((tools.ROOT / "docs/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield panel["title"], filled(target["expr"])


def filled(expression):
    values = {"$__rate_interval": RATE_INTERVAL, "$job": "tinqs-ci", "$instance": ".*", "$class": ".*"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def watch(program, prometheus, scratch):
    """Asks all queries until each has answered. Returns for each what is wrong, or None."""
    folder = scratch / "panels"
    folder.mkdir()
    wrong = {f"{title}: {query}": "no answer" for title, query in queries()}
    certificate = certificates.issue(folder, 90)
    with running.Demo(program, folder, "--stay", certificate=certificate) as demo:
        demo.goes_on()
        target = demo.url.removeprefix("https://")
        with running.Prometheus(prometheus, folder, target, certificate=certificate) as server:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and any(wrong.values()):
                for title, query in queries():
                    key = f"{title}: {query}"
                    if wrong[key]:
                        values = server.query(query)
                        if any(not math.isnan(value) for value in values):
                            wrong[key] = None
                        else:
                            wrong[key] = "not a number" if values else "no answer"
                time.sleep(2)
    return wrong
