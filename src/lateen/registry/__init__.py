"""What exists? Facts of Kubernetes as services, workloads and endpoints; start reading in ``facts``."""
