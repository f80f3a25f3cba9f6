"""Checks deploy/aws/stack.yaml: cfn-lint, and that it agrees with the policies, table and queue."""

import json
import re
import subprocess

import tools
import yaml

STACK = tools.ROOT / "deploy/aws/stack.yaml"
POLICIES = tools.ROOT / "deploy/aws/iam"
# A managed policy may have this many characters, without whitespace.
POLICY_SIZE = 6144

# The values of the placeholders of deploy/aws/iam, and the parameters that amount to them.
REGION, ACCOUNT, NAME = "eu-central-1", "111122223333", "ci-prod"
PLACEHOLDERS = {
    "region": REGION,
    "account": ACCOUNT,
    "installation": NAME,
    "table": NAME,
    "queue": NAME,
    "dead_letter_queue": f"{NAME}-dead",
    "runner_profile": f"{NAME}-runner",
    "runner_role": f"{NAME}-runner",
    "instance_type": "c7a.medium",
    "security_group": "sg-0123",
    "subnet": "subnet-a",
    "image": "ami-0123",
    "forge_token": "forge",
    "webhook_secret": f"{NAME}/webhook",
    "function": NAME,
    "tag_key": "CostCenter",
    "hop_limit": "1",
    "image_parameter": "ci/image",
    "disk_key": "0a1b",
    "launch_template": "lt-0123",
}
PARAMETERS = {
    "Installation": NAME,
    "ForgeUrl": "https://git.example.com",
    "ForgeTokenSecret": "forge",
    "Vpc": "vpc-1",
    "Subnets": ["subnet-a"],
    "Image": "ami-0123",
    "InstanceTypes": ["c7a.medium"],
    "TagKeys": ["CostCenter"],
    "ImageParameter": "ci/image",
    "DiskKey": "0a1b",
    "LaunchTemplate": "lt-0123",
}
PSEUDO = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"}
NOTHING = object()


def attribute(resource, name):
    """What Ref (name None) and GetAtt return, as far as the policies need it."""
    known = {
        ("Queue", None): f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}",
        ("Queue", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}",
        ("DeadLetters", "Arn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}-dead",
        ("MachineGroup", "GroupId"): "sg-0123",
    }
    return known.get((resource, name), f"{resource}.{name or 'Ref'}")


