"""The shipped rules, and a copy in which every time is divided."""

import re
import subprocess

import yaml

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = re.compile(r"(\d+)(ms|[smhd])")
# A threshold that is a time: no other threshold of the rules is that large.
THRESHOLD = re.compile(r"([<>]=?) (\d+(?:\.\d+)?)\b")
LEAST = 60


def read(file):
    return yaml.safe_load(file.read_text())


def alerts(rules):
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}


def without_effect(file):
    """The alerts over metrics that are not exported yet, as the comments before them say."""
    found = re.findall(r"# Without effect yet: .*\n\s*- alert: (\w+)", file.read_text())
    return set(found)


def shorter(duration, factor):
    """A duration of Prometheus, divided."""
    whole = sum(int(number) * UNITS[unit] for number, unit in DURATION.findall(duration))
    return f"{max(1, round(whole / factor))}ms"


def divided(rules, factor):
    """The same rules with every duration and every threshold of time divided."""
    changed = 0

    def threshold(found):
        nonlocal changed
        value = float(found[2])
        if value < LEAST:
            return found[0]
        changed += 1
        return f"{found[1]} {value / factor:g}"

    def window(found):
        return f"[{shorter(found[1], factor)}]"

    groups = []
    for group in rules["groups"]:
        own = []
        for rule in group["rules"]:
            expression = THRESHOLD.sub(threshold, re.sub(r"\[(\w+)\]", window, rule["expr"]))
            rule = rule | {"expr": expression}
            if "for" in rule:
                rule["for"] = shorter(rule["for"], factor)
            own.append(rule)
        interval = shorter(group.get("interval", "30s"), factor)
        groups.append(group | {"interval": interval, "rules": own})
    assert changed >= 5, f"only {changed} thresholds of time were found in the rules"
    return {"groups": groups}


def check(promtool, file, checks):
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=60)
    checks.equal(done.returncode, 0, f"promtool check rules: {done.stdout}{done.stderr}")


def check_metrics(promtool, text, checks):
    """Checks the text of an exporter: its form, names, units and help."""
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    said = f"{done.stdout}{done.stderr}"
    checks.that(done.returncode == 0 and not said.strip(), f"promtool check metrics: {said}")
