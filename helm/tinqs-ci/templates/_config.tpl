{{/*
The configuration file. All names of keys of `[server]` are in this file and nowhere else in the
chart: `webhooks`, `api`, `hosts`, `metrics`, `log`, `[server.tls]`, `[[server.token]]`.
*/}}

{{/* A value as TOML. Strings of JSON are strings of TOML. */}}
{{- define "tinqs-ci.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key | quote }} = {{ include "tinqs-ci.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{- range $index, $value := . }}{{ if $index }}, {{ end }}{{ include "tinqs-ci.tomlValue" $value }}{{ end }}]
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{/* The keys of a table with plain values, one per line. */}}
{{- define "tinqs-ci.tomlKeys" -}}
{{- range $key := keys . | sortAlpha }}
{{- $value := get $ $key }}
{{- if not (or (kindIs "invalid" $value) (kindIs "map" $value)) }}
{{ $key }} = {{ include "tinqs-ci.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.secretFile" -}}
{ file = {{ printf "/etc/tinqs-ci/secrets/%s" . | toJson }} }
{{- end }}

{{/* Called with the root and the role: all, reconcile or ingest. */}}
{{- define "tinqs-ci.config" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- $values := $root.Values }}
{{- $keys := $values.secrets.keys -}}
installation = {{ toJson $values.installation }}
store = {{ ternary "redb:/var/lib/tinqs-ci" (printf "dynamodb:%s" $values.aws.table) (eq $values.mode "embedded") | toJson }}
queue = {{ ternary (printf "sqs:%s" $values.aws.queue) "memory:" (ne $values.aws.queue "") | toJson }}
compute = {{ default (printf "ec2:%s" $values.aws.region) $values.compute | toJson }}
{{- $rates := dict "launch_rate" $values.aws.launchRate "launch_burst" $values.aws.launchBurst }}
{{- with include "tinqs-ci.tomlKeys" $rates | trim }}

[aws]
{{ . }}
{{- end }}
{{- with $values.prices }}

[prices]
{{- range $kind := keys . | sortAlpha }}
{{ toJson $kind }} = {{ get $values.prices $kind | toJson }}
{{- end }}
{{- end }}

[forge]
{{- include "tinqs-ci.tomlKeys" $values.forge }}
{{- if ne $role "ingest" }}
token = {{ include "tinqs-ci.secretFile" $keys.forgeToken }}
{{- with $keys.runnerToken }}
runner_token = {{ include "tinqs-ci.secretFile" . }}
{{- end }}
{{- with $keys.gitToken }}
git_token = {{ include "tinqs-ci.secretFile" . }}
{{- end }}
{{- end }}
{{- with $keys.webhookSecret }}
{{- $current := include "tinqs-ci.secretFile" . }}
{{- if $keys.formerWebhookSecret }}
webhook_secret = [{{ $current }}, {{ include "tinqs-ci.secretFile" $keys.formerWebhookSecret }}]
{{- else }}
webhook_secret = {{ $current }}
{{- end }}
{{- end }}

[server]
webhooks = "0.0.0.0:8080"
api = "127.0.0.1:8081"
{{- if $values.metrics.enabled }}
metrics = "0.0.0.0:9464"
{{- end }}
{{- with $values.api.hosts }}
hosts = {{ include "tinqs-ci.tomlValue" . }}
{{- end }}
{{- with $values.log }}
log = {{ toJson . }}
{{- end }}
{{- if $values.tls.enabled }}

[server.tls]
cert = "/etc/tinqs-ci/tls/tls.crt"
key = "/etc/tinqs-ci/tls/tls.key"
{{- end }}
{{- if ne $role "ingest" }}
{{- range $values.api.tokens }}

[[server.token]]
name = {{ toJson .name }}
secret = {{ include "tinqs-ci.secretFile" .key }}
may = {{ toJson .may }}
{{- end }}
{{- end }}
{{- range $values.classes }}

[[class]]
{{- include "tinqs-ci.tomlKeys" . }}
{{- $class := . }}
{{- range $name := keys $class | sortAlpha }}
{{- $table := get $class $name }}
{{- if kindIs "map" $table }}

[class.{{ $name }}]
{{- range $key := keys $table | sortAlpha }}
{{- $value := get $table $key }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "tinqs-ci.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{ end }}
