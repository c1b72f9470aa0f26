"""Fetching a model into a pod: pinned, resumed, verified, and visible only when it is whole."""
