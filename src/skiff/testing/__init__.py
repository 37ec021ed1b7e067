"""How do you test a controller against a real cluster of its own? ``Cluster``, and fixtures of pytest (docs/guide/testing.md)."""

from skiff.testing.cluster import Answer, Cluster

__all__ = ["Answer", "Cluster"]
