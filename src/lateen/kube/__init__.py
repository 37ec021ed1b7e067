"""How do we speak with Kubernetes? Where it is, requests, and following what changes."""
