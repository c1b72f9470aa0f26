"""Manifests: a decision in, a Kubernetes object as JSON out. Pure; equal input gives equal output."""
