"""Spot machines that EC2 takes back mid-job after its notice: the runner still reports the job."""

import time

from asking import until
from lost import RUN_AGAIN_WITHIN, Loss

# The boot script ends the job 20 to 25 s before the machine is taken.
REPORTED_BEFORE = 10


def machine_of(cloud, job):
    """Returns the ID of the instance on which a job runs."""

    def runs_it(machine):
        return {"Key": "tinqs-ci/attempt", "Value": job["runner_name"]} in machine["Tags"]

    (machine,) = filter(runs_it, cloud.live())
    return machine["InstanceId"]


def take(cloud, host, loss, within):
    """Announces that the machine of a job is taken back, which happens so many seconds later. Returns
    its ID."""
    id = machine_of(cloud, loss.victim)
    loss.at = time.time() + within
    cloud.announce(id, loss.at, host.queue())
    return id


def took(cloud, id):
    """Asserts that the cloud says that it took the machine, and that its boot script ended the job."""
    (machine,) = [machine for machine in cloud.machines() if machine["InstanceId"] == id]
    assert machine["StateReason"]["Code"] == "Server.SpotInstanceTermination", machine["StateReason"]
    log = (cloud.dir / id / "log").read_text()
    assert "the cloud takes this machine back in" in log and "the job is ended now" in log, log


def noticed_machine(forge, cloud, host):
    """Of a matrix of four, one machine is taken two minutes after the notice. Its runner reports the job
    before. The job is run again, once, and no other is."""
    loss = Loss(forge, host, "noticed", 4, 130)
    noticed_at = time.time()
    id = take(cloud, host, loss, 120)
    stages = loss.again()
    reported = stages["the forge shows the job as failed"]
    assert reported < loss.at - REPORTED_BEFORE, f"reported {loss.at - reported:.1f} s before the loss"
    loss.tell({"the notice": noticed_at, **stages})
    took(cloud, id)
    loss.says("the forge runs the job again")
    loss.once()
    forge.delete("noticed")


def machine_with_a_role(forge, cloud, host):
    """The lost job of a class with an instance profile is not run again: it may be a deployment."""
    cloud.client("iam").create_instance_profile(InstanceProfileName="deploy")
    with host.varied(INSTANCE_PROFILE="deploy"):
        loss = Loss(forge, host, "role", 2, 60)
        id = take(cloud, host, loss, 40)
        until("the other job succeeds", lambda: len(loss.ended("success")) == 1, 120)
        time.sleep(max(0, loss.at + RUN_AGAIN_WITHIN - time.time()))
        took(cloud, id)
        assert loss.ended("failure") == {loss.victim["name"]}, forge.jobs("role")
        assert loss.asked() == [] and set(map(len, loss.steps().values())) == {1}, loss.steps()
        loss.says("the machine of the job was lost while it ran")
        forge.delete("role")


NOTICED = [noticed_machine, machine_with_a_role]
