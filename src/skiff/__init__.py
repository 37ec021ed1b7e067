"""Skiff: a Kubernetes for one machine, without containers or images."""
