{{/*
A Deployment. Called with a dictionary: root, component, role, name, replicas, serviceAccount,
resources.
*/}}
{{- define "tinqs-ci.deployment" -}}
{{- $root := .root }}
{{- $values := $root.Values }}
{{- $embedded := eq $values.mode "embedded" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tinqs-ci.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ .replicas }}
  {{- if $embedded }}
  # One process holds the store: the old one ends before the new one starts.
  strategy:
    type: Recreate
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  {{- end }}
  selector:
    matchLabels:
      {{- include "tinqs-ci.selectorLabels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      annotations:
        # A changed configuration starts new pods. A changed Secret is read by the running ones.
        tinqs-ci/config-checksum: {{ include "tinqs-ci.config" (list $root .role) | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      labels:
        {{- include "tinqs-ci.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .serviceAccount }}
      # The program never calls the API server. IRSA and Pod Identity bring tokens of their own.
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- with $values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "tinqs-ci.podSecurityContext" $root | nindent 8 }}
      {{- with include "tinqs-ci.scheduling" (list $root .component) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: tinqs-ci
          image: {{ include "tinqs-ci.image" $root }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          command: [tinqs-ci]
          args: [serve, --role, {{ .role }}]
          workingDir: /var/lib/tinqs-ci
          env: {{- include "tinqs-ci.env" $root | nindent 12 }}
          ports:
            - name: webhooks
              containerPort: 8080
            {{- if $values.metrics.enabled }}
            - name: metrics
              containerPort: 9464
            {{- end }}
          # A start may wait for indexes of the table.
          startupProbe:
            httpGet:
              path: /healthz
              port: webhooks
              {{- if $values.tls.enabled }}
              scheme: HTTPS
              {{- end }}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 60
          livenessProbe:
            httpGet:
              path: /healthz
              port: webhooks
              {{- if $values.tls.enabled }}
              scheme: HTTPS
              {{- end }}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 6
          readinessProbe:
            httpGet:
              path: /readyz
              port: webhooks
              {{- if $values.tls.enabled }}
              scheme: HTTPS
              {{- end }}
            periodSeconds: 5
            timeoutSeconds: 5
          resources: {{- toYaml .resources | nindent 12 }}
          securityContext: {{- include "tinqs-ci.securityContext" $root | nindent 12 }}
          volumeMounts: {{- include "tinqs-ci.mounts" $root | nindent 12 }}
      volumes: {{- include "tinqs-ci.volumes" (list $root .role .name $embedded) | nindent 8 }}
{{- end }}
