{{/* The security contexts fit the profile `restricted`. */}}
{{- define "tinqs-ci.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tinqs-ci.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tinqs-ci.env" -}}
- name: TINQS_CI_CONFIG
  value: /etc/tinqs-ci/tinqs-ci.toml
# The Unix socket of the API is made here.
- name: RUNTIME_DIRECTORY
  value: /run/tinqs-ci
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.mounts" -}}
- name: config
  mountPath: /etc/tinqs-ci/tinqs-ci.toml
  subPath: tinqs-ci.toml
  readOnly: true
# Without subPath, so that a changed Secret reaches the pod.
- name: secrets
  mountPath: /etc/tinqs-ci/secrets
  readOnly: true
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/tinqs-ci/tls
  readOnly: true
{{- end }}
- name: data
  mountPath: /var/lib/tinqs-ci
- name: run
  mountPath: /run/tinqs-ci
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Only the keys that the role reads. Called with the root and the role. */}}
{{- define "tinqs-ci.secretItems" -}}
{{- $values := (index . 0).Values }}
{{- $keys := $values.secrets.keys }}
{{- $names := list $keys.webhookSecret $keys.formerWebhookSecret }}
{{- if ne (index . 1) "ingest" }}
{{- $names = concat $names (list $keys.forgeToken $keys.runnerToken $keys.gitToken) }}
{{- range $values.api.tokens }}
{{- $names = append $names .key }}
{{- end }}
{{- end }}
{{- range $names | compact | uniq | sortAlpha }}
- key: {{ . | quote }}
  path: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Called with the root, the role, the name of the ConfigMap, and whether the store is on the volume. */}}
{{- define "tinqs-ci.volumes" -}}
{{- $root := index . 0 }}
{{- $values := $root.Values -}}
- name: config
  configMap:
    name: {{ index . 2 }}
- name: secrets
  secret:
    secretName: {{ $values.secrets.existingSecret | quote }}
    defaultMode: 0440
    items: {{- include "tinqs-ci.secretItems" (list $root (index . 1)) | trim | nindent 6 }}
{{- if $values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ $values.tls.secretName | quote }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
- name: data
{{- if index . 3 }}
  persistentVolumeClaim:
    claimName: {{ default (include "tinqs-ci.fullname" $root) $values.persistence.existingClaim | quote }}
{{- else }}
  emptyDir: {}
{{- end }}
- name: run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tinqs-ci.scheduling" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := $root.Values }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if kindIs "invalid" $values.topologySpreadConstraints }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tinqs-ci.selectorLabels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $component }}
{{- else if $values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- end }}
{{- end }}
