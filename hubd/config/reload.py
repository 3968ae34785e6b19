"""The configuration that a running daemon goes by, and the way to another one: whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import trio

from hubd.config.file import HubConfig, load_config, viewer_token
from hubd.config.notify import NotifySettings
from hubd.config.retention import RetentionSettings
from hubd.config.show import Option, Setting, settings
from hubd.errors import BadConfig, CredentialMissing, HubError, ProviderUnavailable, StoreError
from hubd.journal import Kind
from hubd.wire.hub_results import ConfigEntry, ConfigResult

log = logging.getLogger(__name__)

#: Keys that are read once, at the start, and what they are in a configuration.
_ONCE: Mapping[str, Callable[[HubConfig], object]] = {
    "hub.tcp": lambda config: config.tcp,
    "listener": lambda config: config.listener,
}


class Reloader:
    """Knows what is in effect (`show`). Calling it reads the files again."""

    def __init__(
        self,
        config: HubConfig,
        *,
        find: Callable[[], Path | None],
        expected: Path,
        options: Mapping[str, Option],
        apply: Callable[[HubConfig], Awaitable[Sequence[str]]],
        add: Callable[[str, int | None, Mapping[str, object]], Awaitable[object]],
        during: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`config` is what the daemon started with. `find` looks for hubd.toml, which would be at `expected`.
        `options` are the keys that the command line decides. `apply` takes over the providers and says what
        changed, or raises and has changed nothing. `add` appends an event. Each reload happens inside a block
        of `during`, which sees what it raises.
        """
        self._running = config
        self._find = find
        self._expected = expected
        self._options = options
        self._apply = apply
        self._add = add
        self._during = during
        self._waiting: list[str] = []  #: keys whose new value waits for a restart
        self._at_start = {each.key: each for each in settings(config, options) if each.key in _ONCE}
        self._one_at_a_time = trio.Lock()
        self.next = trio.Event()  #: set by the next reload that succeeds, and replaced
        self._token_trouble = ""  #: why the viewers' token could not be read last

    @property
    def running(self) -> HubConfig:
        """What is in effect, without the options of the command line."""
        return self._running

    async def __call__(self) -> list[str]:
        """Take over what the files say now; what changed, in words.

        Raises what is wrong with them (`BadConfig`), and then everything is as it was. An event and the log
        say which.
        """
        async with self._one_at_a_time:
            try:
                with self._during():
                    changes = await self._reload()
            except Exception as error:
                _log_failure(error)
                with _unless_the_store_is_in_trouble():
                    await self._add("config.reload_failed", None, _why(error))
                raise
            log.info(
                "configuration reloaded: %s",
                ", ".join(changes) or "nothing changed",
                extra={"kind": Kind.RELOADED},
            )
            with _unless_the_store_is_in_trouble():
                waiting = list(self._waiting)
                await self._add("config.reloaded", None, {"applied": changes, "needs_restart": waiting})
            return changes

    async def changes(self) -> list[str]:
        """The keys for which the files say something else now. Raises `BadConfig`, and changes nothing."""
        now, then = (
            {each.key: each.value for each in settings(config, self._options)}
            for config in (self._running, await self._read())
        )
        return sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))

    async def _read(self) -> HubConfig:
        path = self._find()
        if path is None:
            raise BadConfig(
                f"there is no configuration file {self._expected}",
                hint="create it, or start hubd with --config FILE",
            )
        return await trio.to_thread.run_sync(load_config, path)

    async def _reload(self) -> list[str]:
        config = await self._read()
        try:
            changes = list(await self._apply(config))
        except OSError as error:  # no descriptors, no memory: it passes
            raise ProviderUnavailable(
                f"a provider cannot be opened: {error.strerror or type(error).__name__}",
                hint="try again when the machine has free memory and file descriptors",
            ) from None
        # From here on nothing can fail.
        if config.log_level != self._running.log_level and "hub.log_level" not in self._options:
            logging.getLogger().setLevel(config.log_level.upper())
            changes.insert(0, "hub.log_level")
        if config.viewer_token != self._running.viewer_token:
            changes.insert(0, "hub.viewer_token")
        changes += [
            key for key in ("notify", "retention") if getattr(config, key) != getattr(self._running, key)
        ]
        self._waiting = [
            key
            for key, value in _ONCE.items()
            if value(config) != value(self._running) and key not in self._options
        ]
        self._running = replace(config, tcp=self._running.tcp, listener=self._running.listener)
        self.next.set()
        self.next = trio.Event()
        return changes

    @property
    def notify(self) -> NotifySettings | None:
        """Who is told by email."""
        return self._running.notify

    @property
    def retention(self) -> RetentionSettings:
        """How long history is kept."""
        return self._running.retention

    async def viewer_token(self) -> str:
        """The token that lets viewers in, read again each time; "" while there is none that can be read."""
        config = self._running
        if config.viewer_token is None:
            return ""
        try:
            token = await trio.to_thread.run_sync(viewer_token, config)
        except CredentialMissing as error:
            if str(error) != self._token_trouble:
                log.warning("no viewer can use the token of hub.viewer_token: %s. %s", error, error.hint)
            self._token_trouble = str(error)
            return ""
        self._token_trouble = ""
        return token

    def show(self) -> ConfigResult:
        """What is in effect, and the file that the next reload would read."""
        return {
            "file": os.path.abspath(self._find() or self._expected),
            "files": [os.path.abspath(file) for file in self._running.layers.files],
            "uid": None if os.name == "nt" else os.geteuid(),
            "needs_restart": list(self._waiting),
            "settings": [_entry(each) for each in self._in_effect()],
        }

    def _in_effect(self) -> list[Setting]:
        """What the files say now, but for what waits: that is as it was at the start."""
        found = [each for each in settings(self._running, self._options) if each.key not in self._waiting]
        return [self._at_start[key] for key in self._waiting if key in self._at_start] + found


@contextmanager
def _unless_the_store_is_in_trouble() -> Iterator[None]:
    """A configuration takes effect also when nobody can be told."""
    try:
        yield
    except StoreError as error:
        log.warning("the event about the reload could not be recorded: %s", error)


def _log_failure(error: Exception) -> None:
    if isinstance(error, HubError):
        what = "the configuration was not reloaded; the old one remains in effect: %s"
        log.error(what, error, extra={"kind": Kind.NOT_RELOADED})
    else:
        log.error("the configuration was not reloaded", exc_info=error, extra={"kind": Kind.NOT_RELOADED})


def _why(error: Exception) -> dict[str, object]:
    """The particulars of a failed reload. A bug's own words may hold anything, so they stay in the log."""
    if not isinstance(error, HubError):
        return {"problem": "the daemon failed; its log has the details", "errors": []}
    return {"problem": str(error), "errors": error.data.get("errors", [])}


def _entry(setting: Setting) -> ConfigEntry:
    at = setting.at
    return {
        "key": setting.key,
        "value": setting.value,
        "source": setting.flag or setting.source,
        "file": os.path.abspath(at.file) if at else None,
        "line": (at.line or None) if at else None,
    }
