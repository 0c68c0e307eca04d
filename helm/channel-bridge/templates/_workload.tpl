{{/*
The StatefulSet of the bridge or the signer. Takes root, component, part (its values), command, sources (secrets to
mount), environment (further variables) and mounts (further mounts), volumes likewise.
*/}}
{{- define "channel-bridge.workload" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  # One owner of one volume. A StatefulSet never starts a second pod before the first is gone.
  replicas: 1
  podManagementPolicy: OrderedReady
  updateStrategy:
    type: RollingUpdate
  revisionHistoryLimit: 5
  serviceName: {{ include "channel-bridge.fullname" .root }}-{{ .component }}
  # The volume outlives release and pod: it is the only memory of what was signed.
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  selector:
    matchLabels:
      {{- include "channel-bridge.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "channel-bridge.labels" . | nindent 8 }}
        {{- with .part.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # A changed configuration is a new pod: options are read at the start.
        checksum/config: {{ .part.config | toJson | sha256sum }}
        {{- with merge (dict) .part.podAnnotations .root.Values.commonAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "channel-bridge.serviceAccountName" .root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      securityContext:
        {{- toYaml .root.Values.podSecurityContext | nindent 8 }}
      terminationGracePeriodSeconds: {{ .part.terminationGracePeriodSeconds | int }}
      {{- with .part.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .part.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .part.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .part.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "channel-bridge.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [{{ .command }}]
          env:
            {{- include "channel-bridge.environment" .root | nindent 12 }}
            - {name: CHANNEL_BRIDGE_HTTP__HOST, value: "0.0.0.0"}
            - {name: CHANNEL_BRIDGE_HTTP__PORT, value: {{ .root.Values.http.port | int | quote }}}
            {{- range $name, $value := .environment }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
            {{- with .part.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: http, containerPort: {{ .root.Values.http.port | int }}, protocol: TCP}
          startupProbe:
            httpGet: {path: /livez, port: http}
            {{- toYaml .root.Values.startupProbe | nindent 12 }}
          livenessProbe:
            httpGet: {path: /livez, port: http}
            {{- toYaml .root.Values.livenessProbe | nindent 12 }}
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            {{- toYaml .root.Values.readinessProbe | nindent 12 }}
          resources:
            {{- toYaml .part.resources | nindent 12 }}
          securityContext:
            {{- include "channel-bridge.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/channel-bridge, readOnly: true}
            - {name: secrets, mountPath: /run/secrets/channel-bridge, readOnly: true}
            - {name: data, mountPath: /var/lib/channel-bridge}
            - {name: tmp, mountPath: /tmp}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with .part.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: config
          configMap:
            name: {{ include "channel-bridge.fullname" .root }}-{{ .component }}
        {{- include "channel-bridge.secretVolume" . | nindent 8 }}
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 16Mi}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with .part.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
        {{- with .part.persistence.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes:
          {{- toYaml .part.persistence.accessModes | nindent 10 }}
        {{- with .part.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .part.persistence.size }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component) | nindent 2 }}
data:
  config.toml: |
    {{- toToml .part.config | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  # Headless: the StatefulSet wants one, and who looks at metrics or console finds the pod also while it is not ready.
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "channel-bridge.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .root.Values.http.port | int }}, targetPort: http, protocol: TCP}
{{- if .root.Values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable | int }}
  selector:
    matchLabels:
      {{- include "channel-bridge.selector" . | nindent 6 }}
{{- end }}
{{- if .root.Values.monitoring.podMonitor.enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component "labels" .root.Values.monitoring.podMonitor.labels) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "channel-bridge.selector" . | nindent 6 }}
  podMetricsEndpoints:
    - port: http
      path: /metrics
      interval: {{ .root.Values.monitoring.podMonitor.interval }}
{{- end }}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "channel-bridge.metadata" (dict "root" .root "component" .component) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "channel-bridge.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with .root.Values.networkPolicy }}
  ingress:
    {{- if .metricsFrom }}
    - from:
        {{- toYaml .metricsFrom | nindent 8 }}
      ports:
        - {port: http, protocol: TCP}
    {{- else }}
    []
    {{- end }}
  egress:
    {{- include "channel-bridge.egress" (dict "to" .dnsTo "ports" (list 53) "protocols" (list "UDP" "TCP")) | nindent 4 }}
    {{- include "channel-bridge.egress" (dict "to" .brokerTo "ports" .brokerPorts "protocols" (list "TCP")) | nindent 4 }}
    {{- if eq $.component "bridge" }}
    {{- include "channel-bridge.egress" (dict "to" .nodesTo "ports" .nodesPorts "protocols" (list "TCP")) | nindent 4 }}
    {{- end }}
    {{- with .extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* One egress rule: to these peers (none given: anywhere), on these ports. */}}
{{- define "channel-bridge.egress" -}}
- ports:
    {{- range $port := .ports }}
    {{- range $.protocols }}
    - {port: {{ $port | int }}, protocol: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
