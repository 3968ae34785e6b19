"""The sinks in the configuration, each in its own task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from hubd.config.sinks import SinkSettings
from hubd.core.sinks import SinkView, Told
from hubd.errors import NotFound, StoreError, did_you_mean
from hubd.sinks.task import Context, SinkTask
from hubd.store.unit import Unit

log = logging.getLogger(__name__)


class SinkManager:
    """Starts and ends sinks as the configuration says, while `run` runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: dict[str, tuple[SinkTask, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None

    async def run(
        self, settings: Mapping[str, SinkSettings], folder: Path, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run these sinks, and those of later configurations, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self.apply(settings, folder)
            task_status.started()
            await trio.sleep_forever()

    def apply(self, settings: Mapping[str, SinkSettings], folder: Path) -> list[str]:
        """Run these from now on; says in words what changed. Unchanged sinks go on."""
        if self._nursery is None:
            return []
        changes = []
        for name in [*self._tasks]:
            if name not in settings or self._tasks[name][0].settings != settings[name]:
                self._tasks.pop(name)[1].cancel()
                changes.append(f"sinks.{name}" if name in settings else f"sinks.{name} removed")
        for name, each in settings.items():
            if name not in self._tasks:
                task, scope = SinkTask(name, each, folder, self._context), trio.CancelScope()
                self._tasks[name] = (task, scope)
                self._nursery.start_soon(_within, scope, task)
                if f"sinks.{name}" not in changes:
                    changes.append(f"sinks.{name} added")
        self._nursery.start_soon(self._forget)
        return changes

    async def _forget(self) -> None:
        try:
            await self._context.sinks.forget([*self._tasks])
        except StoreError as error:
            log.debug("the records of removed sinks are kept for now: %s", error)

    async def views(self) -> list[SinkView]:
        """The state of each sink. Raises `StoreUnavailable`."""
        states = {state.name: state for state in await self._context.sinks.all()}
        head = self._context.head()
        found = []
        for name, (task, _) in self._tasks.items():
            state = states.get(name)
            found.append(
                SinkView(
                    name=name,
                    type=task.settings.type,
                    content=getattr(task.settings, "content", "events"),
                    paused=state is not None and state.paused,
                    reason="" if state is None else state.reason,
                    failures=0 if state is None else state.failures,
                    told_at=None if state is None else state.told_at,
                    behind=0 if state is None else max(0, head - state.cursor),
                )
            )
        return found

    async def test(self, name: str) -> Told:
        """Try a sink once. Raises `NotFound`."""
        return await self._task(name).test()

    def check(self, name: str) -> None:
        """Raise `NotFound` if there is no sink with this name."""
        self._task(name)

    def resuming(self, name: str) -> Callable[[Unit], bool]:
        """The unit of work that has a sink tried again; call `resumed` after it. Raises `NotFound`."""
        self._task(name)
        return self._context.sinks.resuming(name)

    def resumed(self, name: str) -> None:
        """The sink was resumed."""
        if name in self._tasks:
            self._tasks[name][0].resume()

    def _task(self, name: str) -> SinkTask:
        if name not in self._tasks:
            raise NotFound(
                f"there is no sink {name}{did_you_mean(name, self._tasks)}",
                code="sink_not_found",
                hint="to list them: hubctl sink list",
            )
        return self._tasks[name][0]


async def _within(scope: trio.CancelScope, task: SinkTask) -> None:
    with scope:
        await task.run()
