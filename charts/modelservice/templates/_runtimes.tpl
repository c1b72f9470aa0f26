{{- define "modelservice.runtime" -}}
apiVersion: modelservice.dev/v1alpha1
kind: ModelRuntime
metadata:
  name: {{ .name }}
  labels: {{- include "modelservice.labels" .root | nindent 4 }}
  {{- if not (.root.Capabilities.APIVersions.Has "modelservice.dev/v1alpha1/ModelRuntime") }}
  annotations: {{- include "modelservice.firstInstall" .root | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "modelservice.worker" -}}
role: Inference
port: 8080
metricsPath: /metrics
metrics:
  requestsRunning: [modelservice_requests_running]
  requestsWaiting: [modelservice_requests_waiting]
  requestsTotal: [modelservice_requests_total]
supportedModelFormats:
  {{- range .formats }}
  - {name: {{ . }}, priority: 10}
  {{- end }}
accelerators:
  - type: CPU
    image: {{ include "modelservice.workerImage" .root | quote }}
    args: [serve]
{{- end }}

{{- /* Of our runtimes, and of the container that downloads a model before any engine starts. */ -}}
{{- define "modelservice.workerImage" -}}
{{- printf "%s:%s" .Values.runtimes.image.repository (default .Chart.AppVersion .Values.runtimes.image.tag) }}
{{- end }}