class Template:
    """The template with its functions evaluated for some parameters."""

    def __init__(self, text, parameters):
        self.raw = yaml.load(text, Loader=loader())
        defaults = {k: p.get("Default") for k, p in self.raw["Parameters"].items()}
        lists = {k for k, p in self.raw["Parameters"].items() if "List" in p["Type"]}
        defaults |= {k: defaults[k].split(",") for k in lists if defaults[k]}
        self.values = PSEUDO | defaults | parameters

    def get(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        return self.values[name] if name in self.values else attribute(name, None)

    def condition(self, name):
        return self.value(self.raw["Conditions"][name])

    def substitute(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})
        own = {key: self.value(value) for key, value in own.items()}

        def one(match):
            name = match[1]
            if name in own:
                return own[name]
            if "." in name:
                return attribute(*name.split(".", 1))
            return str(self.get(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def value(self, node):
        """Evaluates a part of the template."""
        if isinstance(node, list):
            found = [self.value(item) for item in node]
            return [item for item in found if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name == "Ref":
                return self.get(argument)
            if name.startswith("Fn::"):
                return self.call(name, argument)
        found = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in found.items() if value is not NOTHING}

    def call(self, name, argument):
        if name == "Fn::Sub":
            return self.substitute(argument)
        if name == "Fn::GetAtt":
            return attribute(*argument.split(".", 1))
        if name == "Fn::If":
            return self.value(argument[1] if self.condition(argument[0]) else argument[2])
        values = self.value(argument)
        if name == "Fn::Join":
            return values[0].join(values[1])
        if name == "Fn::Split":
            return values[1].split(values[0])
        if name == "Fn::Equals":
            return values[0] == values[1]
        if name == "Fn::Not":
            return not values[0]
        raise ValueError(f"{name} is not known here")

    def resource(self, name):
        return self.value(self.raw["Resources"][name]["Properties"])


def loader():
    class Loader(yaml.SafeLoader):
        pass

    def construct(loader, suffix, node):
        if isinstance(node, yaml.ScalarNode):
            inner = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            inner = loader.construct_sequence(node, deep=True)
        else:
            inner = loader.construct_mapping(node, deep=True)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": inner}

    Loader.add_multi_constructor("!", construct)
    return Loader


def plain(value):
    """A policy in one form: lists sorted, a list of one as its item."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [plain(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=json.dumps)
    return str(value)


def statements(document, without=()):
    found = plain(document["Statement"])
    found = found if isinstance(found, list) else [found]
    return {statement["Sid"]: statement for statement in found if statement["Sid"] not in without}


def policy(name, without=()):
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(f"${{{placeholder}}}", value)
    return statements(json.loads(text), without)


def check_policies(checks, text):
    for form, without in (("lambda", ()), ("none", ("FunctionLogs",))):
        stack = Template(text, PARAMETERS | {"Form": form})
        runner = stack.resource("RunnerRole")
        pairs = {
            "controller": stack.resource("ControllerPolicy")["PolicyDocument"],
            "boundary": stack.resource("ControllerBoundary")["PolicyDocument"],
            "runner-trust": runner["AssumeRolePolicyDocument"],
            "runner": runner["Policies"][0]["PolicyDocument"],
        }
        for name, document in pairs.items():
            wanted, found = policy(name, without), statements(document)
            checks.equal(sorted(found), sorted(wanted), f"{form}: statements of {name}")
            for sid in set(found) & set(wanted):
                checks.equal(found[sid], wanted[sid], f"{form}: {name}, {sid}")


def check_subnets(checks, text):
    """A second subnet is allowed too, and six fit into a policy."""
    subnets = [f"subnet-0123456789abcde{n:02}" for n in range(6)]
    stack = Template(text, PARAMETERS | {"Form": "lambda", "Subnets": subnets})
    document = stack.resource("ControllerPolicy")["PolicyDocument"]
    named = statements(document)["LaunchFromWhatIsThere"]["Resource"]
    for subnet in subnets:
        found = [resource for resource in named if resource.endswith(f":subnet/{subnet}")]
        checks.that(len(found) == 1, f"{subnet} is not in {named}")
        checks.that(all(one.startswith("arn:aws:ec2:") for one in found), f"{found}")
    checks.equal(len(named), len(subnets) + 2, "resources of LaunchFromWhatIsThere")
    size = len(json.dumps(document, separators=(",", ":")))
    checks.that(size <= POLICY_SIZE, f"the controller's policy has {size} characters")


def check_table(checks, stack):
    wanted = json.loads((tools.ROOT / "schemas/table.json").read_text())
    table = stack.resource("Table")
    for key in ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema"):
        checks.equal(table[key], wanted["create_table"][key], f"table: {key}")
    expiry = wanted["update_time_to_live"]["TimeToLiveSpecification"]
    checks.equal(table["TimeToLiveSpecification"], expiry, "table: time to live")
    kept = stack.raw["Resources"]["Table"]
    checks.equal((kept["DeletionPolicy"], table["DeletionProtectionEnabled"]), ("Retain", True), "")
    recovery = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    checks.equal(recovery, True, "table: point-in-time recovery")


def check_queue(checks, stack):
    source = (tools.ROOT / "adapters/aws/src/setup/queue.rs").read_text()
    numbers = re.findall(r"^const (\w+): u64 = ([0-9_]+);", source, re.MULTILINE)
    numbers = {name: int(value.replace("_", "")) for name, value in numbers}
    queue, dead = stack.resource("Queue"), stack.resource("DeadLetters")
    found = {
        "HIDDEN": queue["VisibilityTimeout"],
        "KEPT": queue["MessageRetentionPeriod"],
        "DEAD_KEPT": dead["MessageRetentionPeriod"],
        "WAIT": queue["ReceiveMessageWaitTimeSeconds"],
        "TIMES": queue["RedrivePolicy"]["maxReceiveCount"],
    }
    checks.equal(found, {name: numbers.get(name) for name in found}, "queue as by init --aws")
    timeout = stack.resource("Controller")["Timeout"]
    checks.that(found["HIDDEN"] >= 6 * timeout, "the queue hides messages for too short a time")
    sender = stack.resource("QueuePolicy")["PolicyDocument"]["Statement"][0]
    checks.equal(sender["Principal"], {"Service": "events.amazonaws.com"}, "who may send")
    rules = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/*"
    checks.equal(sender["Condition"], {"ArnLike": {"aws:SourceArn": rules}}, "which may send")
    page = "docs/aws/queue-and-function.md"
    book = (tools.ROOT / page).read_text()
    for rule in ("MachineStates", "SpotInterruptions"):
        pattern = json.dumps(stack.resource(rule)["EventPattern"], separators=(",", ":"))
        checks.that(pattern in book, f"{page} does not have the pattern of {rule}: {pattern}")


def check_function(checks, text):
    parameters = PARAMETERS | {"Form": "lambda", "ApiTokenSecret": "api"}
    stack = Template(text, parameters)
    variables = stack.resource("Controller")["Environment"]["Variables"]
    settings = tools.ROOT / "src/settings"
    sources = "".join(file.read_text() for file in settings.glob("*.rs"))
    top = json.loads((tools.ROOT / "schemas/config.json").read_text())["properties"]
    # Not read: a change of it makes CloudFormation resolve the secrets again.
    checks.equal(variables.pop("CREDENTIALS_VERSION", None), "1", "CREDENTIALS_VERSION")
    for name in variables:
        own = name.removeprefix("TINQS_CI_").lower().split("__")
        if not name.startswith("TINQS_CI_"):
            checks.that(f'"{name}"' in sources, f"the program does not read {name}")
        elif own == ["server", "token"] and "token" not in top["server"]["properties"]:
            tools.skipped(name, "schemas/config.json does not know `server.token` yet")
        else:
            table = top[own[0]]["properties"] if len(own) == 2 else top
            checks.that(own[-1] in table, f"the configuration has no key for {name}")
    secrets = {name for name, value in variables.items() if "{{resolve:secretsmanager:" in str(value)}
    wanted = {"GITEA_TOKEN", "WEBHOOK_SECRET", "TINQS_CI_SERVER__TOKEN"}
    checks.equal(secrets, wanted, "variables that hold credentials")
    without = Template(text, PARAMETERS | {"Form": "lambda"}).resource("Controller")
    checks.that("TINQS_CI_SERVER__TOKEN" not in without["Environment"]["Variables"], "API token")
    wakes = stack.resource("Controller")["Events"]["Wakes"]["Properties"]
    checks.equal(wakes["FunctionResponseTypes"], ["ReportBatchItemFailures"], "batches")
    only = {n for n, r in stack.raw["Resources"].items() if r.get("Condition") == "Function"}
    checks.equal(only, {"Controller", "ControllerLogs", "ControllerRole"}, "of the function only")


def check_parameters(checks, stack):
    """What nobody else can know has no default: a forgotten one would deploy another's value."""
    parameters = stack.raw["Parameters"]
    without = {name for name, parameter in parameters.items() if "Default" not in parameter}
    checks.equal(without, {"ForgeUrl", "Image", "Subnets", "Vpc"}, "parameters without a default")


def check(checks):
    """Checks the stack."""
    text = STACK.read_text()
    command = ["cfn-lint", "--template", STACK, "--regions", REGION, "us-east-1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    checks.that(done.returncode == 0, f"cfn-lint: {done.stdout}{done.stderr}")
    stack = Template(text, PARAMETERS | {"Form": "lambda"})
    check_parameters(checks, stack)
    check_policies(checks, text)
    check_subnets(checks, text)
    check_table(checks, stack)
    check_queue(checks, stack)
    check_function(checks, text)
