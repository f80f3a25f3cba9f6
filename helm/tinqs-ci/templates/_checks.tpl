{{/* Contradictions that values.schema.json cannot name well. Each message says what to do. */}}
{{- define "tinqs-ci.checks" -}}
{{- $v := .Values }}
{{- if not (has $v.mode (list "embedded" "aws")) }}
{{- fail "mode is not set: set `mode` to `embedded` (runs on a volume, one replica) or `aws` (runs in DynamoDB)" }}
{{- end }}
{{- if not $v.image.repository }}
{{- fail "image.repository is not set: build an image with `deploy/build image`, push it to your registry, and name it here" }}
{{- end }}
{{- if not $v.forge.url }}
{{- fail "forge.url is not set: set it to the address of your Gitea" }}
{{- end }}
{{- if not $v.secrets.existingSecret }}
{{- fail "secrets.existingSecret is not set: create a Secret with the keys of `secrets.keys` and `api.tokens`, and name it here (README.md shows the command)" }}
{{- end }}
{{- if not $v.secrets.keys.forgeToken }}
{{- fail "secrets.keys.forgeToken is empty: name the key of the Secret that holds the forge's token" }}
{{- end }}
{{- if not $v.classes }}
{{- fail "classes is empty: add a class with `name`, `labels`, and `machines` with `image`, `kinds` and `subnets`" }}
{{- end }}
{{- if hasPrefix "process:" $v.compute }}
{{- fail "compute is `process:`: in a cluster, jobs would run in the controller's own container, next to its credentials; use `ec2:REGION`" }}
{{- end }}
{{- if not (or $v.aws.region $v.compute) }}
{{- fail "aws.region is not set: set the Region in which machines run" }}
{{- end }}
{{- if eq $v.mode "embedded" }}
{{- if ne (include "tinqs-ci.replicas" . | int) 1 }}
{{- fail "replicas must be 1 in mode `embedded`: one process holds the store; for more replicas use mode `aws`" }}
{{- end }}
{{- if $v.ingest.enabled }}
{{- fail "ingest.enabled needs mode `aws`: in mode `embedded` one process holds the store" }}
{{- end }}
{{- if $v.aws.table }}
{{- fail "aws.table has no effect in mode `embedded`: remove it, or use mode `aws`" }}
{{- end }}
{{- else }}
{{- if not $v.aws.table }}
{{- fail "aws.table is not set: mode `aws` needs the name of the DynamoDB table" }}
{{- end }}
{{- if not $v.aws.queue }}
{{- fail "aws.queue is not set: mode `aws` needs the URL of the SQS queue, because replicas wake each other through it" }}
{{- end }}
{{- end }}
{{- if and $v.ingest.enabled (not $v.secrets.keys.webhookSecret) }}
{{- fail "secrets.keys.webhookSecret is empty: the pods of ingest.enabled take signed webhooks only" }}
{{- end }}
{{- if and (eq (default "auto" $v.forge.demand) "push") (not $v.secrets.keys.webhookSecret) }}
{{- fail "secrets.keys.webhookSecret is empty: forge.demand `push` relies on signed webhooks" }}
{{- end }}
{{- if and $v.secrets.keys.formerWebhookSecret (not $v.secrets.keys.webhookSecret) }}
{{- fail "secrets.keys.formerWebhookSecret has no effect without secrets.keys.webhookSecret: name the key of the new secret there" }}
{{- end }}
{{- range $class := $v.classes }}
{{- $markets := default (list "on-demand") $class.machines.markets }}
{{- if and (ne (default "none" $class.budget) "none") (has "on-demand" $markets) }}
{{- range $kind := $class.machines.kinds }}
{{- if not (hasKey $v.prices $kind) }}
{{- fail (printf "prices has no %s: the budget of class %s cannot be kept without its price on demand; add it, such as `%s: $0.05/h`, or remove the budget" $kind $class.name $kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $v.extraEnv }}
{{- if has .name (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN") }}
{{- fail (printf "extraEnv sets %s: use a role instead, by serviceAccount.annotations (IRSA) or EKS Pod Identity" .name) }}
{{- end }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}
{{- fail "ingress.host is not set: set the host name at which the forge reaches the webhook" }}
{{- end }}
{{- if and $v.tls.enabled (not $v.tls.secretName) }}
{{- fail "tls.secretName is not set: name a Secret of the type kubernetes.io/tls, as cert-manager makes it" }}
{{- end }}
{{- if and $v.tls.secretName (not $v.tls.enabled) }}
{{- fail "tls.secretName has no effect without tls.enabled: set it to true, or remove the name" }}
{{- end }}
{{- if and $v.tls.enabled (eq $v.tls.secretName $v.secrets.existingSecret) }}
{{- fail "tls.secretName is the Secret of the credentials: name one of the type kubernetes.io/tls, which has nothing else" }}
{{- end }}
{{- $monitoring := or $v.metrics.serviceMonitor.enabled $v.metrics.prometheusRule.enabled }}
{{- if and $monitoring (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- fail "metrics.serviceMonitor and metrics.prometheusRule need the API monitoring.coreos.com/v1, which this cluster lacks: install the Prometheus operator, or disable them" }}
{{- end }}
{{- if and $monitoring (not $v.metrics.enabled) }}
{{- fail "metrics.enabled is false: serviceMonitor and prometheusRule need it" }}
{{- end }}
{{- if and $v.tls.enabled $v.metrics.serviceMonitor.enabled (not $v.metrics.serviceMonitor.tlsConfig) }}
{{- fail "metrics.serviceMonitor.tlsConfig is not set: with tls.enabled set its `serverName` to a name of the certificate, because Prometheus calls the pods by their addresses, and `ca` to a private authority" }}
{{- end }}
{{- if and $v.metrics.serviceMonitor.tlsConfig (not $v.tls.enabled) }}
{{- fail "metrics.serviceMonitor.tlsConfig has no effect without tls.enabled: remove it, or set tls" }}
{{- end }}
{{- end }}
