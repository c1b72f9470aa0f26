{{- define "modelservice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "modelservice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride }}
{{- else if contains (include "modelservice.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "modelservice.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "modelservice.selectorLabels" -}}
app.kubernetes.io/name: {{ include "modelservice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "modelservice.fuse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "modelservice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: fuse
{{- end }}

{{- define "modelservice.gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "modelservice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "modelservice.labels" -}}
{{ include "modelservice.selectorLabels" . }}
{{ include "modelservice.releaseLabels" . }}
{{- end }}

{{- define "modelservice.fuse.labels" -}}
{{ include "modelservice.fuse.selectorLabels" . }}
{{ include "modelservice.releaseLabels" . }}
{{- end }}

{{- define "modelservice.gateway.labels" -}}
{{ include "modelservice.gateway.selectorLabels" . }}
{{ include "modelservice.releaseLabels" . }}
{{- end }}

{{- define "modelservice.releaseLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelservice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "modelservice.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- required "serviceAccount.name must be set when serviceAccount.create is false." .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "modelservice.fuse.serviceAccountName" -}}
{{- if .Values.fuse.serviceAccount.create -}}
{{- default (printf "%s-fuse" (include "modelservice.fullname" .)) .Values.fuse.serviceAccount.name }}
{{- else -}}
{{- required "fuse.serviceAccount.name must be set when fuse.serviceAccount.create is false." .Values.fuse.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "modelservice.gateway.serviceAccountName" -}}
{{- if .Values.gateway.serviceAccount.create -}}
{{- default (printf "%s-gateway" (include "modelservice.fullname" .)) .Values.gateway.serviceAccount.name }}
{{- else -}}
{{- required "gateway.serviceAccount.name must be set when gateway.serviceAccount.create is false." .Values.gateway.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Names of the admission policies that the guarantee needs, and of their bindings. */ -}}
{{- define "modelservice.admissionPolicies" -}}
{{- $name := include "modelservice.fullname" . -}}
{{ $name }}-pods {{ $name }}-ledgers{{ if .Values.fuse.enabled }} {{ $name }}-fuse{{ end }}{{ if .Values.gateway.enabled }} {{ $name }}-gateway{{ end }}
{{- end }}

{{- /* CEL: whether the request comes from the operator or from somebody who broke the glass. */ -}}
{{- define "modelservice.trusted" -}}
request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "modelservice.serviceAccountName" . }}' || '{{ .Values.breakGlass.group }}' in request.userInfo.groups
{{- end }}

{{- define "modelservice.firstInstall" -}}
helm.sh/hook: post-install,post-upgrade
meta.helm.sh/release-name: {{ .Release.Name }}
meta.helm.sh/release-namespace: {{ .Release.Namespace }}
{{- end }}
