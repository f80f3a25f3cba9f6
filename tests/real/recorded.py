"""What moto records of the calls that it gets: parameters that it does not keep, too."""

import base64
import json
import os
import urllib.parse


def recording(dir):
    """Returns moto's variables with which it records every call in `dir/calls`, and creates that file."""
    calls = dir / "calls"
    calls.touch()
    return {"MOTO_RECORDER_FILEPATH": os.path.abspath(calls), "MOTO_ENABLE_RECORDING": "1"}


def parameters(line):
    """Returns the parameters of a recorded call of EC2 by name; of another service those that it has."""
    entry = json.loads(line)
    body = base64.b64decode(entry["body"]) if entry["body_encoded"] else b""
    asked = urllib.parse.parse_qs(body.decode(errors="replace"))
    return {name: values[0] for name, values in asked.items()}


def calls(dir, action):
    """Returns the parameters of each recorded call with this action of EC2."""
    asked = [parameters(line) for line in (dir / "calls").read_text().splitlines()]
    return [call for call in asked if call.get("Action") == action]


def is_launch(asked, job):
    """Returns whether a call asked for a machine for this job."""
    return asked.get("Action") == "RunInstances" and asked.get("ClientToken", "").startswith(f"tq-job-{job}-")


def launch(dir, job):
    """Returns the parameters of the only `RunInstances` for a job."""
    (asked,) = [call for call in calls(dir, "RunInstances") if is_launch(call, job)]
    return asked
