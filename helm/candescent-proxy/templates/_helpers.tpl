{{- define "candescent-proxy.name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The selector of this release's pods; it never changes. */}}
{{- define "candescent-proxy.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The metadata of every object. Takes the root, and a suffix for the name. */}}
{{- define "candescent-proxy.metadata" -}}
{{- $root := .root -}}
name: {{ include "candescent-proxy.name" $root }}{{ .suffix }}
namespace: {{ $root.Release.Namespace }}
labels:
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  {{- include "candescent-proxy.selector" $root | nindent 2 }}
  {{- with merge dict (.labels | default dict) $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "candescent-proxy.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "candescent-proxy.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* The smallest number of pods of the release. */}}
{{- define "candescent-proxy.replicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled -}}
{{- end }}

{{/* Seconds from SIGTERM to SIGKILL. */}}
{{- define "candescent-proxy.drain" -}}
{{- ceil (addf .Values.drainDelay .Values.gracePeriod 5) -}}
{{- end }}

{{/* The settings that only a gateway writes. */}}
{{- define "candescent-proxy.settings" -}}
{{- $callers := .Values.callers -}}
drain_delay: {{ .Values.drainDelay }}
{{- $name := include "candescent-proxy.name" . }}
{{- $more := .Values.config.allowed_hosts | default list }}
allowed_hosts:
  - {{ $name | quote }}
  - {{ printf "%s.%s" $name .Release.Namespace | quote }}
  - {{ printf "%s.%s.svc" $name .Release.Namespace | quote }}
  - {{ printf "%s.%s.svc.cluster.local" $name .Release.Namespace | quote }}
  {{- range ternary (splitList "," (toString $more)) $more (kindIs "string" $more) }}
  - {{ . | trim | quote }}
  {{- end }}
{{- if $callers.trustNetwork }}
trust_network: true
{{- end }}
{{- if or $callers.secrets.existingSecret $callers.tls.existingSecret }}
callers:
  {{- if $callers.secrets.existingSecret }}
  secret_files:
    {{- range $callers.secrets.keys }}
    - /run/secrets/candescent/callers/{{ . }}
    {{- end }}
  {{- end }}
  {{- if $callers.tls.existingSecret }}
  certificate_file: /run/secrets/candescent/tls/tls.crt
  key_file: /run/secrets/candescent/tls/tls.key
  {{- if $callers.tls.clientCertificates }}
  client_ca_file: /run/secrets/candescent/tls/ca.crt
  {{- with $callers.tls.clientNames }}
  client_names:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The sources of callers' secrets and certificates. */}}
{{- define "candescent-proxy.sources" -}}
{{- with .Values.callers.secrets }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items:
      {{- range .keys }}
      - key: {{ . }}
        path: callers/{{ . }}
      {{- end }}
{{- end }}
{{- end }}
{{- with .Values.callers.tls }}
{{- if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items:
      {{- range concat (list "tls.crt" "tls.key") (ternary (list "ca.crt") list .clientCertificates) }}
      - key: {{ . }}
        path: tls/{{ . }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The context of the shared templates. */}}
{{- define "candescent-proxy.context" -}}
{{- $values := .Values -}}
{{- $created := or $values.credentials.create.clientId $values.credentials.create.clientSecret -}}
{{- dict
      "values" $values
      "chart" (dict "AppVersion" .Chart.AppVersion)
      "listen" (printf "%s:%v" $values.bind $values.port)
      "admin" (printf "%s:%v" $values.bind $values.admin.port)
      "more" (include "candescent-proxy.settings" . | fromYaml)
      "owned" (dict "drain_delay" "drainDelay" "trust_network" "callers.trustNetwork" "callers" "callers")
      "secret" (ternary (include "candescent-proxy.name" .) "" (not (empty $created)))
      "sources" (include "candescent-proxy.sources" . | fromYamlArray)
      "mode" "0440"
    | toYaml -}}
{{- end }}
