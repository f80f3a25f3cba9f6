"""A matrix of 20 jobs of one second, which no webhook announces."""

import os
import time

from asking import all_succeed
from workflows import matrix

# The goal of its time, in seconds: it is printed, and a busy host may take four times as long.
GOAL = 30


def short_jobs(forge, machines, settled):
    """Jobs that run on the machine of another one are counted, so that hardly more machines come than
    jobs wait. Prints how long that takes. `machines`: returns all machines so far. `settled`: waits
    until none is left."""
    before = len(machines())
    forge.webhooks(active=False)
    try:
        began = time.monotonic()
        forge.push("short", ".gitea/workflows/a.yml", matrix(20, 1))
        all_succeed(forge, "short", 20, 4 * GOAL)
        took, load = time.monotonic() - began, os.getloadavg()[0]
        # Also machines that came when all jobs had one.
        settled()
    finally:
        forge.webhooks(active=True)
    made = len(machines()) - before
    print(f"       {took:.1f} s from the push to the last job (goal: {GOAL}), {made} machines, load {load:.1f}",
          flush=True)
    assert made in (20, 21), f"{made} machines for 20 jobs"
