{{/* The errors in the values; templates/deployment.yaml includes this. */}}
{{- define "candescent-proxy.check" -}}
{{- $lines := list (include "candescent-proxy-shared.errors" (include "candescent-proxy.context" . | fromYaml)) -}}
{{- range $part := list "callers" "life" "numbers" "metrics" -}}
{{- $lines = append $lines (include (printf "candescent-proxy.errors.%s" $part) $) -}}
{{- end -}}
{{- include "candescent-proxy-shared.refuse" (join "\n" $lines) -}}
{{- end }}

{{- define "candescent-proxy.errors.callers" -}}
{{- $callers := .Values.callers }}
{{- $mutual := and $callers.tls.existingSecret $callers.tls.clientCertificates }}
{{- if not (or $callers.trustNetwork $callers.secrets.existingSecret $mutual) }}
callers: every client that reaches the port would act with your credentials; set callers.tls.existingSecret (mutual TLS) or callers.secrets.existingSecret, or callers.trustNetwork: true if the network keeps others out
{{- end }}
{{- if and $callers.secrets.existingSecret (not $callers.secrets.keys) }}
callers.secrets.keys: name at least one key of the Secret {{ $callers.secrets.existingSecret }}
{{- end }}
{{- if and $callers.tls.clientNames (not $mutual) }}
callers.tls.clientNames: needs client certificates; set callers.tls.existingSecret and clientCertificates: true
{{- end }}
{{- if and .Values.config.admin_actions (not $callers.trustNetwork) }}
config.admin_actions: every client that reaches the admin port could stop the gateway; set callers.trustNetwork: true if the network keeps others out
{{- end }}
{{- if eq (int .Values.port) (int .Values.admin.port) }}
admin.port: is the same as port; choose another
{{- end }}
{{- end }}

{{- define "candescent-proxy.errors.life" -}}
{{- $least := include "candescent-proxy.drain" . }}
{{- with .Values.terminationGracePeriodSeconds }}
{{- if lt (int .) (int $least) }}
terminationGracePeriodSeconds: {{ . }} is less than drainDelay and gracePeriod need; set at least {{ $least }}, or null
{{- end }}
{{- end }}
{{- end }}

{{- define "candescent-proxy.errors.numbers" -}}
{{- $budget := .Values.podDisruptionBudget }}
{{- $scaling := .Values.autoscaling }}
{{- $replicas := include "candescent-proxy.replicas" . | int }}
{{- $setting := ternary "autoscaling.minReplicas" "replicas" $scaling.enabled }}
{{- $fewest := not (kindIs "invalid" $budget.minAvailable) }}
{{- $most := not (kindIs "invalid" $budget.maxUnavailable) }}
{{- if $budget.enabled }}
{{- if and $fewest $most }}
podDisruptionBudget: set either minAvailable or maxUnavailable, and the other to null
{{- else if not (or $fewest $most) }}
podDisruptionBudget: set minAvailable or maxUnavailable, or enabled: false
{{- else if $most }}
{{- if eq (toString $budget.maxUnavailable | trimSuffix "%" | int) 0 }}
podDisruptionBudget.maxUnavailable: {{ $budget.maxUnavailable }} would block every drain of a node; set at least 1
{{- end }}
{{- else if gt $replicas 0 }}
{{- $keep := toString $budget.minAvailable | trimSuffix "%" | int }}
{{- if hasSuffix "%" (toString $budget.minAvailable) }}{{ $keep = ceil (divf (mulf $keep $replicas) 100) | int }}{{ end }}
{{- if ge $keep $replicas }}
podDisruptionBudget.minAvailable: {{ $budget.minAvailable }} with {{ $setting }} {{ $replicas }} would block every drain of a node; set {{ $setting }} higher, or minAvailable lower
{{- end }}
{{- end }}
{{- end }}
{{- if $scaling.enabled }}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) }}
autoscaling.minReplicas: {{ $scaling.minReplicas }} is more than maxReplicas, {{ $scaling.maxReplicas }}
{{- end }}
{{- if not (dig "requests" "cpu" "" .Values.resources) }}
autoscaling.enabled: needs a CPU request; set resources.requests.cpu
{{- end }}
{{- end }}
{{- end }}

{{- define "candescent-proxy.errors.metrics" -}}
{{- $metrics := .Values.metrics }}
{{- $kinds := dict "serviceMonitor" "ServiceMonitor" "podMonitor" "PodMonitor" "rules" "PrometheusRule" }}
{{- range $name, $kind := $kinds }}
{{- if and (get $metrics $name).enabled (not ($.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind))) }}
metrics.{{ $name }}.enabled: the cluster has no {{ $kind }}; install the Prometheus Operator's definitions first, set enabled: false, or, without a cluster, render with --api-versions monitoring.coreos.com/v1/{{ $kind }}
{{- end }}
{{- end }}
{{- if and $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled }}
metrics: every pod would be scraped twice; enable serviceMonitor or podMonitor
{{- end }}
{{- $read := or $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled }}
{{- if and $read .Values.networkPolicy.enabled (not .Values.networkPolicy.scrapers) }}
networkPolicy.scrapers: Prometheus could not reach the admin port; set its peers, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
{{- end }}
{{- if $metrics.rules.enabled }}
{{- $known := list }}
{{- range ($.Files.Get "files/rules.yaml" | fromYaml).groups }}{{ range .rules }}{{ $known = append $known .alert }}{{ end }}{{ end }}
{{- range $metrics.rules.without }}
{{- if not (has . $known) }}
metrics.rules.without: there is no alert {{ . }}; files/rules.yaml has the names
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $file := dict "rules" "files/rules.yaml" "dashboard" "files/dashboard.json" }}
{{- if and (get $metrics $name).enabled (not ($.Files.Get $file)) }}
metrics.{{ $name }}.enabled: this chart has no {{ $file }}; set enabled: false
{{- end }}
{{- end }}
{{- end }}
