"""Adding a provider to the user's own hubd.toml, with its secrets, and what hubd says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hubctl import layout
from hubctl.answer import show_dry_run
from hubctl.app import App
from hubctl.exits import Refused
from hubctl.output import for_people
from hubd.errors import HubError
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.provider_file import ConfigFile
    from hubctl.provider_questions import Wanted
    from hubctl.provider_secret import Kept
    from hubd.wire import provider_results as r
    from hubd.wire.hub_results import ConfigResult

_WRONG_PASSWORD = (401, 403, 530, 534, 535)  #: what HTTP and SMTP answer to one
_TRIES = 3
#: Secrets that may not be a provider's only one, by key: what people call them, and how their names end.
CALLED = {"oauth2.refresh_token": "refresh token", "oauth2.client_secret": "application's secret"}
SUFFIXES = {"oauth2.client_secret": "-client"}


class Addition:
    """A provider being added to the file: in the end all of it is there, or nothing."""

    def __init__(self, app: App, file: ConfigFile, wanted: Wanted) -> None:
        self.app = app
        self.before = file  #: as it was when the questions began
        self.file = file  #: as we know it to be now
        self.wanted = wanted
        self.kept: dict[str, Kept] = {}  #: by the keys that refer to them

    def make(self, secret_in: Any) -> list[str]:
        """Keep the secret, write the section, let hubd read it. Returns what changed; an error undoes all."""
        from hubctl import provider_secret

        wanted = self.wanted
        # Before anything is written: can it be written at all?
        self._text({key: {"file": "x"} for key in wanted.secrets})
        try:
            for key, secret in wanted.secrets.items():
                name = wanted.name + SUFFIXES.get(key, "")
                folder = self.before.path.parent
                self.kept[key] = provider_secret.keep(secret, name, folder, kind=secret_in)
            return self._write()
        except BaseException:
            for kept in self.kept.values():
                kept.forget()
            raise

    def show_plan(self) -> None:
        """What would be written, without a secret. Raises as `make` does when it cannot be written."""
        self._text({key: {"file": "x"} for key in self.wanted.secrets})  # can it be written at all?
        section = self._text({key: {"file": "..."} for key in self.wanted.secrets}, onto="").strip("\n")
        where = layout.printable(str(self.before.path))
        sentence = f"would add {self.wanted.name} to {where}:\n\n{layout.printable(section)}\n"
        values = {"name": self.wanted.name, "file": str(self.before.path), "would": {"text": section}}
        show_dry_run(self.app, values, sentence)

    def prove(self) -> r.ProbeResult:
        """Log in. A mistyped password can be typed again, a server without encryption can be accepted as it
        is, and a keyring that only this side of the socket can open is replaced by a file.
        """
        for left in reversed(range(_TRIES)):
            found = self._test()
            if for_people(self.app):
                self.app.out(tested(self.wanted.name, found))
            if found["ok"] or not left or not self._change(found):
                break
        return found

    def _change(self, found: r.ProbeResult) -> bool:
        """Ask again for what did not work: the password, or how to talk to the server. False for no."""
        from hubctl import provider_questions, provider_remedies

        if (
            len(self.kept) == 1
            and "oauth2" not in self.wanted.settings
            and found.get("code") in _WRONG_PASSWORD
        ):
            ((key, kept),) = self.kept.items()
            secret = provider_questions.ask_again(self.app, self.wanted.settings)
            if secret:
                kept.change(secret)
                self.wanted = replace(self.wanted, secrets={key: secret})
            return bool(secret)
        settings = provider_remedies.otherwise(self.app, self.wanted.settings, str(found.get("detail")))
        if settings is None:
            return False
        self.wanted = replace(self.wanted, settings=settings)
        self._write()
        return True

    def _test(self) -> r.ProbeResult:
        try:
            return self.app.call(m.PROVIDER_TEST, name=self.wanted.name)
        except HubError as error:
            if error.code != "credential_missing" or not any(
                kept.kind == "keyring" for kept in self.kept.values()
            ):
                raise
        self.app.note("hubd cannot open your keyring, so the password is stored in a file instead.")
        self._into_a_file()
        return self.app.call(m.PROVIDER_TEST, name=self.wanted.name)

    def _into_a_file(self) -> None:
        from hubctl import provider_secret

        in_keyring, folder = self.kept, self.before.path.parent
        self.kept = {}
        try:
            for key, secret in self.wanted.secrets.items():
                name = self.wanted.name + SUFFIXES.get(key, "")
                self.kept[key] = provider_secret.keep(secret, name, folder, kind="file")
            self._write()
        except BaseException:
            for kept in self.kept.values():
                kept.forget()
            self.kept = in_keyring
            raise
        for kept in in_keyring.values():
            kept.forget()

    def _text(self, references: Mapping[str, Mapping[str, str]], *, onto: str | None = None) -> str:
        from hubctl.provider_file import with_provider

        settings = dict(self.wanted.settings)
        for key, reference in references.items():
            table, dot, inner = key.rpartition(".")
            settings |= {table: {**settings[table], inner: reference}} if dot else {key: reference}
        return with_provider(self.before.text if onto is None else onto, self.wanted.name, settings)

    def _write(self) -> list[str]:
        text = self._text({key: kept.reference for key, kept in self.kept.items()})
        applied, self.file = take_over(self.app, self.file, text, then_has=self.wanted.name)
        return applied


def tested(name: str, found: r.ProbeResult) -> str:
    """What a test found, and what the provider says about the account, as lines."""
    account = found.get("account")
    lines = [*(account["lines"] if account else ())]
    if webhook := found.get("webhook"):
        lines.append(f"webhook, for the provider's own settings: {webhook}")
    return "\n".join([_works(name, found), *map(layout.one_line, lines)])


def _works(name: str, found: r.ProbeResult) -> str:
    if found["ok"] and found.get("detail"):
        return f"{name} works. {layout.one_line(found['detail'])}"
    if found["ok"]:
        return f"{name} works" + (f" ({found['code']})" if found.get("code") else "")
    said = f"{found.get('code') or ''} {found['text']}".strip() if found.get("text") else ""
    why = " ".join(part for part in (found.get("detail"), said and f"It said: {said}") if part)
    return f"{name} does not work: {layout.one_line(why)}"


def provider_names_of(config: ConfigResult) -> set[str]:
    """The names of the providers that hubd knows."""
    keys = (each["key"] for each in config["settings"])
    return {key[len("providers.") : -len(".type")] for key in keys if key.endswith(".type")}


def take_over(app: App, file: ConfigFile, text: str, *, then_has: str = "") -> tuple[list[str], ConfigFile]:
    """Write the file and let hubd read it; returns what that changed, and the file as it is now.

    It is put back when hubd refuses it, or does not know the provider `then_has` afterwards. Raises Refused
    when somebody else has changed it since `file` was read.
    """
    from hubctl.provider_file import put_back, replace_text

    after = replace_text(file, text)
    try:
        applied = app.call(m.HUB_RELOAD)["applied"]
        if then_has and then_has not in provider_names_of(app.call(m.CONFIG_SHOW)):
            raise another_file(f"hubd does not see the {file.path} that you see; nothing was added")
    except BaseException:
        put_back(file, after)
        raise
    return applied, after


def another_file(problem: str) -> Refused:
    hint = "it may run in a container, or with a private /tmp"
    return Refused(problem, code="another_file", hint=hint)
