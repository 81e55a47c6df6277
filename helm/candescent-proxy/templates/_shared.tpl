{{/*
Templates of both the gateway's chart and the sidecar's library (make charts copies the file from the
library).

Each template takes one dictionary:
  values   the values of values.yaml
  chart    the chart, for the image's version
  listen   HOST:PORT of the port for callers
  admin    HOST:PORT of the port for probes and metrics
  more     settings that only this chart writes, a dictionary
  owned    the value that sets each of those, by the setting's name
  secret   the Secret that the chart makes, or ""
  sources  more sources for the volume of secrets, a list
  mode     file mode of the secrets
*/}}

{{- define "candescent-proxy-shared.image" -}}
{{- $image := .values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The login of an institution, with defaults for what values leave out. */}}
{{- define "candescent-proxy-shared.login" -}}
{{- $none := dict "clientId" "" "clientSecret" "" "password" "" -}}
{{- $keys := dict "clientId" "client-id" "clientSecret" "client-secret" "password" "" -}}
{{- $whole := dict "existingSecret" "" "keys" $keys "files" $none "create" (deepCopy $none) -}}
{{- mergeOverwrite $whole (deepCopy .) | toYaml -}}
{{- end }}

{{/* Every login by the directory of its secrets. */}}
{{- define "candescent-proxy-shared.logins" -}}
default:
  {{- include "candescent-proxy-shared.login" .values.credentials | nindent 2 }}
{{- range $id, $login := .values.institutions }}
{{ $id | quote }}:
  {{- include "candescent-proxy-shared.login" $login | nindent 2 }}
{{- end }}
{{- end }}

