"""Conversations with one proxy as plays: one line is one turn, and what must be said to it stands below."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, TypeUrl
from lateen.xds.stream import DeltaStream, Request, Response

KINDS = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE}


class Play:
    """``mesh cds/a@1`` offers a view, ``proxy cds wants a`` speaks, ``later 5`` lets seconds pass."""

    def __init__(self, linger_s: float = 0.0) -> None:
        self.stream = DeltaStream(linger_s)
        self.now = 0.0

    def turn(self, line: str) -> Iterable[Response]:
        """What is said to one line."""
        who, *words = line.split()
        if who == "later":
            self.now += float(words[0])
            return self.stream.wake(self.now)
        if who == "mesh":
            view: dict[TypeUrl, dict[str, Resource]] = {}
            for word in words:
                kind, name, version = re.split("[/@]", word)
                view.setdefault(KINDS[kind], {})[name] = Resource(name, version, b"")
            return self.stream.offer(view, self.now)
        kind, verb, *rest = words
        return self.stream.receive(_request(KINDS[kind], verb, rest), self.now)


def _request(url: TypeUrl, verb: str, rest: list[str]) -> Request:
    match verb:
        case "wants":
            return Request(url, subscribe=frozenset(rest))
        case "drops":
            return Request(url, unsubscribe=frozenset(rest))
        case "returns":
            return Request(url, initial_versions=dict(it.split("@") for it in rest))
        case "acks":
            return Request(url, nonce=rest[0])
        case "nacks":
            return Request(url, nonce=rest[0], error=" ".join(rest[1:]) or "no")
    raise AssertionError(verb)


def written(it: Response) -> str:
    """An answer as plays write it: ``-> cds #1 a@1 -b``."""
    kind = next(name for name, url in KINDS.items() if url == it.type_url)
    present = (f"{one.name}@{one.version}" for one in it.resources)
    return " ".join(["->", kind, f"#{it.nonce}", *present, *(f"-{one}" for one in it.removed)])


def play(script: str, *, linger_s: float = 0.0) -> DeltaStream:
    """Each line is one turn; ``->`` lines must come out, and nothing else."""
    it, said, expected = Play(linger_s), list[str](), list[str]()
    for line in filter(None, map(str.strip, script.splitlines())):
        if line.startswith("->"):
            expected.append(line)
            continue
        assert said == expected, f"before: {line}"
        said, expected = [written(one) for one in it.turn(line)], []
    assert said == expected
    return it.stream
