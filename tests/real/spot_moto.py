"""moto's server with Spot interruptions: a machine with the tag `TAKEN` ends as one that EC2 took.

moto itself has none, and ends each machine as by a request: `Client.UserInitiatedShutdown`.
"""

TAKEN = "emulator/taken"
CODE = "Server.SpotInstanceTermination"


def main():
    from moto import server
    from moto.ec2.models.instances import Instance, StateReason

    terminate = Instance.terminate

    def end(instance):
        before = terminate(instance)
        if any(tag["key"] == TAKEN for tag in instance.get_tags()):
            instance._reason = CODE
            instance.state_reason = StateReason(f"{CODE}: Spot instance termination", CODE)
        return before

    Instance.terminate = end
    server.main()


if __name__ == "__main__":
    main()