{{/* The settings for a login's secret files. Takes the login and its directory. */}}
{{- define "candescent-proxy-shared.loginSettings" -}}
{{- $login := .login -}}
{{- $names := dict "clientId" "client_id_file" "clientSecret" "client_secret_file" "password" "password_file" -}}
{{- range $name, $setting := $names }}
{{- $file := get $login.files $name }}
{{- if $file }}
{{ $setting }}: {{ $file | quote }}
{{- else if and (not $login.files.clientId) (get $login.keys $name) }}
{{ $setting }}: {{ printf "/run/secrets/candescent/%s/%s" $.directory (get $login.keys $name) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings of the fleet's store, except those in config.store. */}}
{{- define "candescent-proxy-shared.storeSettings" -}}
{{- $store := .values.store -}}
{{- if $store.url }}
url: {{ $store.url | quote }}
{{- with $store.username }}
username: {{ . | quote }}
{{- end }}
{{- $names := dict "encryptionKey" "encryption_key_file" "password" "password_file" "sentinelPassword" "sentinel_password_file" "ca" "ca_file" "certificate" "certificate_file" "certificateKey" "key_file" -}}
{{- range $name, $setting := $names }}
{{- with get $store.keys $name }}
{{ $setting }}: {{ printf "/run/secrets/candescent/store/%s" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The configuration file. */}}
{{- define "candescent-proxy-shared.config" -}}
{{- $bank := .values.bank -}}
{{- $own := dict "institution_id" $bank.institutionId "listen" .listen "admin" .admin "grace_period" .values.gracePeriod -}}
{{- if $bank.environment }}{{ $_ := set $own "environment" $bank.environment }}{{ end -}}
{{- if $bank.baseUrl }}{{ $_ := set $own "base_url" $bank.baseUrl }}{{ end -}}
{{- with $bank.allowedInstitutions }}{{ $_ := set $own "allowed_institutions" . }}{{ end -}}
{{- range $directory, $login := include "candescent-proxy-shared.logins" . | fromYaml -}}
{{- $settings := include "candescent-proxy-shared.loginSettings" (dict "login" $login "directory" $directory) | fromYaml -}}
{{- if eq $directory "default" -}}
{{- $own = merge $own $settings -}}
{{- else -}}
{{- $own = merge $own (dict "institutions" (dict $directory $settings)) -}}
{{- end -}}
{{- end -}}
{{- with include "candescent-proxy-shared.storeSettings" . | fromYaml }}{{ $_ := set $own "store" . }}{{ end -}}
{{- mergeOverwrite (deepCopy .values.config) $own .more | toYaml -}}
{{- end }}

{{/* The sources of the volume of secrets: one volume, so that all of them change together. */}}
{{- define "candescent-proxy-shared.secretSources" -}}
{{- range $directory, $login := include "candescent-proxy-shared.logins" . | fromYaml }}
{{- $secret := $login.existingSecret | default (ternary $.secret "" (eq $directory "default")) }}
{{- if and $secret (not $login.files.clientId) }}
- secret:
    name: {{ $secret }}
    items:
      {{- range $name := list "clientId" "clientSecret" "password" }}
      {{- with get $login.keys $name }}
      - key: {{ . }}
        path: {{ $directory }}/{{ . }}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
{{- with .values.store }}
{{- if .url }}
- secret:
    name: {{ .existingSecret }}
    items:
      {{- range $name, $key := .keys }}
      {{- with $key }}
      - key: {{ . }}
        path: store/{{ . }}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
{{- with .sources }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volumes, except the one with the configuration. */}}
{{- define "candescent-proxy-shared.volumes" -}}
{{- with include "candescent-proxy-shared.secretSources" . | trim }}
- name: candescent-secrets
  projected:
    defaultMode: {{ $.mode }}
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The parts that all containers of the program share; each chart adds ports, probes and life cycle. */}}
{{- define "candescent-proxy-shared.container" -}}
name: candescent-proxy
image: {{ include "candescent-proxy-shared.image" . | quote }}
imagePullPolicy: {{ .values.image.pullPolicy }}
args: [run]
env:
  - name: CANDESCENT_CONFIG
    value: /etc/candescent-proxy/config.yaml
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  {{- toYaml .values.securityContext | nindent 2 }}
volumeMounts:
  - name: candescent-config
    mountPath: /etc/candescent-proxy
    readOnly: true
  {{- if include "candescent-proxy-shared.secretSources" . | trim }}
  - name: candescent-secrets
    mountPath: /run/secrets/candescent
    readOnly: true
  {{- end }}
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* A probe. Takes path, port, exposed, and the command to run if it is not exposed. */}}
{{- define "candescent-proxy-shared.probe" -}}
{{- if .exposed -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
{{- else -}}
exec:
  command: {{ .command | toJson }}
{{- end }}
timeoutSeconds: 5
{{- end }}

{{/* Fail with all errors at once. Takes the errors, a line each. */}}
{{- define "candescent-proxy-shared.refuse" -}}
{{- with compact (splitList "\n" .) -}}
{{- fail (printf "\n\ncandescent-proxy cannot be installed like this:\n  - %s\n" (join "\n  - " .)) -}}
{{- end -}}
{{- end }}

{{/* The errors in the values, a line each: the value, and what to set. */}}
{{- define "candescent-proxy-shared.errors" -}}
{{- $bank := .values.bank }}
{{- if and (not $bank.environment) (not $bank.baseUrl) }}
bank.environment: set it to stage or production, or set bank.baseUrl
{{- else if and $bank.environment $bank.baseUrl }}
bank.environment: set either bank.environment or bank.baseUrl, not both
{{- end }}
{{- if not $bank.institutionId }}
bank.institutionId: set it, in quotes, such as "00016"
{{- end }}
{{- if hasKey .values.institutions $bank.institutionId }}
institutions.{{ $bank.institutionId }}: is bank.institutionId; its credentials go into credentials
{{- end }}
{{- $logins := include "candescent-proxy-shared.logins" . | fromYaml }}
{{- range $directory, $login := $logins }}
{{- $at := ternary "credentials" (printf "institutions.%s" $directory) (eq $directory "default") }}
{{- include "candescent-proxy-shared.loginErrors" (dict "at" $at "login" $login "secret" $.secret) }}
{{- end }}
{{- include "candescent-proxy-shared.storeErrors" . }}
{{- include "candescent-proxy-shared.configErrors" . }}
{{- include "candescent-proxy-shared.envErrors" . }}
{{- end }}

{{- define "candescent-proxy-shared.loginErrors" -}}
{{- $login := .login }}
{{- $sources := list }}
{{- if $login.existingSecret }}{{ $sources = append $sources "existingSecret" }}{{ end }}
{{- range $name := list "files" "create" }}
{{- $source := get $login $name }}
{{- if or $source.clientId $source.clientSecret $source.password }}
{{- $sources = append $sources $name }}
{{- if not (and $source.clientId $source.clientSecret) }}
{{ $.at }}.{{ $name }}: set both clientId and clientSecret
{{- end }}
{{- end }}
{{- end }}
{{- if not $sources }}
{{ .at }}.existingSecret: there are no credentials; name a Secret with the keys {{ $login.keys.clientId }} and {{ $login.keys.clientSecret }}, or set {{ .at }}.files
{{- else if gt (len $sources) 1 }}
{{ .at }}: the same secret has two sources, {{ join " and " $sources }}; keep one of them
{{- end }}
{{- if not (and $login.keys.clientId $login.keys.clientSecret) }}
{{ .at }}.keys: clientId and clientSecret name the keys in the Secret, so neither may be empty
{{- end }}
{{- end }}

{{- define "candescent-proxy-shared.storeErrors" -}}
{{- $store := .values.store }}
{{- if and $store.url (not (and $store.existingSecret $store.keys.encryptionKey)) }}
store.existingSecret: name a Secret whose key {{ $store.keys.encryptionKey | default "encryption-key" }} holds the encryption keys; make one with: kubectl create secret generic candescent-store --from-literal=encryption-key="k1 $(openssl rand -base64 32)"
{{- end }}
{{- if and $store.existingSecret (not $store.url) }}
store.url: set it, or remove store.existingSecret
{{- end }}
{{- range $name, $_ := .values.config.store }}
{{- if or (hasSuffix "_file" $name) (has $name (list "url" "username")) }}
config.store.{{ $name }}: set it under store instead
{{- end }}
{{- end }}
{{- end }}

{{/* Which value sets a setting of the configuration file. */}}
{{- define "candescent-proxy-shared.owned" -}}
environment: bank.environment
base_url: bank.baseUrl
institution_id: bank.institutionId
allowed_institutions: bank.allowedInstitutions
listen: port
admin: admin.port
grace_period: gracePeriod
client_id: credentials
client_id_file: credentials
client_secret: credentials
client_secret_file: credentials
password: credentials
password_file: credentials
{{- end }}

{{- define "candescent-proxy-shared.configErrors" -}}
{{- $owned := merge (include "candescent-proxy-shared.owned" . | fromYaml) .owned }}
{{- $secrets := list "client_secret" "password" "bearer_token" }}
{{- range $name, $_ := .values.config }}
{{- if has $name $secrets }}
config.{{ $name }}: a secret must not be in the configuration; put it into a Secret and name that in credentials
{{- else if hasKey $owned $name }}
config.{{ $name }}: set {{ get $owned $name }} instead
{{- end }}
{{- end }}
{{- range $id, $login := .values.config.institutions }}
{{- range $name, $_ := $login }}
{{- if has $name $secrets }}
config.institutions.{{ $id }}.{{ $name }}: a secret must not be in the configuration; name its Secret in institutions.{{ $id }}
{{- else if and (hasKey $.values.institutions $id) (hasPrefix "credentials" (get $owned $name | default "")) }}
config.institutions.{{ $id }}.{{ $name }}: the same secret has two sources, this and institutions.{{ $id }}; keep one of them
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "candescent-proxy-shared.envErrors" -}}
{{- $owned := merge (include "candescent-proxy-shared.owned" . | fromYaml) .owned (dict "config" "config" "bearer_token" "credentials") }}
{{- range .values.extraEnv }}
{{- $value := get $owned (.name | trimPrefix "CANDESCENT_" | lower) }}
{{- if not (hasPrefix "CANDESCENT_" .name) }}
{{- else if eq $value "credentials" }}
extraEnv: {{ .name }} is a second source of a secret in credentials; remove it
{{- else if $value }}
extraEnv: {{ .name }} would override {{ $value }}; set that instead
{{- end }}
{{- end }}
{{- end }}
