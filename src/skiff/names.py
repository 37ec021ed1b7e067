"""Which names and addresses does skiff itself give? Those that several parts must agree on."""

from __future__ import annotations

#: Who makes volumes, of folders of this machine.
PROVISIONER = "skiff.local/folder"
#: The annotation of the StorageClass that claims without one get.
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
#: The label of Endpoints that are not mirrored into EndpointSlices.
SKIP = "endpointslice.kubernetes.io/skip-mirror"
#: The two ends of the link between the machine and the node.
HOST_IP = "169.254.77.1"
NODE_IP = "169.254.77.2"
