"""Views of random meshes: incremental equals fresh, order does not matter, streams converge, Envoy accepts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lateen.compile.view import view
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ORDER, ROUTE, TypeUrl, View
from lateen.incremental import Change, Database
from lateen.names.keys import ProxyKey
from lateen.pki.certificates import key_pem, leaf, pem, self_signed
from lateen.registry.facts import new_database
from lateen.testing.static import statically
from lateen.testing.worlds import KEYS, PROXIES, batches, histories
from lateen.xds.stream import DeltaStream, Request, Response

#: PROPERTIES=deep searches long; the default finds what is broken today.
DEEP = os.environ.get("PROPERTIES") == "deep"
searched = settings(
    max_examples=1500 if DEEP else 60, deadline=None, derandomize=not DEEP,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


def bytes_of(found: View) -> dict[tuple[TypeUrl, str], tuple[str, bytes]]:
    return {
        (kind, name): (it.version, it.body) for kind, named in found.items() for name, it in named.items()
    }


def fresh(changes: list[Change]) -> Database:
    db = new_database()
    db.apply([*PROXIES, *changes])
    return db


@searched
@given(histories)
def test_incremental_equals_fresh(history: list[list[Change]]) -> None:
    db = fresh([])
    watches = [db.watch(view, it) for it in KEYS]
    last = [bytes_of(it.value) for it in watches]
    told: list[Change] = []
    for batch in history:
        due = db.apply(batch)
        told += batch
        anew = fresh(told)
        for at, watch in enumerate(watches):
            now = bytes_of(watch.value)
            assert now == bytes_of(view(anew, KEYS[at]))
            assert watch in due or now == last[at], "a view changed and nobody was told"
            last[at] = now


@searched
@given(batches, batches, st.randoms(use_true_random=False))
def test_the_order_of_objects_does_not_matter(
    first: list[Change], second: list[Change], chance: random.Random
) -> None:
    objects = list({(it.table, it.key): it for it in (*first, *second)}.values())
    shuffled = chance.sample(objects, len(objects))
    one, other = fresh(objects), fresh([])
    for it in shuffled:
        other.apply([it])
    for key in KEYS:
        assert bytes_of(view(one, key)) == bytes_of(view(other, key))


class Client:
    """An Envoy as far as the protocol sees it: it subscribes to what it was told to use, and remembers what it got."""

    def __init__(self, stream: DeltaStream) -> None:
        self._stream = stream
        self.has: dict[TypeUrl, dict[str, bytes]] = {
            kind: {} for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE)
        }
        #: What it asked for by name. Whatever else arrives, because it was on its way, an Envoy ignores.
        self._wants: dict[TypeUrl, frozenset[str]] = {ENDPOINT: frozenset(), ROUTE: frozenset()}
        self._waiting: list[Response] = []
        for kind in (CLUSTER, LISTENER):
            self._waiting += stream.receive(Request(kind), 0.0)

    def offered(self, found: View, chance: random.Random) -> None:
        """A new view comes, while some answers are still on their way."""
        self._waiting += self._stream.offer(found, 0.0)
        while self._waiting and chance.random() < 0.8:
            self._take(found, chance)

    def settle(self, found: View, chance: random.Random) -> None:
        """Take everything that is left."""
        for _ in range(10_000):
            if not self._waiting:
                return
            self._take(found, chance)
        raise AssertionError("the conversation does not end")

    def _take(self, found: View, chance: random.Random) -> None:
        it = self._waiting.pop(chance.randrange(len(self._waiting)))
        wanted = self._wants.get(it.type_url)
        self.has[it.type_url] |= {
            one.name: one.body for one in it.resources if wanted is None or one.name in wanted
        }
        for name in it.removed:
            self.has[it.type_url].pop(name, None)
        self._waiting += self._stream.receive(Request(it.type_url, nonce=it.nonce), 0.0)
        named = {CLUSTER: ENDPOINT, LISTENER: ROUTE}.get(it.type_url)
        if named:
            # Every name that may be asked for is asked for: a cluster's endpoints, a listener's routes.
            names = frozenset(found[named]) if named is ROUTE else frozenset(one.name for one in it.resources)
            self._wants[named] |= names
            self._waiting += self._stream.receive(Request(named, subscribe=names or frozenset({"none"})), 0.0)
            gone = frozenset(it.removed) if named is ENDPOINT else frozenset()
            if gone:
                self._wants[named] -= gone
                self._waiting += self._stream.receive(Request(named, unsubscribe=gone), 0.0)
                for name in gone:
                    self.has[named].pop(name, None)


@searched
@given(histories, st.sampled_from(KEYS), st.randoms(use_true_random=False))
def test_a_delta_stream_converges(history: list[list[Change]], key: ProxyKey, chance: random.Random) -> None:
    db, stream = fresh([]), DeltaStream()
    watch = db.watch(view, key)
    client = Client(stream)
    client.offered(watch.value, chance)
    for batch in history:
        if watch in db.apply(batch):
            client.offered(watch.value, chance)
    client.settle(watch.value, chance)
    final = watch.value
    for kind in (CLUSTER, LISTENER):
        assert client.has[kind] == {name: it.body for name, it in final[kind].items()}
    for name, body in client.has[ENDPOINT].items():
        assert name in final[ENDPOINT]
        assert body == final[ENDPOINT][name].body
    assert client.has[ENDPOINT].keys() == final[ENDPOINT].keys()
    assert all(it.synced for it in stream.standings().values())
    assert ORDER


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, now = tmp_path_factory.mktemp("sds"), datetime.now(UTC)
    issuer = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "test", serial=1, now=now, ttl=timedelta(days=1)
    )
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/x")
    own = leaf(issuer, key.public_key(), [uri], serial=2, now=now, ttl=timedelta(hours=1))
    pair = {
        "certificate_chain": {"inline_string": pem(own).decode()},
        "private_key": {"inline_string": key_pem(key).decode()},
    }
    trusted = {"trusted_ca": {"inline_string": pem(issuer.certificate).decode()}}
    (folder / "ca.pem").write_bytes(pem(issuer.certificate))
    for name, content in (
        ("default", {"tls_certificate": pair}),
        ("ROOTCA", {"validation_context": trusted}),
    ):
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        (folder / f"{name}.json").write_text(
            json.dumps({"resources": [{"@type": kind, "name": name, **content}]})
        )
    return folder


def test_envoy_accepts_views_of_random_meshes(secrets: Path) -> None:
    tried: set[bytes] = set()

    @settings(max_examples=200 if DEEP else 25, deadline=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(histories, st.sampled_from(KEYS))
    def accepted(history: list[list[Change]], key: ProxyKey) -> None:
        found = view(fresh([it for batch in history for it in batch]), key)
        text = json.dumps(statically(found)).replace("/etc/istio/proxy/sds", str(secrets))
        text = text.replace("/etc/ssl/certs/ca-certificates.crt", str(secrets / "ca.pem"))
        if (content := text.encode()) in tried:
            return
        tried.add(content)
        (secrets / "envoy.json").write_bytes(content)
        envoy = Path(sys.executable).parent / "envoy"
        done = subprocess.run(
            [envoy, "--mode", "validate", "-c", secrets / "envoy.json", "--log-level", "error"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]

    accepted()
