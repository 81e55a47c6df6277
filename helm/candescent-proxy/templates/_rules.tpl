{{/*
The rules of a group that the values ask for, about the proxies that they name. Takes the root and
the rules. In files/rules.yaml every selector has its braces; behind each the matchers go in.
*/}}
{{- define "candescent-proxy.rules" -}}
{{- $values := .root.Values.metrics.rules -}}
{{- $ruleLabels := include "candescent-proxy.ruleLabels" .root | fromYaml -}}
{{- $matchers := "" -}}
{{- range $label, $value := $ruleLabels }}{{ $matchers = printf "%s%s=%q," $matchers $label $value }}{{ end -}}
{{- $selector := "((?:[a-z_]+:)?candescent_proxy\\w*(?::\\w+)?|\\bup)[{]" -}}
{{- range $rule := .rules }}
{{- $wanted := true }}
{{- $labels := merge dict ($rule.labels | default dict) $ruleLabels }}
{{- if $rule.alert }}
{{- $wanted = and (has $rule.labels.severity $values.severities) (not (has $rule.alert $values.without)) }}
{{- $labels = merge dict $values.labels $labels }}
{{- end }}
{{- if $wanted }}
{{- $expr := regexReplaceAll $selector $rule.expr (printf "${1}{%s" ($matchers | replace "$" "$$")) }}
{{- $made := dict "expr" $expr "labels" $labels }}
{{- with $rule.annotations }}
{{- $made = merge $made (dict "annotations" (merge (dict "runbook_url" (printf "%s%s" (include "candescent-proxy.runbooks" $values) .runbook_url)) .)) }}
{{- end }}
{{- $made = merge $made $rule }}
- {{ toYaml $made | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end }}

{{/* The labels that the series of the rules must have. */}}
{{- define "candescent-proxy.ruleLabels" -}}
{{- $rules := .Values.metrics.rules -}}
{{- $namespace := $rules.namespace | default .Release.Namespace -}}
{{- merge dict $rules.matchers (ternary dict (dict "namespace" $namespace) (eq $namespace "*")) | toYaml -}}
{{- end }}

{{/* The URL before docs/runbooks, with its slash. */}}
{{- define "candescent-proxy.runbooks" -}}
{{- with .runbooks }}{{ trimSuffix "/" . }}/{{ end -}}
{{- end }}
