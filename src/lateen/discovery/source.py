"""What did users write? Every followed kind of Kubernetes becomes changes of facts; what is broken is left out and told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from lateen.api import mesh_config, reading
from lateen.api.decode import decode
from lateen.api.meta import Fact
from lateen.api.validate import validate
from lateen.api.validate.finding import Finding
from lateen.incremental import Change
from lateen.kube.client import KubeClient, KubeError, Object
from lateen.kube.watch import Ears, Followed, follow
from lateen.names.keys import ObjectKey
from lateen.names.problems import Problem, Severity
from lateen.observe import metrics
from lateen.policy import unsupported
from lateen.registry.facts import ONLY

_log = structlog.get_logger("lateen.discovery")

#: (apiVersion, plural) of what views are made of.
FOLLOWED = (
    ("v1", "namespaces"), ("v1", "services"), ("v1", "pods"), ("discovery.k8s.io/v1", "endpointslices"),
    ("networking.istio.io/v1", "virtualservices"), ("networking.istio.io/v1", "destinationrules"),
    ("networking.istio.io/v1", "gateways"), ("security.istio.io/v1", "peerauthentications"),
)  # fmt: skip

#: Kinds that are stored only: no view waits for them or is made of them. They are followed to tell that they are idle.
TOLD = (
    ("networking.istio.io/v1", "serviceentries"), ("networking.istio.io/v1", "sidecars"),
    ("networking.istio.io/v1", "workloadentries"), ("networking.istio.io/v1", "workloadgroups"),
    ("networking.istio.io/v1alpha3", "envoyfilters"), ("networking.istio.io/v1beta1", "proxyconfigs"),
    ("security.istio.io/v1", "authorizationpolicies"), ("security.istio.io/v1", "requestauthentications"),
    ("telemetry.istio.io/v1", "telemetries"), ("extensions.istio.io/v1alpha1", "wasmplugins"),
    ("extensions.istio.io/v1alpha1", "trafficextensions"),
)  # fmt: skip

#: Without these a picture is no picture: a proxy would lose what it has. Of the others there may be none.
ESSENTIAL = frozenset({"namespaces", "services", "pods", "endpointslices"})
#: A kind that we held objects of is gone when it is not there for so long: a restarting API server forgets for a moment.
GONE_AFTER_S = 60.0
_TOLD = {
    Severity.ERROR: "an object is left out until it is fixed",
    Severity.WARNING: "an object is used without what has no effect",
}
#: So often a kind may be refused before the others go on without it: definitions and roles take a moment to be made.
REFUSALS = 5

#: So long a list of objects holds the loop before others have their turn.
_TURN_S = 0.02

Put = Callable[[Iterable[Change]], None]
#: The data of a ConfigMap, or None when it is not there -> what is wrong in it; paths begin with ``data``.
Reader = Callable[[Mapping[str, str] | None], Iterable[Finding]]
#: What is wrong with an object, the worst first; an object that is as it should be is not in it.
Problems = dict[tuple[str, ObjectKey], tuple[Problem, ...]]


class Table:
    """One kind: what we hold of it, and what is wrong with the rest.

    An object that becomes invalid keeps its last good version in force: a typo takes nothing down.
    """

    def __init__(self, plural: str, put: Put, problems: Problems) -> None:
        self._plural, self._put, self._problems = plural, put, problems
        self._held: dict[ObjectKey, type] = {}
        self._errors = (
            0  # among the problems of this kind: counted as they come and go, for there may be many
        )
        self._absent_since: float | None = None
        self._refusals = 0
        self.unreadable = ""  # why Kubernetes does not let us list it
        self.listed = asyncio.Event()

    def on_list(self, objects: list[Object]) -> None:
        """Everything there is; what we hold beyond it is gone."""
        self._all([it for one in objects if (it := self._change(one))], {_key(it) for it in objects})

    async def take(self, objects: list[Object]) -> None:
        """As ``on_list``, of lists of any length: others have their turn between two objects."""
        changes: list[Change] = []
        begun = time.monotonic()
        for it in objects:
            if change := self._change(it):
                changes.append(change)
            if time.monotonic() - begun > _TURN_S:
                await asyncio.sleep(0)
                begun = time.monotonic()
        self._all(changes, {_key(it) for it in objects})

    def _all(self, changes: list[Change], present: set[ObjectKey]) -> None:
        self._readable()
        gone = [Change(self._held.pop(key), key, None) for key in list(self._held) if key not in present]
        for plural, key in list(self._problems):
            if plural == self._plural and key not in present:
                self._know(key, ())
        self._put([*gone, *changes])
        self._count()
        self.listed.set()

    def on_event(self, kind: str, obj: Object) -> None:
        """One change."""
        metrics.KUBERNETES_EVENTS.labels(self._plural, kind.lower()).inc()
        key = _key(obj)
        if kind == "DELETED":
            self._know(key, ())
            if table := self._held.pop(key, None):
                self._put([Change(table, key, None)])
        elif change := self._change(obj):
            self._put([change])
        self._count()

    def on_refused(self, refused: KubeError) -> None:
        """Kubernetes has no such kind (404), or does not let us read it (403): the others go on, if they can."""
        now = time.monotonic()
        self._refusals += 1
        if refused.code == 404 and self._plural not in ESSENTIAL:
            self._absent_since = self._absent_since or now
            patient = now - self._absent_since > GONE_AFTER_S if self._held else self._refusals >= REFUSALS
            if patient:
                self.on_list([])
            return
        if self.unreadable != str(refused):
            _log.warning("a kind cannot be read and is left out", kind=self._plural, reason=str(refused))
        self.unreadable = str(refused)
        metrics.UNREADABLE.labels(self._plural).set(1)
        if self._refusals >= REFUSALS and self._plural not in ESSENTIAL:
            self.listed.set()

    def _readable(self) -> None:
        self._absent_since, self._refusals, self.unreadable = None, 0, ""
        metrics.UNREADABLE.labels(self._plural).set(0)

    def _change(self, obj: Object) -> Change | None:
        key = _key(obj)
        found, problems = _fact(obj, key)
        before = self._know(key, problems)
        for it in problems:
            if it not in before:
                _log.warning(_TOLD[it.severity], problem=str(it), kept=key in self._held)
        if found is None:
            return None
        self._held[key] = type(found)
        return Change(type(found), key, found)

    def _know(self, key: ObjectKey, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        """What is wrong with an object from now on; returns what was."""
        before = self._problems.pop((self._plural, key), ())
        if problems:
            self._problems[self._plural, key] = problems
        self._errors += _errors(problems) - _errors(before)
        return before

    def _count(self) -> None:
        metrics.PROBLEMS.labels(self._plural).set(self._errors)


def _errors(problems: Iterable[Problem]) -> int:
    return sum(it.severity is Severity.ERROR for it in problems)


class Source:
    """All followed kinds, and the mesh's settings."""

    def __init__(self, client: KubeClient, put: Put, *, namespace: str, config_map: str) -> None:
        self._client, self._put = client, put
        self._namespace, self._config_map = namespace, config_map
        self.problems: Problems = {}
        self.tables = {kind: Table(kind[1], put, self.problems) for kind in FOLLOWED}
        self._told = {kind: Table(kind[1], _nowhere, self.problems) for kind in TOLD}
        self._configured = asyncio.Event()
        #: None until it could be read once.
        self.mesh: mesh_config.MeshConfig | None = None
        #: The data of all ConfigMaps of the mesh's namespace, for those who read settings of their own.
        self.config_maps: dict[str, Mapping[str, str]] = {}
        #: Those, by the name of their ConfigMap; they answer with what is wrong in it.
        self.readers: dict[str, Reader] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for (api_version, plural), table in {**self.tables, **self._told}.items():
                ears = Ears(table.take, table.on_event, table.on_refused)
                tasks.create_task(follow(self._client, Followed(api_version, plural), ears))
            maps = Followed("v1", "configmaps", self._namespace)
            tasks.create_task(follow(self._client, maps, Ears(self._maps_listed, self._map_changed)))

    async def synced(self) -> None:
        """Everything was listed once, or is known to be not for us."""
        await asyncio.gather(*(it.listed.wait() for it in self.tables.values()), self._configured.wait())

    def awaited(self) -> list[str]:
        """The kinds that were not listed yet."""
        kinds = [plural for (_, plural), it in self.tables.items() if not it.listed.is_set()]
        return kinds if self._configured.is_set() else [*kinds, "configmaps"]

    def unreadable(self) -> dict[str, str]:
        """Kinds that Kubernetes does not let us list, and its words."""
        return {plural: it.unreadable for (_, plural), it in self.tables.items() if it.unreadable}

    def _maps_listed(self, objects: list[Object]) -> None:
        self.config_maps = {reading.name(it): reading.texts(it, "data") for it in objects}
        self._configure()
        for name, reader in self.readers.items():
            self._tell(name, reader(self.config_maps.get(name)))

    def _map_changed(self, kind: str, obj: Object) -> None:
        name = reading.name(obj)
        if kind == "DELETED":
            self.config_maps.pop(name, None)
        else:
            self.config_maps[name] = reading.texts(obj, "data")
        if name == self._config_map:
            self._configure()
        elif name in self.readers:
            self._tell(name, self.readers[name](self.config_maps.get(name)))

    def _configure(self) -> None:
        """The settings as they are now. Before they could be read once, nothing is configured: see ``mesh_config.read``."""
        text = self.config_maps.get(self._config_map, {}).get("mesh")
        found, told = mesh_config.read(text or "", self.mesh)
        if text is None and self.mesh is not None:
            found, told = self.mesh, (Finding("", "is gone: the mesh keeps its last settings"),)
        self._tell(
            self._config_map,
            [it._replace(path=f"data.mesh: {it.path}" if it.path else "data.mesh") for it in told],
        )
        if found is None:
            _log.error(
                "not configured until the settings of the mesh can be read", config_map=self._config_map
            )
            return
        self._configured.set()
        if found != self.mesh:
            self.mesh = found
            self._put([Change(mesh_config.MeshConfig, ONLY, found)])

    def _tell(self, name: str, told: Iterable[Finding]) -> None:
        """What is wrong with a ConfigMap from now on."""
        key = ("configmaps", ObjectKey(self._namespace, name))
        before = self.problems.pop(key, ())
        problems = tuple(Problem("ConfigMap", *key[1], it.path, it.message, it.severity) for it in told)
        if problems:
            self.problems[key] = problems
        for it in problems:
            if it not in before:
                _log.warning("a setting of the mesh", problem=str(it), severity=it.severity.value)


