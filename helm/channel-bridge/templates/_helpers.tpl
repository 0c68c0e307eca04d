{{/* Names, labels, image: what every object of the chart shares. */}}

{{- define "channel-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "channel-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "channel-bridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "channel-bridge.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects pods: it may never change, a StatefulSet's selector cannot. No version, no user's label. */}}
{{- define "channel-bridge.selector" -}}
app.kubernetes.io/name: {{ include "channel-bridge.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "channel-bridge.labels" -}}
{{ include "channel-bridge.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* name, labels and annotations of one object. Takes root, component, suffix, and further labels and annotations. */}}
{{- define "channel-bridge.metadata" -}}
name: {{ include "channel-bridge.fullname" .root }}-{{ .suffix | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "channel-bridge.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "channel-bridge.image" -}}
{{- $name := .Values.image.repository -}}
{{- with .Values.image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "channel-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "channel-bridge.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The restricted profile for every container; no value switches it off. */}}
{{- define "channel-bridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Where secrets come from: files, named in the environment. Takes root, secret, entries (key to file). */}}
{{- define "channel-bridge.secretVolume" -}}
- name: secrets
  projected:
    # Root's, readable by the pod's group: the only way in which a process that is not root gets one (ADR 0021).
    defaultMode: 288
    sources:
      {{- range .sources }}
      - secret:
          name: {{ .name }}
          items:
            {{- range $key, $file := .items }}
            - {key: {{ $key | quote }}, path: {{ $file }}}
            {{- end }}
      {{- end }}
{{- end -}}

{{- define "channel-bridge.tlsSource" -}}
{{- with .Values.broker.tls }}
{{- if .existingSecret }}
{{- $items := dict .caKey "ca.pem" }}
{{- if .certificateKey }}
{{- $_ := set $items .certificateKey "client.pem" }}
{{- $_ := set $items (required "broker.tls.privateKeyKey: the entry with the key of the client certificate" .privateKeyKey) "client.key" }}
{{- end }}
{{- dict "name" .existingSecret "items" $items | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The variables every container of ours has: paths and ports that the chart decides. They win over the file. */}}
{{- define "channel-bridge.environment" -}}
- {name: CHANNEL_BRIDGE_CONFIG, value: /etc/channel-bridge/config.toml}
- {name: AMQP_URL_FILE, value: /run/secrets/channel-bridge/amqp_url}
- {name: LOG_FORMAT, value: json}
{{- with .Values.broker.tls }}
{{- if .existingSecret }}
- {name: CHANNEL_BRIDGE_BROKER__TLS__CA_FILE, value: /run/secrets/channel-bridge/ca.pem}
{{- if .certificateKey }}
- {name: CHANNEL_BRIDGE_BROKER__TLS__CERTIFICATE_FILE, value: /run/secrets/channel-bridge/client.pem}
- {name: CHANNEL_BRIDGE_BROKER__TLS__KEY_FILE, value: /run/secrets/channel-bridge/client.key}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
