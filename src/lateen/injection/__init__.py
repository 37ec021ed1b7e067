"""Which pods get a sidecar, and how do they look then? Pods and settings in, pods out."""
