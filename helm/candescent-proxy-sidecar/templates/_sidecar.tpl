{{/*
The sidecar, for the pod of another chart. Each template takes that chart's `.`, with the values
under `candescent-proxy-sidecar:`; or, for a workload with other values,
(dict "root" . "values" .Values.other).

  metadata:
    annotations:
      {{- include "candescent-proxy-sidecar.annotations" . | nindent 6 }}
  spec:
    initContainers:
      {{- include "candescent-proxy-sidecar.initContainers" . | nindent 6 }}
    containers:
      {{- include "candescent-proxy-sidecar.containers" . | nindent 6 }}
    volumes:
      {{- include "candescent-proxy-sidecar.volumes" . | nindent 6 }}

With native: true (the default) the sidecar is an init container, with native: false a container;
the other of the two templates is then empty.
*/}}

{{/* The pod's annotations. One is the configuration, so that a changed setting replaces the pod. */}}
{{- define "candescent-proxy-sidecar.annotations" -}}
{{- $context := include "candescent-proxy-sidecar.context" . | fromYaml -}}
candescent-proxy/config: |
  {{- include "candescent-proxy-shared.config" $context | nindent 2 }}
{{- if $context.values.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/path: /metrics
prometheus.io/port: {{ $context.values.admin.port | quote }}
{{- end }}
{{- end }}

{{/* The native sidecar, or nothing. Init containers that call the bank must follow it. */}}
{{- define "candescent-proxy-sidecar.initContainers" -}}
{{- $context := include "candescent-proxy-sidecar.context" . | fromYaml -}}
{{- if $context.values.native -}}
- restartPolicy: Always
  {{- include "candescent-proxy-sidecar.container" $context | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The sidecar with native: false, or nothing. It must be the first container: Kubernetes starts the
next one when this one's postStart has ended, which is when there is a token.
*/}}
{{- define "candescent-proxy-sidecar.containers" -}}
{{- $context := include "candescent-proxy-sidecar.context" . | fromYaml -}}
{{- if not $context.values.native -}}
- lifecycle:
    postStart:
      exec:
        command: [candescent-proxy, wait, --timeout, {{ $context.values.probes.startupSeconds | quote }}]
  {{- include "candescent-proxy-sidecar.container" $context | nindent 2 }}
{{- end }}
{{- end }}

{{/* The volumes of either. */}}
{{- define "candescent-proxy-sidecar.volumes" -}}
{{- $context := include "candescent-proxy-sidecar.context" . | fromYaml -}}
- name: candescent-config
  downwardAPI:
    items:
      - path: config.yaml
        fieldRef:
          fieldPath: metadata.annotations['candescent-proxy/config']
{{- include "candescent-proxy-shared.volumes" $context }}
{{- end }}

{{/* Where the application calls. */}}
{{- define "candescent-proxy-sidecar.url" -}}
{{- $context := include "candescent-proxy-sidecar.context" . | fromYaml -}}
http://{{ $context.listen }}
{{- end }}

{{/* The checked context of the templates above. Everything below is internal. */}}
{{- define "candescent-proxy-sidecar.context" -}}
{{- $name := "candescent-proxy-sidecar" -}}
{{- $root := .root | default . -}}
{{- if not (hasKey $root.Subcharts $name) -}}
{{- fail (printf "%s must be a dependency of this chart, without an alias; its README says how to give a workload its own values" $name) -}}
{{- end -}}
{{- $values := deepCopy (get $root.Values $name) -}}
{{- if .root }}{{ $values = mergeOverwrite $values (deepCopy .values) }}{{ end -}}
{{- $host := ternary $values.admin.bind "127.0.0.1" $values.admin.exposed -}}
{{- $library := get $root.Subcharts $name -}}
{{- $context := dict
      "values" $values
      "chart" (dict "AppVersion" $library.Chart.AppVersion)
      "listen" (printf "127.0.0.1:%v" $values.port)
      "admin" (printf "%s:%v" $host $values.admin.port)
      "more" (ternary (dict "admin_actions" true) dict $values.quit)
      "owned" (dict "admin_actions" "quit")
      "secret" ""
      "sources" list
      "mode" "0444" -}}
{{- $errors := include "candescent-proxy-shared.errors" $context -}}
{{- $own := include "candescent-proxy-sidecar.errors" (dict "values" $values "root" $root) -}}
{{- include "candescent-proxy-shared.refuse" (print $errors "\n" $own) -}}
{{- toYaml $context -}}
{{- end }}

{{- define "candescent-proxy-sidecar.errors" -}}
{{- $values := .values }}
{{- if and $values.native (semverCompare "<1.29.0-0" .root.Capabilities.KubeVersion.Version) }}
native: Kubernetes {{ .root.Capabilities.KubeVersion.Version }} has no native sidecars; set native: false
{{- end }}
{{- if and $values.quit $values.native }}
quit: a native sidecar ends with the Job; remove quit, or set native: false
{{- end }}
{{- if and $values.quit $values.admin.exposed }}
quit: every client that reaches the admin port could end the sidecar; set admin.exposed: false
{{- end }}
{{- if and $values.scrapeAnnotations (not $values.admin.exposed) }}
scrapeAnnotations: Prometheus could not reach the port; set admin.exposed: true
{{- end }}
{{- if eq (int $values.port) (int $values.admin.port) }}
admin.port: is the same as port; choose another
{{- end }}
{{- end }}

{{- define "candescent-proxy-sidecar.container" -}}
{{- $values := .values -}}
{{- include "candescent-proxy-shared.container" . }}
{{- if $values.admin.exposed }}
ports:
  - name: candescent-adm
    containerPort: {{ $values.admin.port }}
{{- end }}
{{- $probe := dict "port" $values.admin.port "exposed" $values.admin.exposed }}
{{- $ready := merge (dict "path" "/readyz" "command" (list "candescent-proxy" "healthcheck")) $probe }}
{{- $live := merge (dict "path" "/livez" "command" (list "candescent-proxy" "healthcheck" "--live")) $probe }}
startupProbe:
  {{- include "candescent-proxy-shared.probe" $ready | nindent 2 }}
  periodSeconds: {{ ternary 1 2 $values.admin.exposed }}
  failureThreshold: {{ ternary $values.probes.startupSeconds (div $values.probes.startupSeconds 2) $values.admin.exposed }}
livenessProbe:
  {{- include "candescent-proxy-shared.probe" $live | nindent 2 }}
  periodSeconds: {{ ternary 10 30 $values.admin.exposed }}
{{- if $values.probes.readiness }}
readinessProbe:
  {{- include "candescent-proxy-shared.probe" $ready | nindent 2 }}
  periodSeconds: {{ ternary 5 30 $values.admin.exposed }}
{{- end }}
{{- end }}
