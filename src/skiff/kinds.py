"""Which kinds does the cluster serve? One table of the built-in ones; CRDs add theirs at run time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Column(NamedTuple):
    """One of ``additionalPrinterColumns``: what kubectl shows of a custom object."""

    name: str
    type: str
    path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One served resource: group, version, kind, plural and how it may be used."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = field(default_factory=frozenset)
    singular: str = ""
    custom: bool = False  # made by a CustomResourceDefinition
    columns: tuple[Column, ...] = ()  # of a custom one
    verbs: tuple[str, ...] = ()  # when not all of them are served
    warning: str = ""  # told to whoever uses this version
    scale: tuple[str, str, str] = (
        "",
        "",
        "",
    )  # of a custom one: paths of wanted and present replicas, and of the selector
    fields: tuple[str, ...] = ()  # of a custom one: by which more its objects are selected

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """``deployments.apps``; plain plural in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> tuple[str, str]:
        """All versions of a resource share one table."""
        return (self.group, self.plural)

    def __hash__(self) -> int:
        """Of what tells kinds apart: they are looked up at every step of a request."""
        return hash((self.group, self.version, self.plural))

    def __str__(self) -> str:
        return f"{self.api_version}/{self.plural}"


def _kind(
    api: str, kind: str, plural: str, short: str = "", sub: str = "", *, ns: bool = True, all_: bool = False,
    categories: str = "", verbs: str = "", warning: str = "",
) -> Kind:  # fmt: skip
    group, _, version = api.rpartition("/")
    listed = ("all",) if all_ else tuple(categories.split())
    return Kind(
        group, version, kind, plural, ns, tuple(short.split()), listed, frozenset(sub.split()), kind.lower(),
        verbs=tuple(verbs.split()), warning=warning,
    )  # fmt: skip


NAMESPACES = _kind("v1", "Namespace", "namespaces", "ns", "status finalize", ns=False)
NODES = _kind("v1", "Node", "nodes", "no", "status proxy", ns=False)
PODS = _kind(
    "v1",
    "Pod",
    "pods",
    "po",
    "status log exec attach portforward eviction binding proxy ephemeralcontainers",
    all_=True,
)
SERVICES = _kind("v1", "Service", "services", "svc", "status proxy", all_=True)
ENDPOINTS = _kind(
    "v1", "Endpoints", "endpoints", "ep",
    warning="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
)  # fmt: skip
CONFIG_MAPS = _kind("v1", "ConfigMap", "configmaps", "cm")
SECRETS = _kind("v1", "Secret", "secrets")
SERVICE_ACCOUNTS = _kind("v1", "ServiceAccount", "serviceaccounts", "sa", "token")
EVENTS = _kind("v1", "Event", "events", "ev")
REPLICATION_CONTROLLERS = _kind(
    "v1", "ReplicationController", "replicationcontrollers", "rc", "status scale", all_=True
)
POD_TEMPLATES = _kind("v1", "PodTemplate", "podtemplates")
RESOURCE_QUOTAS = _kind("v1", "ResourceQuota", "resourcequotas", "quota", "status")
LIMIT_RANGES = _kind("v1", "LimitRange", "limitranges", "limits")
PERSISTENT_VOLUMES = _kind("v1", "PersistentVolume", "persistentvolumes", "pv", "status", ns=False)
PERSISTENT_VOLUME_CLAIMS = _kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "status")
DEPLOYMENTS = _kind("apps/v1", "Deployment", "deployments", "deploy", "status scale", all_=True)
REPLICA_SETS = _kind("apps/v1", "ReplicaSet", "replicasets", "rs", "status scale", all_=True)
STATEFUL_SETS = _kind("apps/v1", "StatefulSet", "statefulsets", "sts", "status scale", all_=True)
DAEMON_SETS = _kind("apps/v1", "DaemonSet", "daemonsets", "ds", "status", all_=True)
CONTROLLER_REVISIONS = _kind("apps/v1", "ControllerRevision", "controllerrevisions")
JOBS = _kind("batch/v1", "Job", "jobs", "", "status", all_=True)
CRON_JOBS = _kind("batch/v1", "CronJob", "cronjobs", "cj", "status", all_=True)
ENDPOINT_SLICES = _kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASES = _kind("coordination.k8s.io/v1", "Lease", "leases")
ROLES = _kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = _kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES = _kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", ns=False)
CLUSTER_ROLE_BINDINGS = _kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", ns=False
)
CUSTOM_RESOURCE_DEFINITIONS = _kind(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "crd crds",
    "status",
    ns=False,
    categories="api-extensions",
)
MUTATING_WEBHOOKS = _kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    ns=False,
    categories="api-extensions",
)
VALIDATING_WEBHOOKS = _kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    ns=False,
    categories="api-extensions",
)
VALIDATING_POLICIES = _kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    "",
    "status",
    ns=False,
)
VALIDATING_POLICY_BINDINGS = _kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    ns=False,
)
EVENTS_V1 = _kind("events.k8s.io/v1", "Event", "events", "ev")
INGRESSES = _kind("networking.k8s.io/v1", "Ingress", "ingresses", "ing", "status")
INGRESS_CLASSES = _kind("networking.k8s.io/v1", "IngressClass", "ingressclasses", ns=False)
NETWORK_POLICIES = _kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol")
POD_DISRUPTION_BUDGETS = _kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", "status")
HORIZONTAL_POD_AUTOSCALERS = _kind(
    "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "status", all_=True
)
PRIORITY_CLASSES = _kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", "pc", ns=False)
STORAGE_CLASSES = _kind("storage.k8s.io/v1", "StorageClass", "storageclasses", "sc", ns=False)
CERTIFICATE_SIGNING_REQUESTS = _kind(
    "certificates.k8s.io/v1", "CertificateSigningRequest", "certificatesigningrequests", "csr", "status approval", ns=False
)  # fmt: skip
# Worked out when asked for, never stored.
COMPONENT_STATUSES = _kind(
    "v1", "ComponentStatus", "componentstatuses", "cs", ns=False, verbs="get list",
    warning="v1 ComponentStatus is deprecated in v1.19+",
)  # fmt: skip
NODE_METRICS = _kind("metrics.k8s.io/v1beta1", "NodeMetrics", "nodes", ns=False, verbs="get list")
POD_METRICS = _kind("metrics.k8s.io/v1beta1", "PodMetrics", "pods", verbs="get list")
# Answered, never stored: the request is the object.
TOKEN_REVIEWS = _kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", ns=False)
SELF_SUBJECT_REVIEWS = _kind("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", ns=False)
SUBJECT_ACCESS_REVIEWS = _kind(
    "authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", ns=False
)
SELF_SUBJECT_ACCESS_REVIEWS = _kind(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", ns=False
)
LOCAL_SUBJECT_ACCESS_REVIEWS = _kind(
    "authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews"
)
SELF_SUBJECT_RULES_REVIEWS = _kind(
    "authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", ns=False
)

BUILT_IN: tuple[Kind, ...] = tuple(it for it in list(globals().values()) if isinstance(it, Kind))

#: Kinds that say how things are at this moment: nothing of them is stored, watched or written.
COMPUTED: frozenset[Kind] = frozenset({COMPONENT_STATUSES, NODE_METRICS, POD_METRICS})

#: Kinds whose POST is a question: nothing is stored.
REVIEWS: frozenset[Kind] = frozenset(
    {
        TOKEN_REVIEWS, SELF_SUBJECT_REVIEWS, SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_ACCESS_REVIEWS,
        LOCAL_SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_RULES_REVIEWS,
    }
)  # fmt: skip
