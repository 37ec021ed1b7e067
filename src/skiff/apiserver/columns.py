"""What does kubectl show of a built-in kind? The columns after NAME and their cells, as the real server prints them.

Source of names and forms: kubectl's output in https://kubernetes.io/docs/, which ``pkg/printers/internalversion`` makes.
"""

from __future__ import annotations

from skiff.apiserver import cluster_cells as cluster
from skiff.apiserver import network_cells as network
from skiff.apiserver import workload_cells as workloads
from skiff.apiserver.cells import Cells, born, selector

_CREATED = ("Created At", cluster.created)
_BOUND = ("Role,Age|Users,Groups,ServiceAccounts", cluster.binding)
_MADE = "Containers,Images,Selector"

#: kind -> columns after NAME (those after "|" are shown by ``-o wide``), and their cells.
SHAPES: dict[str, tuple[str, Cells]] = {
    "Pod": ("Ready,Status,Restarts,Age|IP,Node,Nominated Node,Readiness Gates", workloads.pod),
    "Deployment": (f"Ready,Up-to-date,Available,Age|{_MADE}", workloads.deployment),
    "ReplicaSet": (f"Desired,Current,Ready,Age|{_MADE}", workloads.replica_set),
    "ReplicationController": (f"Desired,Current,Ready,Age|{_MADE}", workloads.replica_set),
    "StatefulSet": ("Ready,Age|Containers,Images", workloads.stateful_set),
    "DaemonSet": (f"Desired,Current,Ready,Up-to-date,Available,Node Selector,Age|{_MADE}", workloads.daemon_set),
    "Job": (f"Status,Completions,Duration,Age|{_MADE}", workloads.job),
    "CronJob": (f"Schedule,Timezone,Suspend,Active,Last Schedule,Age|{_MADE}", workloads.cron_job),
    "HorizontalPodAutoscaler": ("Reference,Targets,MinPods,MaxPods,Replicas,Age", workloads.autoscaler),
    "PodDisruptionBudget": ("Min Available,Max Unavailable,Allowed Disruptions,Age", workloads.budget),
    "Service": ("Type,Cluster-IP,External-IP,Port(s),Age|Selector", network.service),
    "Endpoints": ("Endpoints,Age", network.endpoints),
    "EndpointSlice": ("AddressType,Ports,Endpoints,Age", network.endpoint_slice),
    "Ingress": ("Class,Hosts,Address,Ports,Age", network.ingress),
    "IngressClass": ("Controller,Parameters,Age", network.ingress_class),
    "NetworkPolicy": (
        "Pod-Selector,Age",
        lambda it, now: [selector((it.get("spec") or {}).get("podSelector")), born(it, now)],
    ),
    "Node": (
        "Status,Roles,Age,Version|Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime",
        cluster.node,
    ),
    "Namespace": (
        "Status,Age",
        lambda it, now: [(it.get("status") or {}).get("phase", ""), born(it, now)],
    ),
    "ConfigMap": (
        "Data,Age",
        lambda it, now: [len(it.get("data") or {}) + len(it.get("binaryData") or {}), born(it, now)],
    ),
    "Secret": (
        "Type,Data,Age",
        lambda it, now: [it.get("type", ""), len(it.get("data") or {}), born(it, now)],
    ),
    "ServiceAccount": ("Secrets,Age", lambda it, now: [len(it.get("secrets") or ()), born(it, now)]),
    "Event": ("Last Seen,Type,Reason,Object|Subobject,Source|Message|First Seen,Count,Name", cluster.event),
    "Role": _CREATED,
    "ClusterRole": _CREATED,
    "LimitRange": _CREATED,
    "CustomResourceDefinition": _CREATED,
    "RoleBinding": _BOUND,
    "ClusterRoleBinding": _BOUND,
    "ResourceQuota": ("Request,Limit,Age", cluster.quota),
    "Lease": (
        "Holder,Age",
        lambda it, now: [(it.get("spec") or {}).get("holderIdentity", ""), born(it, now)],
    ),
    "MutatingWebhookConfiguration": (
        "Webhooks,Age",
        lambda it, now: [len(it.get("webhooks") or ()), born(it, now)],
    ),
    "ValidatingWebhookConfiguration": (
        "Webhooks,Age",
        lambda it, now: [len(it.get("webhooks") or ()), born(it, now)],
    ),
    "ValidatingAdmissionPolicy": ("Validations,ParamKind,Age", cluster.admission_policy),
    "ValidatingAdmissionPolicyBinding": ("PolicyName,ParamRef,Age", cluster.policy_binding),
    "PriorityClass": (
        "Value,Global-Default,Age,PreemptionPolicy",
        lambda it, now: [
            it.get("value", 0), str(bool(it.get("globalDefault"))).lower(), born(it, now),
            it.get("preemptionPolicy", "PreemptLowerPriority"),
        ],
    ),
    "PersistentVolume": (
        "Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age|VolumeMode",
        cluster.volume,
    ),
    "PersistentVolumeClaim": (
        "Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age|VolumeMode",
        cluster.claim,
    ),
    "StorageClass": ("Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age", cluster.storage_class),
    "ControllerRevision": ("Controller,Revision,Age", cluster.revision),
    "CertificateSigningRequest": ("Age,SignerName,Requestor,RequestedDuration,Condition", cluster.signing_request),
    "PodTemplate": ("Containers,Images,Pod Labels", workloads.pod_template),
    "ComponentStatus": ("Status,Message,Error", cluster.component),
    "PodMetrics": ("cpu,memory,window", cluster.pod_metrics),
    "NodeMetrics": ("cpu,memory,window", cluster.node_metrics),
    "Scale": ("Desired,Available,Age", cluster.scale),
}  # fmt: skip
