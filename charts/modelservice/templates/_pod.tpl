{{- /* What the pods of the operator, the fuse and the gateway have in common. */ -}}
{{- define "modelservice.podSpec" -}}
# Else the Service of the gateway would set MODELSERVICE_GATEWAY_PORT, which is a setting of the gateway.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "modelservice.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
startupProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "modelservice.commonEnvironment" -}}
- name: MODELSERVICE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: MODELSERVICE_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{ include "modelservice.logEnvironment" . }}
{{- end }}

{{- define "modelservice.logEnvironment" -}}
- name: MODELSERVICE_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: MODELSERVICE_LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- end }}
