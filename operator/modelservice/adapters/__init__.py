"""Implementations of the ports: the Kubernetes API, Prometheus, telemetry."""
