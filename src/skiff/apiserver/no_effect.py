"""What does skiff take and not do? One table: ``effects`` warns by it when something is written, docs/skiff.md shows it."""

from __future__ import annotations

from typing import Any, NamedTuple

from skiff.names import NODE_IP, PROVISIONER


class Silent(NamedTuple):
    """A kind, or a field of a definition of the API (``SecurityContext.procMount``), and what becomes of it.

    One key of a field that is a map stands in brackets.
    """

    where: str
    said: str  # after the name: "has no effect: ..."
    fine: tuple[Any, ...] = ()  # values that ask for nothing that would be missing
    unless: tuple[str, Any] = ("", None)  # a field beside it with this value makes it act


def _none(where: str, why: str, *fine: Any) -> Silent:
    return Silent(where, f"has no effect: {why}", fine)


_VOLUMES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "glusterfs", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO",
    "storageos", "vsphereVolume",
)  # fmt: skip
_SELINUX = "there are no SELinux labels here"
_SECCOMP = "keeps the container from starting: there are RuntimeDefault and Unconfined only"
_DISK = "nobody measures how much of the disk a pod takes"
_ONE_SIZE = "containers are not resized while they run"

TABLE: tuple[Silent, ...] = (
    _none("Ingress", "there is no ingress controller; a Gateway of the mesh or a Service of type NodePort leads inside"),
    _none("IngressClass", "there is no ingress controller"),
    # pods
    _none("PodSpec.evictionResponders", "evictions ask nobody"),
    _none("PodSpec.hostIPC", "a container has its own IPC namespace", False),
    _none("PodSpec.hostUsers", "containers share the host's user namespace", True),
    _none("PodSpec.hostnameOverride", "the hostname is that of the pod"),
    _none("PodSpec.os", "there is only Linux", {"name": "linux"}),
    _none("PodSpec.resourceClaims", "there are no devices to claim"),
    _none("PodSpec.runtimeClassName", "there is one way to run a container"),
    _none("PodSpec.schedulingGroup", "pods are scheduled one by one"),
    _none("PodSpec.setHostnameAsFQDN", "the hostname is the short one", False),
    _none("PodSecurityContext.appArmorProfile", "there are no AppArmor profiles here"),
    _none("PodSecurityContext.seLinuxChangePolicy", _SELINUX),
    _none("PodSecurityContext.seLinuxOptions", _SELINUX),
    Silent("PodSecurityContext.seccompProfile", _SECCOMP, ({"type": "RuntimeDefault"}, {"type": "Unconfined"})),
    _none("PodSecurityContext.windowsOptions", "there is only Linux"),
    # containers
    Silent("ContainerPort.hostIP", f"is no address of the node: its ports answer at {NODE_IP} only",
           ("0.0.0.0", NODE_IP)),
    _none("Container.resizePolicy", _ONE_SIZE),
    _none("Container.restartPolicyRules", "a container is restarted by its pod's restartPolicy"),
    _none("Container.volumeDevices", "the container does not get a device"),
    _none("EnvVarSource.fileKeyRef", "the variable is empty"),
    _none("GRPCAction.mode", "the probe speaks plaintext"),
    _none("HTTPGetAction.protocol", "the request is HTTP/1.1"),
    _none("LifecycleHandler.tcpSocket", "nobody connects"),
    _none("ResourceRequirements.limits[ephemeral-storage]", _DISK),
    _none("ResourceRequirements.requests[ephemeral-storage]", _DISK),
    _none("ResourceRequirements.claims", "there are no devices to claim"),
    _none("SecurityContext.appArmorProfile", "there are no AppArmor profiles here"),
    _none("SecurityContext.procMount", "/proc is the usual one", "Default"),
    _none("SecurityContext.seLinuxOptions", _SELINUX),
    Silent("SecurityContext.seccompProfile", _SECCOMP, ({"type": "RuntimeDefault"}, {"type": "Unconfined"})),
    _none("SecurityContext.windowsOptions", "there is only Linux"),
    _none("VolumeMount.bindMountOptions", "a volume is mounted in the usual way"),
    _none("VolumeMount.mountPropagation", "later mounts stay where they are made", "None"),
    _none("VolumeMount.recursiveReadOnly", "mounts inside the volume may stay writable", "Disabled"),
    # volumes
    *(Silent(f"Volume.{it}", "keeps the pod from starting: skiff has no volumes of this sort") for it in _VOLUMES),
    Silent("Volume.gitRepo", "keeps the pod from starting: skiff has no volumes of this sort"),
    Silent("Volume.image", "keeps the pod from starting: skiff has no volumes of this sort"),
    *(Silent(f"PersistentVolumeSpec.{it}", "keeps pods from starting: skiff has no volumes of this sort") for it in _VOLUMES),
    _none("ConfigMapVolumeSource.defaultUser", "files belong to root"),
    _none("DownwardAPIVolumeFile.user", "files belong to root"),
    _none("DownwardAPIVolumeSource.defaultUser", "files belong to root"),
    Silent("EmptyDirVolumeSource.sizeLimit", f"has no effect: {_DISK}; with medium Memory it acts",
           unless=("medium", "Memory")),
    _none("EmptyDirVolumeSource.mode", "everybody may write there"),
    _none("KeyToPath.user", "files belong to root"),
    _none("PersistentVolumeSpec.mountOptions", "a volume is a folder"),
    _none("ProjectedVolumeSource.defaultUser", "files belong to root"),
    _none("SecretVolumeSource.defaultUser", "files belong to root"),
    _none("ServiceAccountTokenProjection.user", "files belong to root"),
    _none("VolumeProjection.clusterTrustBundle", "the file is missing"),
    _none("VolumeProjection.podCertificate", "the files are missing"),
    _none("PersistentVolumeClaimSpec.volumeAttributesClassName", "a volume is a folder"),
    _none("PersistentVolumeSpec.volumeAttributesClassName", "a volume is a folder"),
    _none("LocalVolumeSource.fsType", "a volume is a folder"),
    _none("StorageClass.allowedTopologies", "there is one node"),
    _none("StorageClass.mountOptions", "a volume is a folder"),
    _none("StorageClass.parameters", "a volume is a folder"),
    Silent("StorageClass.provisioner", f"makes no volumes here: claims of this class stay Pending ({PROVISIONER} makes folders)",
           (PROVISIONER, "kubernetes.io/no-provisioner")),
    # workloads
    _none("JobSpec.managedBy", "skiff's own controller runs the Job", "kubernetes.io/job-controller"),
    _none("JobSpec.scheduling", "pods are scheduled one by one"),
    _none("RollingUpdateDaemonSet.maxSurge", "the old pod ends before the new one begins", 0, "0", "0%"),
    # autoscalers
    _none("MetricSpec.external", "nobody measures what is outside of the cluster"),
    _none("MetricSpec.object", "there is no custom metrics API"),
    _none("MetricSpec.pods", "there is no custom metrics API"),
    # services
    _none("ServiceSpec.allocateLoadBalancerNodePorts", "node ports are given", True),
    Silent("ServiceSpec.externalIPs", "takes what all pods of the cluster send to these addresses, whosever they are"),
    _none("ServiceSpec.healthCheckNodePort", "nobody answers there"),
    _none("ServiceSpec.ipFamilyPolicy", "addresses are IPv4 only", "SingleStack", "PreferDualStack"),
    _none("ServiceSpec.loadBalancerClass", "skiff gives the address"),
    _none("ServiceSpec.loadBalancerIP", "the address is one of skiff's own"),
    _none("ServiceSpec.loadBalancerSourceRanges", "everybody may connect"),
    _none("ClientIPConfig.timeoutSeconds", "a client stays with its pod as long as that is ready", 10800),
)  # fmt: skip

BY_PLACE: dict[str, Silent] = {it.where: it for it in TABLE}
