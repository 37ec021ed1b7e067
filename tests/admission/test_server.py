"""What the API server gets: exact reviews, plain refusals, and never a crash."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from lateen.admission.server import webhook_application
from lateen.injection.settings import InjectionSettings, SettingsError
from skiff.patch.json_patch import json_patch

Object = dict[str, Any]
POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "w"}]}}


class Hooks:
    """A running server and a client to it."""

    def __init__(self) -> None:
        self.settings: InjectionSettings | Exception = InjectionSettings()
        self.base = ""

    def current(self) -> InjectionSettings:
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with aiohttp.ClientSession() as session, session.post(self.base + path, data=data) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text

    async def ask(self, path: str, obj: Any, **more: Any) -> Object:
        status, answer = await self.post(path, review(obj, **more))
        assert status == 200, answer
        assert answer["apiVersion"] == "admission.k8s.io/v1"
        assert answer["kind"] == "AdmissionReview"
        assert answer["response"]["uid"] == "u-1"
        response: Object = answer["response"]
        return response


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    it = Hooks()
    runner = web.AppRunner(webhook_application(it.current))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield it
    await runner.cleanup()


def review(obj: Any, **more: Any) -> Object:
    request = {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "operation": "CREATE",
        "resource": {"group": "networking.istio.io", "version": "v1", "resource": "virtualservices"}, "object": obj, **more,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def patched(pod: Object, response: Object) -> Object:
    assert response["patchType"] == "JSONPatch"
    made: Object = json_patch(pod, json.loads(base64.b64decode(response["patch"])))
    return made


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


async def test_a_pod_gets_its_sidecar(hooks: Hooks) -> None:
    before = counted("sidecar_injection_success_total"), counted("sidecar_injection_requests_total")
    response = await hooks.ask("/inject", POD, dryRun=True)
    assert response["allowed"] is True
    made = patched(POD, response)
    assert [it["name"] for it in made["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]
    assert "shop" in json.dumps(made["spec"]["initContainers"][1]["env"])
    assert counted("sidecar_injection_success_total") == before[0] + 1
    assert counted("sidecar_injection_requests_total") == before[1] + 1


async def test_the_path_may_say_more_of_a_remote_cluster(hooks: Hooks) -> None:
    response = await hooks.ask("/inject/cluster/east/net/a--slash--b/isx/1", POD)
    proxy = patched(POD, response)["spec"]["initContainers"][1]
    told = {it["name"]: it.get("value") for it in proxy["env"]}
    assert (told["ISTIO_META_CLUSTER_ID"], told["ISTIO_META_NETWORK"], told["ISX"]) == ("east", "a/b", "1")


async def test_a_pod_that_says_no_is_left_alone(hooks: Hooks) -> None:
    before = counted("sidecar_injection_skip_total")
    pod = {**POD, "metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}
    assert await hooks.ask("/inject", pod) == {"uid": "u-1", "allowed": True}
    assert counted("sidecar_injection_skip_total") == before + 1


async def test_what_will_surprise_is_told(hooks: Hooks) -> None:
    pod = {"spec": {"containers": [{"name": "web", "securityContext": {"runAsUser": 1337}}]}}
    response = await hooks.ask("/inject", pod)
    assert response["allowed"] is True
    assert "runs as user 1337" in response["warnings"][0]


async def test_a_wrong_annotation_stops_the_pod(hooks: Hooks) -> None:
    before = counted("sidecar_injection_failure_total")
    pod = {**POD, "metadata": {"annotations": {"sidecar.istio.io/proxyCPU": "lots"}}}
    response = await hooks.ask("/inject", pod)
    assert response["allowed"] is False
    assert (response["status"]["code"], response["status"]["reason"]) == (400, "BadRequest")
    assert 'annotation sidecar.istio.io/proxyCPU: "lots"' in response["status"]["message"]
    assert "patch" not in response
    assert counted("sidecar_injection_failure_total") == before + 1


async def test_broken_settings_stop_pods_with_the_reason(hooks: Hooks) -> None:
    hooks.settings = SettingsError("ConfigMap istio: data.mesh cannot be read: x")
    response = await hooks.ask("/inject", POD)
    assert (response["allowed"], response["status"]["code"]) == (False, 500)
    assert "ConfigMap istio" in response["status"]["message"]


async def test_a_bug_is_not_an_answer(hooks: Hooks) -> None:
    """So that the API server does what failurePolicy says."""
    hooks.settings = RuntimeError("oops")
    status, text = await hooks.post("/inject", review(POD))
    assert status == 500
    assert "oops" in text


GOOD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""


async def test_a_good_object_passes(hooks: Hooks) -> None:
    labels = {"group": "networking.istio.io", "version": "v1", "resource": "virtualservices"}
    before = counted("galley_validation_passed_total", **labels)
    assert await hooks.ask("/validate", yaml.safe_load(GOOD)) == {"uid": "u-1", "allowed": True}
    assert counted("galley_validation_passed_total", **labels) == before + 1


@pytest.mark.finding("newcomer D.2.1")
async def test_a_bad_object_is_refused_with_paths(hooks: Hooks) -> None:
    bad = yaml.safe_load(GOOD)
    bad["spec"]["http"] = [{"route": [{"destination": {"host": "a b"}, "weight": -1}], "timeOut": "1s"}]
    response = await hooks.ask("/validate", bad, operation="UPDATE", oldObject=yaml.safe_load(GOOD))
    assert response["allowed"] is False
    said = response["status"]["message"]
    assert said.startswith("configuration is invalid: ")
    for path in (
        "spec.http[0].route[0].destination.host",
        "spec.http[0].route[0].weight",
        "spec.http[0].timeOut",
    ):
        assert f"{path}: " in said
    assert "did you mean timeout?" in said


async def test_warnings_do_not_refuse(hooks: Hooks) -> None:
    it = yaml.safe_load(GOOD)
    it["spec"]["http"] *= 2
    response = await hooks.ask("/validate", it)
    assert response["allowed"] is True
    assert response["warnings"] == [
        "spec.http[1]: is never reached: spec.http[0] has no match and takes all requests"
    ]


@pytest.mark.finding("newcomer D.2.13")
async def test_a_warning_about_a_whole_object_names_it(hooks: Hooks) -> None:
    it = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "deny"},
        "spec": {},
    }
    [said] = (await hooks.ask("/validate", it))["warnings"]
    assert re.match(r"AuthorizationPolicy \w+/deny: is stored, but has no effect", said)


async def test_the_namespace_of_the_request_is_the_objects(hooks: Hooks) -> None:
    it = yaml.safe_load(GOOD)
    del it["metadata"]["namespace"]
    it["spec"]["exportTo"] = [".", "shop"]
    assert (await hooks.ask("/validate", it))["allowed"] is False


@pytest.mark.parametrize("path", ["/inject", "/validate"])
async def test_a_deletion_is_allowed(hooks: Hooks, path: str) -> None:
    assert await hooks.ask(path, None, operation="DELETE", oldObject=POD) == {"uid": "u-1", "allowed": True}


async def test_what_is_being_deleted_need_not_be_right(hooks: Hooks) -> None:
    it = yaml.safe_load(GOOD)
    it["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    it["spec"] = {"hosts": 7}
    assert await hooks.ask("/validate", it, operation="UPDATE") == {"uid": "u-1", "allowed": True}


DEEP = b"[" * 200_000


@pytest.mark.parametrize("path", ["/inject", "/validate"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"{}", DEEP, b"\xff\xfe", b'{"request": null}', b'{"request": {}}',
        b'{"request": {"uid": 7}}', json.dumps({**review(POD), "kind": "Pod"}).encode(),
        json.dumps({**review(POD), "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
    ],
)  # fmt: skip
async def test_bad_bodies_are_400(hooks: Hooks, path: str, body: bytes) -> None:
    status, text = await hooks.post(path, body)
    assert status == 400
    assert text


async def test_too_much_is_refused(hooks: Hooks) -> None:
    status, _ = await hooks.post("/validate", b" " * (9 * 1024 * 1024))
    assert status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "containers", "name", "labels", "kind"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


def test_whatever_the_object_is_there_is_an_answer() -> None:
    @given(JSON, st.sampled_from(["/inject", "/validate"]))
    @settings(max_examples=150, deadline=None)
    def check(obj: Any, path: str) -> None:
        assert isinstance(loop.run_until_complete(it.ask(path, obj))["allowed"], bool)

    it, loop = Hooks(), asyncio.new_event_loop()
    runner = web.AppRunner(webhook_application(it.current))
    try:
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        it.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        check()
    finally:
        loop.run_until_complete(runner.cleanup())
        loop.close()
