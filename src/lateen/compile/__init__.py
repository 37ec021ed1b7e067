"""What must Envoy be told? Total functions from policies to resources; start reading in ``view``."""