def _nowhere(_: Iterable[Change]) -> None:
    """What becomes of facts that no query reads."""


def _fact(obj: Object, key: ObjectKey) -> tuple[Fact | None, tuple[Problem, ...]]:
    """What an object says, and what is wrong with it: the first thing that admission refuses, and all without effect.

    Admission may be switched off, or was when the object came, and fields of other versions of Istio's API may be known
    to the API server: as in Istio, a field that nobody knows does not take the others down.
    """
    try:
        if str(obj.get("apiVersion", "")).partition("/")[0].endswith("istio.io"):
            refused = _first(validate(obj), Severity.ERROR)
            if refused and (wrong := _first(validate(obj, strict=False), Severity.ERROR)):
                return None, (wrong,)
        else:
            refused = None
        found = decode(obj)
        idle = () if isinstance(found, Problem) else tuple(unsupported.in_object(found))
    except Exception as bug:  # noqa: BLE001  # one object must not take the others down
        metrics.INTERNAL_ERRORS.inc()
        _log.exception("an object could not be read: a bug", kind=obj.get("kind"), name=str(key))
        return None, (Problem(str(obj.get("kind")), *key, "", f"could not be read: {bug!r}"),)
    if isinstance(found, Problem):
        return None, (found,)
    unknown = (refused._replace(severity=Severity.WARNING),) if refused else ()
    return found, (*unknown, *idle)


def _first(problems: Iterable[Problem], severity: Severity) -> Problem | None:
    return next((it for it in problems if it.severity is severity), None)


def _key(obj: Object) -> ObjectKey:
    return ObjectKey(reading.namespace(obj), reading.name(obj))
