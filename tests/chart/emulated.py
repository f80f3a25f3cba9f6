"""moto with the image, the subnets, the groups and the profiles that a values file names.

    python tests/chart/emulated.py ACCOUNT REGION PORT FILE

The file has lists in JSON: `image`, `subnets`, `security_groups`, `instance_profile`.
"""

import copy
import itertools
import json
import sys
from pathlib import Path

from moto.ec2.models import ec2_backends, security_groups, subnets
from moto.iam.models import iam_backends
from moto.server import main


def seed(account, region, names):
    """Makes what is named. moto chooses its IDs at random, so the choice is replaced."""
    cloud = ec2_backends[account][region]
    vpc = cloud.default_vpc.id
    zones = itertools.cycle(f"{region}{letter}" for letter in "ab")
    like = next(a for a in cloud.amis.values() if a.architecture == "x86_64" and a.root_device_type == "ebs")
    for image in names["image"]:
        cloud.amis[image] = copy.copy(like)
        cloud.amis[image].id = image
    for number, subnet in enumerate(names["subnets"]):
        subnets.random_subnet_id = lambda subnet=subnet: subnet
        cloud.create_subnet(vpc, f"172.31.{200 + number}.0/24", availability_zone=next(zones))
    for group in names["security_groups"]:
        security_groups.random_security_group_id = lambda group=group: group
        cloud.create_security_group(group, "machines", vpc)
    for profile in names["instance_profile"]:
        iam_backends[account]["aws"].create_instance_profile(profile, "/", [])


if __name__ == "__main__":
    account, region, port, file = sys.argv[1:]
    seed(account, region, json.loads(Path(file).read_text()))
    main(["-H", "127.0.0.1", "-p", port])
