"""Four writers and two watchers who remember what they were told, through any number of kills.

    writers.py SERVER FOLDER-WITH-KEYS SEED

They work until a line comes on stdin; then what they were told is compared with what is there, and a JSON document says what
does not agree. Nothing of skiff is imported here: they are clients.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp

PATH = "/api/v1/namespaces/default/configmaps"
Told = dict[str, Any]


class Memory:
    """What all of them were told."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.acknowledged = self.unknown = self.events = self.lists = self.reads = 0
        self._versions: dict[str, str] = {}  # resourceVersion -> what it was said to be

    def seen(self, obj: Told, who: str) -> None:
        """A resourceVersion means one state of one object, for ever."""
        metadata = obj["metadata"]
        what = json.dumps([metadata["name"], metadata["uid"], obj.get("data")])
        if self._versions.setdefault(metadata["resourceVersion"], what) != what:
            self.wrong.append(
                f"{who}: {metadata['resourceVersion']} is {what}, and was {self._versions[metadata['resourceVersion']]}"
            )


class Writer:
    """Changes objects of its own, one request after the other, so it knows what must be there."""

    def __init__(
        self, name: str, session: aiohttp.ClientSession, memory: Memory, chance: random.Random
    ) -> None:
        self.name, self._session, self._memory, self._chance = name, session, memory, chance
        self.holds: dict[str, Told | None] = {}
        self.newest = 0
        self._number = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._number += 1
            name = f"{self.name}-{self._chance.randrange(200)}"
            try:
                await self._write(name)
            except (aiohttp.ClientError, OSError):
                self._memory.unknown += 1
                await self._look(name)

    async def _write(self, name: str) -> None:
        held = self.holds.get(name)
        body = {"metadata": {"name": name}, "data": {"number": str(self._number)}}
        if held is None:
            status, said = await self._ask("POST", PATH, body)
            if status == 201:
                return self._told(name, said)
        elif self._chance.random() < 0.2:
            status, said = await self._ask("DELETE", f"{PATH}/{name}", {})
            if status == 200:
                self._memory.acknowledged += 1
                self.holds[name] = None
                return None
        elif self._chance.random() < 0.5:
            status, said = await self._ask("PATCH", f"{PATH}/{name}", {"data": {"number": str(self._number)}})
            if status == 200:
                return self._told(name, said)
        else:
            body["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"]
            status, said = await self._ask("PUT", f"{PATH}/{name}", body)
            if status == 200:
                return self._told(name, said)
        if status in (503, 504):
            return await self._look(name)
        self._memory.wrong.append(f"{self.name}: {status} {said} for {name}, which should be {held}")
        return await self._look(name)

    def _told(self, name: str, obj: Told) -> None:
        self._memory.acknowledged += 1
        self._memory.seen(obj, self.name)
        self.holds[name] = obj
        version = int(obj["metadata"]["resourceVersion"])
        if version <= self.newest:
            self._memory.wrong.append(f"{self.name}: {version} comes after {self.newest}")
        self.newest = version

    async def _look(self, name: str) -> None:
        """Nobody knows whether it was done: from now on what is read holds. It is the old state or the one asked for."""
        held, number = self.holds.get(name), str(self._number)
        while True:
            try:
                status, said = await self._ask("GET", f"{PATH}/{name}", None)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
                continue
            self._memory.reads += 1
            found = said if status == 200 else None
            if found != held and found is not None and found["data"]["number"] != number:
                self._memory.wrong.append(f"{self.name}: {name} is {found}, not {held} nor {number}")
            if found is not None:
                self._memory.seen(found, self.name)
                self.newest = max(self.newest, int(found["metadata"]["resourceVersion"]))
            self.holds[name] = found
            return

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        form = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": form}) as answer:
            return answer.status, json.loads(await answer.read())


