"""What becomes of objects on their way to facts."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

from lateen.api.crds import DEFINITIONS
from lateen.api.decode import KINDS, STORED
from lateen.api.mesh_config import MeshConfig
from lateen.api.validate.finding import Finding
from lateen.discovery import source
from lateen.discovery.source import FOLLOWED, REFUSALS, TOLD, Table
from lateen.incremental import Change
from lateen.kube.client import KubeClient, KubeError, path_of
from lateen.kube.config import Connection
from lateen.names.keys import ObjectKey
from lateen.names.problems import Severity
from lateen.registry.facts import INDEXES, Proxy
from lateen.testing.objects import document

VS = {
    "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a", "namespace": "default"},
    "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
}  # fmt: skip
BROKEN = {**VS, "spec": {"hosts": "a"}}


def test_every_table_that_is_searched_is_followed() -> None:
    """A kind that some query reads and nobody follows would be honoured in tests only."""
    followed = {(version.rpartition("/")[0], plural) for version, plural in FOLLOWED}
    for (group, kind), table in KINDS.items():
        if table in {it.table for it in INDEXES} - {Proxy, MeshConfig}:
            api_version = f"{group}/v1" if group else "v1"
            path = path_of({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}, named=False)
            assert (group, path.rpartition("/")[2]) in followed, f"{kind} is not in FOLLOWED"


@pytest.mark.finding("newcomer D.2.13")
@pytest.mark.finding("mesh N1")
def test_every_kind_that_is_stored_is_followed_to_be_told() -> None:
    for group, kind in STORED:
        path = path_of({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}}, named=False)
        [version] = [
            version for version, plural in TOLD
            if (version.partition("/")[0], plural) == (group, path.rpartition("/")[2])
        ]  # fmt: skip
        assert version.partition("/")[2] in next(it.versions for it in DEFINITIONS if it.kind == kind)


@pytest.mark.finding("newcomer D.2.13")
def test_a_kind_that_is_stored_only_is_a_problem_while_it_is_there() -> None:
    it = Settings()
    assert ("security.istio.io/v1", "authorizationpolicies") not in it.source.tables
    table = it.source._told["security.istio.io/v1", "authorizationpolicies"]
    table.on_list([document("AuthorizationPolicy")])
    [[problem]] = it.source.problems.values()
    assert "NOT restricted" in problem.message
    assert it.changes == []
    table.on_event("DELETED", document("AuthorizationPolicy"))
    assert it.source.problems == {}


class World:
    """A table and what it put."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.problems: source.Problems = {}
        self.table = Table("virtualservices", self.changes.extend, self.problems)

    def said(self) -> list[tuple[str, bool]]:
        found = [(it.key.name, it.value is not None) for it in self.changes]  # type: ignore[attr-defined]
        self.changes.clear()
        return found


def named(name: str, obj: dict[str, Any] = VS) -> dict[str, Any]:
    return {**obj, "metadata": {"name": name, "namespace": "default"}}


def test_a_typo_keeps_the_last_good_version_and_is_mended_later() -> None:
    it = World()
    it.table.on_list([VS])
    assert it.said() == [("a", True)]
    it.table.on_event("MODIFIED", BROKEN)
    assert it.said() == []
    assert [str(problem) for (problem,) in it.problems.values()] == [
        "VirtualService default/a: spec.hosts: must be a list, not a string"
    ]
    it.table.on_event("MODIFIED", VS)
    assert (it.said(), it.problems) == ([("a", True)], {})


def test_what_is_broken_from_the_start_is_left_out_until_it_is_deleted() -> None:
    it = World()
    it.table.on_list([BROKEN, named("b")])
    assert it.said() == [("b", True)]
    assert list(it.problems) == [("virtualservices", ObjectKey("default", "a"))]
    it.table.on_event("DELETED", BROKEN)
    assert (it.said(), it.problems) == ([], {})


