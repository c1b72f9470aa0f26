"""The cluster of the end-to-end tests, for models of a size that people use."""

from tests.e2e.conftest import cluster

__all__ = ["cluster"]
