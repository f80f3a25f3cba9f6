"""Checks deploy/aws/costs: the tables of its page are current, and a month by hand is the same."""

import importlib.machinery
import importlib.util
import subprocess
import tomllib
from dataclasses import replace

import tools

PROGRAM = tools.ROOT / "deploy/aws/costs"
PRICES = tools.ROOT / "deploy/aws/prices.toml"


def module():
    loader = importlib.machinery.SourceFileLoader("costs", str(PROGRAM))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader("costs", loader))
    loader.exec_module(made)
    return made


def check_month(checks, costs, prices):
    """100 jobs a day: 30.4 days, 5 % more machines, 10 minutes each, are 532 hours."""
    prices["kind"]["x"] = {"vcpus": 2, "on_demand": 0.04, "spot": 0.01, "baseline": 0.2}
    prices["job"] |= {"cpu": 0.7, "minutes": 10, "extra_attempts": 0.05, "disk_gib": 73}
    prices["price"] |= {"gp3_gib_month": 0.10, "ipv4_hour": 0.005, "surplus_vcpu_hour": 0.05}
    base = costs.Choice("x", "spot", controller="none")
    parts = costs.month(prices, base, 100)
    found = {name: round(parts[name], 2) for name in ("hours", "compute", "disk", "ipv4", "credits")}
    wanted = {"hours": 532, "compute": 5.32, "disk": 5.32, "ipv4": 2.66, "credits": 0}
    checks.equal(found, wanted, "a month of 100 jobs a day")
    parts = costs.month(prices, replace(base, market="on-demand", surplus=True, ipv4=False), 100)
    found = {name: round(parts[name], 2) for name in ("compute", "ipv4", "credits")}
    # Half of each of the two vCPUs is beyond the baseline.
    wanted = {"compute": 21.28, "ipv4": 0, "credits": 26.60}
    checks.equal(found, wanted, "the same on demand, with credits, without addresses")
    # What is free is not paid: one more million requests than free cost the price of a million.
    requests = 3192 * prices["job"]["messages"] * 3 + prices["controller"]["polls_hour"] * 730
    prices["free"]["sqs_requests"] = requests - 1_000_000
    found = round(costs.month(prices, base, 100)["sqs"], 4)
    checks.equal(found, prices["price"]["sqs_million"], "a million requests beyond the free ones")


def check_program(checks, costs, prices):
    made = costs.text(prices, costs.JOBS)
    page = costs.PAGE.read_text()
    checks.that(f"{costs.BEGIN}\n{made}\n{costs.END}" in page, "docs/aws/costs.md is not current: run deploy/aws/costs --write")
    for arguments, said in ((["--jobs", "0"], "no number of jobs"), (["--prices", "/dev/null"], "has no")):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
        checks.that(done.returncode == 1 and said in done.stderr, f"costs {arguments}: {done.stderr}")


def check(checks):
    """Checks the costs."""
    costs = module()
    check_program(checks, costs, tomllib.loads(PRICES.read_text()))
    check_month(checks, costs, tomllib.loads(PRICES.read_text()))