def test_a_field_that_nobody_knows_does_not_take_the_others_down() -> None:
    it = World()
    strange = named("a", {**VS, "spec": {**VS["spec"], "timeOut": "1s"}})  # type: ignore[dict-item]
    it.table.on_list([strange])
    assert it.said() == [("a", True)]
    [[problem]] = it.problems.values()
    assert (problem.path, problem.severity) == ("spec.timeOut", Severity.WARNING)
    # Beside something that cannot be, it is not what is told; and two choices where one is meant are no field too many.
    it.table.on_event("MODIFIED", {**strange, "spec": {**strange["spec"], "hosts": "a"}})
    assert (it.said(), [one.path for (one,) in it.problems.values()]) == ([], ["spec.hosts"])
    both = {"exact": "/a", "prefix": "/b"}
    route = {"match": [{"uri": both}], "route": VS["spec"]["http"][0]["route"]}  # type: ignore[index]
    it.table.on_event("ADDED", named("b", {**VS, "spec": {"hosts": ["b"], "http": [route]}}))
    assert it.said() == []
    it.table.on_event("MODIFIED", VS)
    assert list(it.problems) == [("virtualservices", ObjectKey("default", "b"))]


def test_a_list_takes_away_what_is_not_in_it_and_its_problems() -> None:
    it = World()
    it.table.on_list([VS, named("b"), named("c", BROKEN)])
    it.said()
    it.table.on_list([named("b")])
    assert it.said() == [("a", False), ("b", True)]
    assert it.problems == {}


def test_a_kind_that_is_not_there_is_empty_after_a_while_and_keeps_what_it_had() -> None:
    it, absent = World(), KubeError(404, "NotFound", "no such kind")
    for _ in range(REFUSALS):
        assert not it.table.listed.is_set()
        it.table.on_refused(absent)
    assert it.table.listed.is_set()
    it.table.on_list([VS])
    it.said()
    for _ in range(REFUSALS * 2):
        it.table.on_refused(absent)  # the API server restarts, and knows custom kinds only a moment later
    assert it.said() == []


def test_nonsense_of_any_shape_is_a_problem_and_no_crash() -> None:
    it = World()
    nonsense: list[Any] = [
        None,
        7,
        "x",
        [],
        {"http": 7},
        {"hosts": [None]},
        {"http": [{"route": [{"weight": "x"}]}]},
    ]
    it.table.on_list([named(f"n{n}", {**VS, "spec": spec}) for n, spec in enumerate(nonsense)])
    assert it.table.listed.is_set()


def test_what_has_no_effect_is_told_and_the_object_used() -> None:
    it = World()
    idle = {"tls": [{"match": [{"sniHosts": ["a"]}], "route": [{"destination": {"host": "a"}}]}]}
    it.table.on_list([named("a", {**VS, "spec": {**VS["spec"], **idle}})])  # type: ignore[dict-item]
    assert it.said() == [("a", True)]
    [told] = it.problems.values()
    assert [(one.path, one.severity) for one in told] == [("spec.tls[0]", Severity.WARNING)]
    it.table.on_event("MODIFIED", VS)
    assert it.problems == {}


