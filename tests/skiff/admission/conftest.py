"""A registry with everything that admission does, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from skiff.admission import plugins
from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import NAMESPACES, SERVICE_ACCOUNTS
from skiff.schema import pack
from skiff.store.store import Store

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="session")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> pack.Definitions:
    return pack.load(Path(tmp_path_factory.mktemp("schemas")) / "schemas.json.gz")


class Served(Registry):
    """A registry with the namespace ``default``; ``run`` waits for one of its answers."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def made(self, kind: Any, obj: dict[str, Any], namespace: str = "default") -> Any:
        """What is stored of a new object."""
        return self.run(self.create(kind, namespace if kind.namespaced else "", obj))

    def put(self, kind: Any, obj: dict[str, Any], **options: Any) -> Any:
        """What is stored of a changed one."""
        metadata = obj["metadata"]
        return self.run(self.update(kind, metadata.get("namespace", ""), metadata["name"], obj, **options))

    def refused(self, call: Callable[[], Any]) -> ApiError:
        """What is said against it."""
        with pytest.raises(ApiError) as said:
            call()
        return said.value

    def namespace(self, name: str, **labels: str) -> str:
        """A new one, with its account."""
        said = {it.replace("__", "/").replace("_", "-"): text for it, text in labels.items()}
        self.made(NAMESPACES, {"metadata": {"name": name, "labels": said}})
        self.made(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, name)
        return name


@pytest.fixture
def served(definitions: pack.Definitions) -> Served:
    made = Served(Store(), schemas=pack.Schemas(definitions))
    CustomKinds(made)
    made.admission = plugins.chain(made)
    made.namespace("default")
    return made
