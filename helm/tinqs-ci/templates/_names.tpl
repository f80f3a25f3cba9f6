{{- define "tinqs-ci.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "tinqs-ci.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "tinqs-ci.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tinqs-ci.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tinqs-ci.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tinqs-ci.labels" -}}
{{ include "tinqs-ci.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tinqs-ci.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The number of replicas of the Deployment that reconciles. */}}
{{- define "tinqs-ci.replicas" -}}
{{- if kindIs "invalid" .Values.replicas }}
{{- ternary 1 2 (eq .Values.mode "embedded") }}
{{- else }}
{{- int .Values.replicas }}
{{- end }}
{{- end }}

{{/* The port of the Service. */}}
{{- define "tinqs-ci.servicePort" -}}
{{- if kindIs "invalid" .Values.service.port }}
{{- ternary 443 80 .Values.tls.enabled }}
{{- else }}
{{- int .Values.service.port }}
{{- end }}
{{- end }}

{{/* The component whose pods accept webhooks. */}}
{{- define "tinqs-ci.webhooksComponent" -}}
{{- ternary "ingest" "controller" .Values.ingest.enabled }}
{{- end }}
