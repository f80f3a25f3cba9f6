"""Builds helm/tinqs-ci/values.schema.json: `forge` and `classes` from schemas/config.json."""

import json

TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
# What Kubernetes defines is checked by Kubernetes.
ANY_OBJECT = {"type": "object"}
ANY_LIST = {"type": "array"}
TEXTS_BY_NAME = {"type": "object", "additionalProperties": {"type": "string"}}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
COUNT = {"type": "integer", "minimum": 1}
KEY = {"type": "string", "pattern": "^[-._a-zA-Z0-9]*$"}
# Keys of the configuration, and of Kubernetes.
WHOLE = ("forge", "classes", "resources", "ingest.resources")


def table(required=(), **properties):
    """An object that refuses unknown keys."""
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return found | ({"required": list(required)} if required else {})


def is_secret(definition):
    """Whether it is a credential, or a list of them."""
    if not isinstance(definition, dict):
        return False
    inner = [*definition.get("oneOf", []), *definition.get("anyOf", []), definition.get("items")]
    return definition.get("$ref") == "#/$defs/secret" or any(map(is_secret, inner))


def without_secrets(config, definition):
    """Resolves references and leaves out credentials: those come from the Secret."""
    if isinstance(definition, list):
        return [without_secrets(config, item) for item in definition]
    if not isinstance(definition, dict):
        return definition
    if "$ref" in definition:
        target = config
        for part in definition["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        rest = {key: value for key, value in definition.items() if key != "$ref"}
        return without_secrets(config, target | rest)
    kept = {key: value for key, value in definition.items() if not is_secret(value)}
    return {key: without_secrets(config, value) for key, value in kept.items()}


def without(definition, key):
    return {name: value for name, value in definition.items() if name != key}


def optional(definition):
    """With `null`, which stands for the program's default."""
    return without(definition, "default") | {"type": [definition["type"], "null"]}


def forge(config):
    found = without_secrets(config, config["properties"]["forge"])
    # Required, but the template says what to do.
    found.pop("required", None)
    found["properties"]["url"] = {"type": "string", "pattern": "^(https?://[^\\s?#@]+)?$"}
    return found


def classes(config):
    found = without_secrets(config, config["properties"]["class"])
    found.pop("minItems", None)
    found["items"]["required"] = sorted({*found["items"]["required"], "machines"})
    machines = found["items"]["properties"]["machines"]
    machines["required"] = sorted({*machines.get("required", []), "image", "kinds", "subnets"})
    return found


def build(config):
    top = config["properties"]
    resources = table(requests=ANY_OBJECT, limits=ANY_OBJECT, claims=ANY_LIST)
    monitor = table(enabled=FLAG, interval=TEXT, labels=TEXTS_BY_NAME, tlsConfig=ANY_OBJECT)
    token = table(
        ("name", "key", "may"),
        name={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"},
        key=KEY | {"minLength": 1},
        may={"enum": ["read", "operate"]},
    )
    values = dict(
        mode={"enum": ["", "embedded", "aws"]},
        installation=top["installation"],
        forge=forge(config),
        classes=classes(config),
        aws=table(
            region={"type": "string", "pattern": "^[a-z0-9-]*$"},
            table={"type": "string", "pattern": "^([A-Za-z0-9._-]{3,255})?$"},
            queue={"type": "string", "pattern": "^(https?://.+)?$"},
            launchRate=optional(top["aws"]["properties"]["launch_rate"]),
            launchBurst=optional(top["aws"]["properties"]["launch_burst"]),
        ),
        prices=top["prices"],
        compute={"type": "string", "pattern": "^(ec2:.+|process:.*)?$"},
        log=TEXT,
        secrets=table(
            existingSecret=TEXT,
            keys=table(
                forgeToken=KEY,
                webhookSecret=KEY,
                formerWebhookSecret=KEY,
                runnerToken=KEY,
                gitToken=KEY,
            ),
        ),
        api=table(
            tokens={"type": "array", "minItems": 1, "items": token},
            hosts=without(top["server"]["properties"]["hosts"], "minItems"),
        ),
        tls=table(enabled=FLAG, secretName=TEXT),
        image=table(
            repository=TEXT,
            tag=TEXT,
            digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
        ),
        imagePullSecrets=ANY_LIST,
        nameOverride=TEXT,
        fullnameOverride=TEXT,
        commonLabels=TEXTS_BY_NAME,
        replicas={"type": ["integer", "null"], "minimum": 1},
        ingest=table(
            enabled=FLAG,
            replicas=COUNT,
            serviceAccount=table(annotations=TEXTS_BY_NAME),
            resources=resources,
        ),
        persistence=table(
            size=TEXT, storageClass=TEXT, existingClaim=TEXT, annotations=TEXTS_BY_NAME
        ),
        serviceAccount=table(create=FLAG, name=TEXT, annotations=TEXTS_BY_NAME),
        service=table(
            type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
            port=PORT | {"type": ["integer", "null"]},
            annotations=TEXTS_BY_NAME,
        ),
        ingress=table(
            enabled=FLAG, className=TEXT, annotations=TEXTS_BY_NAME, host=TEXT, tlsSecret=TEXT
        ),
        metrics=table(
            enabled=FLAG,
            serviceMonitor=monitor,
            prometheusRule=table(enabled=FLAG, labels=TEXTS_BY_NAME),
            dashboards=table(enabled=FLAG, labels=TEXTS_BY_NAME, annotations=TEXTS_BY_NAME),
        ),
        networkPolicy=table(
            enabled=FLAG, webhooksFrom=ANY_LIST, metricsFrom=ANY_LIST, egress=ANY_LIST
        ),
        podDisruptionBudget=table(enabled=FLAG, maxUnavailable={"type": ["integer", "string"]}),
        resources=resources,
        podAnnotations=TEXTS_BY_NAME,
        podLabels=TEXTS_BY_NAME,
        nodeSelector=TEXTS_BY_NAME,
        tolerations=ANY_LIST,
        affinity=ANY_OBJECT,
        topologySpreadConstraints={"type": ["array", "null"]},
        priorityClassName=TEXT,
        terminationGracePeriodSeconds=COUNT,
        extraEnv={"type": "array", "items": {"type": "object", "required": ["name"]}},
        extraVolumes=ANY_LIST,
        extraVolumeMounts=ANY_LIST,
        doctor=table(offline=FLAG),
    )
    # `global` is Helm's own.
    schema = table(**values, **{"global": ANY_OBJECT})
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tinqs-ci"} | schema


def paths(definition, path=()):
    """Returns the full path of every value of the chart; those of WHOLE are described elsewhere."""
    name = ".".join(path)
    if name in WHOLE or "properties" not in definition:
        return [name]
    inner = {key: value for key, value in definition["properties"].items() if key != "global"}
    return [found for key, value in inner.items() for found in paths(value, (*path, key))]


def text(config_file):
    schema = build(json.loads(config_file.read_text()))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
