"""Values that the chart must refuse: a file of helm/tinqs-ci/ci, settings, a part of the message."""

QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/tinqs-ci"

REFUSED = [
    ("embedded", ["replicas=2"], "replicas must be 1 in mode `embedded`"),
    ("embedded", ["ingest.enabled=true"], "ingest.enabled needs mode `aws`"),
    ("embedded", ["aws.table=tinqs-ci"], "aws.table has no effect in mode `embedded`"),
    ("embedded", ["compute=process:"], "jobs would run in the controller's own container"),
    ("embedded", ["compute=process:/tmp"], "jobs would run in the controller's own container"),
    ("embedded", ["mode="], "mode is not set"),
    ("embedded", ["mode=redb"], "at '/mode'"),
    ("embedded", ["image.repository="], "image.repository is not set"),
    ("embedded", ["forge.url="], "forge.url is not set"),
    ("embedded", ["forge.url=git.example.com"], "at '/forge/url'"),
    ("embedded", ["aws.region="], "aws.region is not set"),
    ("embedded", ["classes=null"], "classes is empty"),
    ("embedded", ["secrets.existingSecret="], "secrets.existingSecret is not set"),
    ("embedded", ["secrets.keys.forgeToken="], "secrets.keys.forgeToken is empty"),
    ("embedded", ["metrics.enabled=true,metrics.serviceMonitor.enabled=true"], "lacks: install the Prometheus operator"),
    ("embedded", ["metrics.enabled=true,metrics.prometheusRule.enabled=true"], "lacks: install the Prometheus operator"),
    ("embedded", ["ingress.enabled=true"], "ingress.host is not set"),
    ("embedded", ["forge.demand=push,secrets.keys.webhookSecret="], "relies on signed webhooks"),
    ("embedded", ["extraEnv[0].name=AWS_ACCESS_KEY_ID,extraEnv[0].value=AKIA"], "use a role instead"),
    # A certificate without TLS, TLS without a certificate.
    ("embedded", ["tls.enabled=true"], "tls.secretName is not set"),
    ("tls", ["tls.secretName="], "tls.secretName is not set"),
    ("embedded", ["tls.secretName=tinqs-ci-tls"], "tls.secretName has no effect without tls.enabled"),
    ("tls", ["tls.enabled=false,metrics.serviceMonitor.enabled=false"], "tls.secretName has no effect without tls.enabled"),
    ("embedded", ["tls.enabled=true,tls.secretName=tinqs-ci"], "tls.secretName is the Secret of the credentials"),
    ("embedded", ["tls.enabled=yes,tls.secretName=tinqs-ci-tls"], "at '/tls/enabled'"),
    ("embedded", ["tls.cert=tls.crt"], "additional properties 'cert' not allowed"),
    # A budget without the price of a machine on demand, which the program refuses at its start.
    ("embedded", ["classes[0].budget=$5/day"], "prices has no c7a.medium: the budget of class linux"),
    ("everything", ["classes[1].machines.kinds[0]=m7i.medium"], "prices has no m7i.medium"),
    ("embedded", ["prices.c7a=0.05"], "at '/prices/c7a'"),
    ("embedded", ["aws.launchRate=0"], "at '/aws/launchRate'"),
    ("embedded", ["aws.launchBurst=1.5"], "at '/aws/launchBurst'"),
    ("embedded", ["api.hosts={-ci}"], "at '/api/hosts/0'"),
    ("embedded", ["secrets.keys.webhookSecret=,secrets.keys.formerWebhookSecret=a"], "formerWebhookSecret has no effect"),
    # Unknown values at any depth.
    ("embedded", ["replica=1"], "additional properties 'replica' not allowed"),
    ("embedded", ["forge.pol_every=10s"], "additional properties 'pol_every' not allowed"),
    ("embedded", ["forge.token=secret"], "additional properties 'token' not allowed"),
    ("embedded", ["classes[0].name=linux,classes[0].lables={a}"], "additional properties 'lables' not allowed"),
    ("embedded", ["metrics.serviceMonitor.intervall=1m"], "additional properties 'intervall' not allowed"),
    ("embedded", ["secrets.keys.forge=a"], "additional properties 'forge' not allowed"),
    ("embedded", ["service.port=0"], "at '/service/port'"),
    ("embedded", ["service.port=http"], "at '/service/port'"),
    ("aws", ["aws.table="], "aws.table is not set"),
    ("aws", ["aws.queue="], "aws.queue is not set"),
    ("aws", ["replicas=0"], "at '/replicas'"),
    ("aws-split", ["secrets.keys.webhookSecret="], "take signed webhooks only"),
]

# These need the API of the Prometheus operator: its objects without metrics at all, and a scrape
# that could not verify the certificate.
REFUSED_WITH_MONITORING = [
    ("embedded", ["metrics.serviceMonitor.enabled=true"], "metrics.enabled is false"),
    ("tls", ["metrics.serviceMonitor.tlsConfig=null"], "metrics.serviceMonitor.tlsConfig is not set"),
    ("monitoring", ["metrics.serviceMonitor.tlsConfig.serverName=ci"], "tlsConfig has no effect without tls.enabled"),
]
