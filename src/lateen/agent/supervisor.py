"""How does a proxy live? A certificate first, then Envoy; watched over, and ended with grace.

The agent ends when Envoy does, with its code: whoever runs the container starts it anew.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

from lateen.agent import drain, envoy_process, rotation, serving, watch
from lateen.agent.readiness import Readiness
from lateen.agent.rotation import Rotation
from lateen.agent.settings import Settings
from lateen.agent.status import Status

_log = logging.getLogger("agent")

_ENVOY_STOP_S = 1.0


class Supervisor:
    """One Envoy and what it needs."""

    def __init__(
        self, settings: Settings, *, envoy_level: str = "warning", component_levels: str = ""
    ) -> None:
        self._settings = settings
        self._levels = (envoy_level, component_levels)
        self._stop = asyncio.Event()
        self._readiness = Readiness(settings.proxy.admin_port)
        self._rotation = Rotation(rotation.step)

    async def live(self) -> int:
        """Until a signal or Envoy's end; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        orders = {"/quitquitquit": self._quit, "/drain": self._drain}
        status = Status(self._settings, self._readiness, self._rotation, orders)
        port = self._settings.proxy.status_port
        try:
            server = await serving.serve(status.answer, port)
        except OSError as wrong:
            _log.error("the agent cannot listen on port %d: %s", port, wrong)
            return 1
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._rotation.run(rotation.kept()))]
                loop.add_signal_handler(signal.SIGUSR1, self._rotation.soon)
                try:
                    return await self._proxy(tasks, beside)
                finally:
                    loop.remove_signal_handler(signal.SIGUSR1)
                    for it in beside:
                        it.cancel()
        finally:
            server.close()

    async def _proxy(self, tasks: asyncio.TaskGroup, beside: list[asyncio.Task[None]]) -> int:
        if not await self._first(self._rotation.ready.wait()):
            return 0
        beside.append(tasks.create_task(rotation.follow_roots(self._rotation.soon)))
        config = envoy_process.write_bootstrap(self._settings)
        command = envoy_process.command(self._settings, config, *self._levels)
        _log.info("starting %s", " ".join(command))
        try:
            envoy = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
        except OSError as wrong:
            _log.error("Envoy cannot be started: %s", wrong)
            return 1
        self._readiness.running = True
        try:
            deaf = asyncio.ensure_future(watch.deaf(self._readiness, self._settings.grace_s))
            beside.append(deaf)
            if await self._first(_either(envoy.wait(), deaf)):
                return self._deaf() if envoy.returncode is None else self._envoy_ended(envoy)
            deaf.cancel()  # from here on it is we who close its listeners
            await self._end(envoy)
            return 0
        finally:
            await _stopped(envoy)

    async def _first(self, event: Coroutine[None, None, object]) -> bool:
        """Whether it came before the order to stop."""
        waiting = asyncio.ensure_future(event)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
        came = waiting.done()
        for it in (waiting, stopping):
            it.cancel()
        return came

    def _envoy_ended(self, envoy: asyncio.subprocess.Process) -> int:
        code = envoy.returncode or 0
        if self._stop.is_set():
            return 0
        if code == 0:  # somebody asked it to, like a Job that is done: POST /quitquitquit
            _log.info("Envoy was asked to end, and so ends the agent")
            return 0
        _log.error("Envoy ended by itself with %d; the agent ends too, so that both are started again", code)
        return 128 - code if code < 0 else code

    def _deaf(self) -> int:
        _log.error("Envoy's listeners are closed, not by the agent; it ends, so that both are started again")
        return 1

    async def _end(self, envoy: asyncio.subprocess.Process) -> None:
        _log.info("told to end: peers are asked to leave")
        await self._drain()
        patience = asyncio.ensure_future(drain.patiently(self._settings))
        ended = asyncio.ensure_future(envoy.wait())
        await asyncio.wait([patience, ended], return_when=asyncio.FIRST_COMPLETED)
        for it in (patience, ended):
            it.cancel()

    async def _drain(self) -> None:
        if not self._readiness.draining:
            self._readiness.draining = True
            await drain.begin(self._settings)

    async def _quit(self) -> None:
        self._stop.set()


async def _either(one: Coroutine[None, None, object], other: asyncio.Task[None]) -> None:
    first: asyncio.Future[object] = asyncio.ensure_future(one)
    both: list[asyncio.Future[Any]] = [first, other]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)


async def _stopped(envoy: asyncio.subprocess.Process) -> None:
    if envoy.returncode is not None:
        return
    envoy.terminate()
    try:
        await asyncio.wait_for(envoy.wait(), _ENVOY_STOP_S)
    except TimeoutError:
        envoy.kill()
        await envoy.wait()
