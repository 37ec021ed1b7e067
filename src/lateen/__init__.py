"""Lateen: a service mesh with the API of Istio, stock Envoy and a control plane in Python."""

__version__ = "0.1.0"
