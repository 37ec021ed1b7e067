"""What applies, and to whom? The rules of users resolved for a namespace, a workload or a service."""
