"""The cluster of the shipped fixtures, under the name that our tests use."""

from skiff.testing import Answer, Cluster

__all__ = ["Answer", "Cluster"]
