"""What must we write into Kubernetes, and keep as it should be? The root certificate, wherever it is looked for."""
