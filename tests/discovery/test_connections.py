"""One proxy's connection, and what it may cost."""

from __future__ import annotations

import pytest

from lateen.discovery.connections import MOST_UNREAD, Budget, Connection, delta
from lateen.envoy.codec import Asked
from lateen.envoy.resource import ENDPOINT, Resource
from lateen.names.keys import ProxyKey
from lateen.registry.facts import Proxy
from lateen.xds.limits import GreedyError


def test_who_acknowledges_without_reading_is_found_out() -> None:
    it = Connection(delta(0.0), Proxy(ProxyKey("sidecar~1~a.b~c"), "sidecar", "1", "b", "a"), Budget())
    it.offer({ENDPOINT: {"one": Resource("one", "1", b"body")}})
    asked = frozenset({"one"})
    for guessed in range(MOST_UNREAD):
        it.heard(Asked(ENDPOINT, subscribe=asked, nonce=str(guessed)))
    assert it.outbox.qsize() == MOST_UNREAD
    with pytest.raises(GreedyError, match="without reading"):
        it.heard(Asked(ENDPOINT, subscribe=asked, nonce=str(MOST_UNREAD)))