class Settings:
    """A source that hears of ConfigMaps only."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.source = source.Source(
            KubeClient(Connection("http://127.0.0.1:1", None)),
            self.changes.extend,
            namespace="istio-system",
            config_map="istio",
        )

    def say(self, text: str | None, *, first: bool = False) -> list[MeshConfig]:
        """The settings that hold now, if they are others."""
        self.changes.clear()
        data = {} if text is None else {"mesh": text}
        obj = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": data}
        if first:
            self.source._maps_listed([obj])
        else:
            self.source._map_changed("DELETED" if text is None else "MODIFIED", obj)
        return [it.value for it in self.changes if isinstance(it.value, MeshConfig)]

    @property
    def told(self) -> list[str]:
        return [one.path for it in self.source.problems.values() for one in it]

    @property
    def configured(self) -> bool:
        return "configmaps" not in self.source.awaited()


STRICT = "{trustDomain: corp, outboundTrafficPolicy: {mode: REGISTRY_ONLY}"


@pytest.mark.finding("architecture 5")
def test_broken_settings_at_the_start_configure_nothing_until_they_can_be_read() -> None:
    it = Settings()
    for broken in (f"{STRICT}", "{trustDomain: corp, outboundTrafficPolicy: {mode: REGISTRY}}"):
        assert it.say(broken, first=True) == []
        assert not it.configured
        assert it.told
    [found] = it.say(STRICT + "}")
    assert (found.trust_domain, found.outbound_traffic_policy.mode) == ("corp", "REGISTRY_ONLY")
    assert it.configured
    assert it.told == []


@pytest.mark.finding("architecture 5")
@pytest.mark.finding("conformance F7")
def test_broken_settings_keep_the_last_ones_field_by_field() -> None:
    it = Settings()
    it.say(STRICT + "}", first=True)
    assert it.say(f"{STRICT}, : :") == []
    [found] = it.say("{trustDomain: 7, outboundTrafficPolicy: {mode: REGISTRY}, accessLogFile: /dev/stdout}")
    assert (found.trust_domain, found.outbound_traffic_policy.mode) == ("corp", "REGISTRY_ONLY")
    assert found.access_log_file == "/dev/stdout"
    assert it.told == ["data.mesh: trustDomain", "data.mesh: outboundTrafficPolicy.mode"]
    assert it.say(None) == []  # deleted
    assert it.told == ["data.mesh"]


@pytest.mark.finding("conformance F6")
def test_those_who_read_other_config_maps_are_told_of_every_change_and_what_they_say_is_a_problem() -> None:
    it = Settings()
    seen: list[Any] = []

    def reader(data: Any) -> list[Finding]:
        seen.append(data)
        return [Finding("data.values: a", "is wrong")] if data else []

    it.source.readers["injector"] = reader
    one = {"metadata": {"name": "injector", "namespace": "istio-system"}, "data": {"values": "x"}}
    it.source._maps_listed([one])
    assert it.told == ["data.values: a"]
    it.say("{}")
    it.source._map_changed("DELETED", one)
    assert it.told == []
    it.source._map_changed("ADDED", one)
    assert seen == [{"values": "x"}, None, {"values": "x"}]
    assert it.told == ["data.values: a"]


@pytest.mark.finding("security 2")
async def test_a_long_list_lets_others_have_their_turn() -> None:
    """What is stored is read again at a restart: nobody waits until all of it is. Time is the processor's."""
    it, waits, taking = World(), [0.0], True

    async def others() -> None:
        while taking:
            begun = time.process_time()
            await asyncio.sleep(0)
            waits.append(time.process_time() - begun)

    objects = [named(f"n{number}") for number in range(5000)]
    gc.disable()  # Python's collector looks at all that other tests hold, in one piece
    try:
        beside = asyncio.ensure_future(others())
        begun = time.process_time()
        await it.table.take(objects)
        total, taking = time.process_time() - begun, False
        await beside
    finally:
        gc.enable()
    assert len(it.said()) == 5000
    assert max(waits) < total / 4, f"{max(waits):.2f} s of {total:.2f} s"


@pytest.mark.finding("redteam 7: each event looks at every problem of the mesh again")
def test_an_event_costs_the_same_however_many_problems_there_are() -> None:
    class Problems(dict[Any, Any]):
        def items(self) -> Any:
            raise AssertionError("all problems are looked at for one event")

    known: Any = Problems()
    table = Table("virtualservices", lambda _: None, known)
    broken = named("a", {**VS, "spec": {"hosts": []}})
    for it in (broken, named("b", broken), broken):
        table.on_event("MODIFIED", it)
    assert len(known) == table._errors == 2
    table.on_event("DELETED", broken)
    table.on_event("MODIFIED", named("b"))
    assert len(known) == table._errors == 0