class Watcher:
    """Lists once, and then follows from revision to revision, as informers do."""

    def __init__(self, name: str, session: aiohttp.ClientSession, memory: Memory) -> None:
        self.name, self._session, self._memory = name, session, memory
        self.holds: dict[str, Told] = {}
        self.version = 0
        self._listed = False

    async def run(self) -> None:
        while True:
            try:
                if not self._listed:
                    await self.list()
                await self._watch()
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    async def list(self) -> None:
        async with self._session.get(PATH) as answer:
            if answer.status != 200:
                return
            found = json.loads(await answer.read())
        self._memory.lists += 1
        self._moved(int(found["metadata"]["resourceVersion"]), again=True)
        for it in found["items"]:
            self._memory.seen(it, self.name)
            old = self.holds.get(it["metadata"]["name"])
            if old and int(old["metadata"]["resourceVersion"]) > int(it["metadata"]["resourceVersion"]):
                self._memory.wrong.append(f"{self.name}: {it['metadata']} went back from {old['metadata']}")
        self.holds = {it["metadata"]["name"]: it for it in found["items"]}
        self._listed = True

    def _moved(self, version: int, *, again: bool = False) -> None:
        if version < self.version or (version == self.version and not again):
            self._memory.wrong.append(f"{self.name}: {version} comes after {self.version}")
        self.version = version

    async def _watch(self) -> None:
        query = {"watch": "1", "resourceVersion": str(self.version), "allowWatchBookmarks": "true"}
        async with self._session.get(PATH, params=query) as answer:
            if answer.status == 410:
                self._listed = False
                return
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self._listed = False
                    return
                obj = event["object"]
                self._moved(int(obj["metadata"]["resourceVersion"]), again=event["type"] == "BOOKMARK")
                if event["type"] == "BOOKMARK":
                    continue
                self._memory.events += 1
                if event["type"] == "DELETED":
                    self.holds.pop(obj["metadata"]["name"], None)
                else:
                    self._memory.seen(obj, self.name)
                    self.holds[obj["metadata"]["name"]] = obj


async def main(server: str, folder: str, seed: str) -> None:
    tls = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    tls.load_cert_chain(f"{folder}/admin.crt", f"{folder}/admin.key")
    stop, memory = asyncio.Event(), Memory()
    asyncio.get_running_loop().add_reader(0, stop.set)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(
        server, connector=aiohttp.TCPConnector(ssl=tls), timeout=timeout
    ) as session:
        writers = [Writer(f"w{it}", session, memory, random.Random(f"{seed}{it}")) for it in range(4)]
        watchers = [Watcher(f"watcher {it}", session, memory) for it in range(2)]
        following = [asyncio.create_task(it.run()) for it in watchers]
        await asyncio.gather(*(it.run(stop) for it in writers))
        last = Watcher("the end", session, memory)
        await last.list()
        expected = {name: obj for it in writers for name, obj in it.holds.items() if obj is not None}
        there = {name: obj for name, obj in last.holds.items() if name.startswith("w")}
        for name in expected.keys() | there.keys():
            if expected.get(name) != there.get(name):
                memory.wrong.append(f"{name} is {there.get(name)}, and should be {expected.get(name)}")
        newest = max(it.newest for it in writers)
        if newest > last.version:
            memory.wrong.append(f"the newest is {last.version}, and {newest} was told")
        for _ in range(600):  # the last events are under way
            if all(it.holds == last.holds for it in watchers):
                break
            await asyncio.sleep(0.1)
        for it in watchers:
            for name in it.holds.keys() | last.holds.keys():
                if it.holds.get(name) != last.holds.get(name):
                    memory.wrong.append(
                        f"{it.name} knows {name} as {it.holds.get(name)}, it is {last.holds.get(name)}"
                    )
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    counted = {key: value for key, value in vars(memory).items() if isinstance(value, int)}
    Path("/dev/stdout").write_text(json.dumps({"wrong": memory.wrong[:20], **counted}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
