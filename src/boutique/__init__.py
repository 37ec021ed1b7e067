"""Boutique: the sample shop, twelve small services with the interfaces of Online Boutique."""

import os

# Read by grpc when it is first imported. The system's resolver honours the pod's resolv.conf with its search list.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
