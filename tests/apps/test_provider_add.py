"""`hubctl provider add` and `remove`: a section comes and goes, and nobody had to know TOML for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, Hub
from tests.shell.twilio_double import ACCOUNT, TOKEN, TwilioDouble
from tests.whole.world import hostile

OLD = """# The hub of the shop.
[hub]
log_level = "info"   # enough

# Everything goes here while we try things out.
[providers.trial]
type = "outbox"
rate = "5/s"
# end of the file
"""
CANARY = "s3cr3t-canary-7f"


def configure(hub: Hub, text: str = OLD, mode: int = 0o600) -> Path:
    path = hub.folder / "hubd.toml"
    path.write_bytes(text.encode())
    path.chmod(mode)
    hub.ok("daemon", "reload")
    return path


def names(hub: Hub) -> set[str]:
    return {each["name"] for each in hub.json("provider", "list")["providers"]}


def ring(hub: Hub) -> dict[str, str]:
    """Gives hubctl and the next hubd a keyring that works."""
    return {
        "PYTHON_KEYRING_BACKEND": "tests.apps.file_ring.FileRing",
        "RING": str(hub.folder / "ring.json"),
    }


def entries(hub: Hub) -> dict[str, str]:
    found: dict[str, str] = json.loads((hub.folder / "ring.json").read_text())
    return found


def add(hub: Hub, *arguments: str, secret: str = CANARY, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = hub.run("provider", "add", *arguments, "--password-stdin", stdin=secret + "\n")
    assert done.returncode == code, (done.stdout, done.stderr)
    assert CANARY not in done.stdout + done.stderr
    return done


OFFICE = ("office", "--host", "mail.acme.example", "--username", "me@acme.example")


# -- on a terminal -----------------------------------------------------------------------------------------


def test_a_person_who_has_never_seen_toml_adds_gmail(hub: Hub, on_terminal: Any) -> None:
    path = configure(hub)
    terminal = on_terminal(hub.command("provider", "add"), hub.environ)
    terminal.until("Number [1]:")
    assert "1  Gmail" in terminal.seen
    terminal.type("\n")
    terminal.until("Your Gmail address:")
    terminal.type("ann\n")
    terminal.until("that is not an email address")
    terminal.type("ann@gmail.com\n")
    terminal.until("https://myaccount.google.com/apppasswords")
    terminal.until("App password (not shown while you type): ")
    terminal.type("abcd efgh ijkl mnop\n")
    terminal.until("Rate limit?")
    terminal.type("500/day\n")
    terminal.until("A name for it, to use in campaign files [gmail]:")
    terminal.type("\n")
    terminal.until("Test the login now?")
    terminal.type("n\n")
    seen = terminal.rest()
    assert terminal.process.returncode == 0, seen
    assert "gmail added to " in seen
    assert "abcd" not in seen, "it is not shown"
    text = path.read_text()
    assert text.startswith(OLD), "not a letter of what was there has changed"
    assert text[len(OLD) :] == (
        '\n[providers.gmail]\ntype = "smtp"\npreset = "gmail"\nusername = "ann@gmail.com"\n'
        'rate = ["500/day"]\npassword = {file = "gmail.pass"}\n'
    )
    secret = hub.folder / "gmail.pass"
    assert secret.read_text() == "abcdefghijklmnop\n", "Google shows spaces that are not part of it"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(hub) == {"outbox", "trial", "gmail"}


def test_a_mistyped_password_is_typed_again_and_then_it_works(hub: Hub, on_terminal: Any) -> None:
    configure(hub)
    with hostile(hub.folder, "server", "--login", f"ann:{CANARY}") as server:
        terminal = on_terminal(
            hub.command("provider", "add", "local", "--host", "127.0.0.1", "--port", str(server.port),
                        "--security", "none", "--username", "ann"),
            hub.environ,
        )  # fmt: skip
        terminal.until("Password (not shown while you type): ")
        terminal.type("wr0ng-canary\n")
        terminal.until("[Y/n]")
        terminal.type("\n")
        terminal.until("local does not work: ")
        before = terminal.until("Enter the password once more? [Y/n]")
        terminal.seen = ""
        terminal.type("y\n")
        terminal.until("Password (not shown while you type): ")
        terminal.type(f"{CANARY}\n")
        seen = before + terminal.rest()
        assert terminal.process.returncode == 0, seen
        assert "local works" in seen
        assert server.heard()["auth"] == 2
        assert server.lines() == []
    assert CANARY not in seen
    assert "wr0ng-canary" not in seen
    assert (hub.folder / "local.pass").read_text() == f"{CANARY}\n"
    assert (hub.folder / "local.pass").stat().st_mode & 0o777 == 0o600


def test_what_somebody_else_writes_during_the_questions_is_not_lost(hub: Hub, on_terminal: Any) -> None:
    path = configure(hub)
    terminal = on_terminal(
        hub.command("provider", "add", "local", "--host", "127.0.0.1", "--port", "1", "--security", "none",
                    "--username", "ann"),
        hub.environ,
    )  # fmt: skip
    terminal.until("Password (not shown while you type): ")
    other = path.read_text() + "\n[providers.theirs]\ntype = 'outbox'\n"
    path.write_text(other)
    terminal.type(f"{CANARY}\n")
    seen = terminal.rest()
    assert terminal.process.returncode == 5, seen
    assert "was just changed by another program" in seen
    assert path.read_text() == other


def test_an_interrupted_dialogue_changes_nothing(hub: Hub, on_terminal: Any) -> None:
    path = configure(hub)
    terminal = on_terminal(hub.command("provider", "add"), hub.environ)
    terminal.until("Number [1]:")
    terminal.type("\n")
    terminal.until("Your Gmail address:")
    terminal.type("\x04")
    assert "interrupted" in terminal.rest()
    assert terminal.process.returncode == 130
    assert path.read_text() == OLD
    assert not list(hub.folder.glob("*.pass"))


# -- by options --------------------------------------------------------------------------------------------


def test_a_provider_by_options_with_its_password_on_stdin(hub: Hub) -> None:
    path = configure(hub)
    done = add(hub, *OFFICE, "--rate", "30/minute", "--rate", "1000/day", "--json")
    assert json.loads(done.stdout) == {
        "schema": "hubctl.provider.add/1",
        "name": "office",
        "changed": True,
        "file": str(path),
        "secret": {"file": "office.pass"},
        "applied": ["providers.office"],
        "test": None,
    }
    shown = {each["key"]: each["value"] for each in hub.json("config", "show")["settings"]}
    assert shown["providers.office.host"] == "mail.acme.example"
    assert shown["providers.office.rate"] == ["30/minute", "1000/day"]
    assert shown["providers.office.password"] == {"file": "office.pass"}
    assert (hub.folder / "office.pass").read_text() == f"{CANARY}\n"


def test_a_login_by_access_token_has_two_secrets_and_takes_both_with_it(hub: Hub) -> None:
    path = configure(hub)
    given = ("--preset", "gmail", "--username", "a@gmail.com", "--rate", "9/day", "--client-id", "hub-app")
    refused = add(hub, "tok", *given, code=2)
    assert "--auth xoauth2" in refused.stderr
    add(hub, "tok", *given, "--auth", "xoauth2", "--no-test", "--secret-in", "file", secret=f"{CANARY}\napp")
    section = tomllib.loads(path.read_text())["providers"]["tok"]
    assert (section["auth"], "password" in section) == ("xoauth2", False)
    assert section["oauth2"] == {
        "token_url": "https://oauth2.googleapis.com/token",
        "client_id": "hub-app",
        "refresh_token": {"file": "tok.pass"},
        "client_secret": {"file": "tok-client.pass"},
    }
    assert (hub.folder / "tok.pass").read_text() == CANARY + "\n"
    assert (hub.folder / "tok-client.pass").read_text() == "app\n"
    hub.ok("provider", "remove", "tok", "--yes")
    assert path.read_text() == OLD
    assert not list(hub.folder.glob("tok*.pass"))


def test_only_what_is_passed_changes_and_an_empty_text_removes(hub: Hub) -> None:
    path = configure(hub)
    add(hub, *OFFICE, "--rate", "30/minute", "--secret-in", "file")
    before = path.read_text().replace("[providers.office]", "[providers.office]  # ours")
    configure(hub, before)
    plan = hub.json("provider", "set", "office", "--rate", "20/minute", "--port", "2525", "--dry-run")
    assert plan["would"]["keys"] == ["port", "rate"]
    assert path.read_text() == before
    done = hub.json("provider", "set", "office", "--rate", "20/minute", "--port", "2525")
    assert (done["changed"], done["applied"]) == (True, ["providers.office"])
    after = path.read_text()
    assert after.startswith(OLD)
    assert "[providers.office]  # ours\n" in after
    section = tomllib.loads(after)["providers"]["office"]
    assert (section["rate"], section["port"], section["host"]) == (["20/minute"], 2525, "mail.acme.example")
    hub.ok("provider", "set", "office", "--rate", "", "--security", "tls")
    assert "rate" not in tomllib.loads(path.read_text())["providers"]["office"]


def test_another_password_replaces_the_one_that_was_stored(hub: Hub) -> None:
    path = configure(hub)
    add(hub, *OFFICE, "--secret-in", "file", secret="old")
    new = ("provider", "set", "office", "--password-stdin", "--secret-in", "file")
    done = hub.run(*new, stdin=CANARY + "\n")
    assert (done.returncode, CANARY in done.stdout + done.stderr) == (0, False)
    assert tomllib.loads(path.read_text())["providers"]["office"]["password"] == {"file": "office-2.pass"}
    assert [each.name for each in hub.folder.glob("*.pass")] == ["office-2.pass"]
    assert (hub.folder / "office-2.pass").read_text() == CANARY + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "nothing to change was given"),
        (("--account-sid", "AC1"), 2, "--account-sid does not apply to office, which is smtp"),
        (("--rate", "fast"), 2, "--rate: "),
        (("--host", "mail..acme"), 1, "providers.office.host"),
        (("--host", "mail..acme", "--password-stdin"), 1, "providers.office.host"),
    ],
)
def test_a_change_that_is_refused_leaves_all_as_it_was(
    hub: Hub, arguments: tuple[str, ...], code: int, words: str
) -> None:
    path = configure(hub)
    add(hub, *OFFICE, "--secret-in", "file")
    before = path.read_text()
    done = hub.run("provider", "set", "office", *arguments, stdin="another\n")
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert path.read_text() == before
    assert [each.name for each in hub.folder.glob("*.pass")] == ["office.pass"]


def test_twilio_by_options_and_it_is_tried_at_once(hub: Hub) -> None:
    configure(hub)
    with TwilioDouble() as twilio:
        arguments = ("--account-sid", ACCOUNT, "--from", "+15005550006", "--base-url", twilio.base_url)
        done = add(hub, "text", *arguments, "--test", secret=TOKEN)
        assert "text works" in done.stdout
        done = add(hub, "wrong", *arguments, "--test", "--json", secret=CANARY, code=1)
        assert json.loads(done.stdout)["test"]["ok"] is False
        assert twilio.messages == []
    assert names(hub) == {"outbox", "trial", "text", "wrong"}


def test_one_that_needs_no_password_has_none(hub: Hub) -> None:
    path = configure(hub)
    hub.ok("provider", "add", "relay", "--host", "127.0.0.1", "--port", "2525", "--security", "none")
    hub.ok("provider", "add", "files", "--type", "outbox")
    assert path.read_text()[len(OLD) :] == (
        '\n[providers.relay]\ntype = "smtp"\nhost = "127.0.0.1"\nport = 2525\nsecurity = "none"\n'
        '\n[providers.files]\ntype = "outbox"\n'
    )
    assert not list(hub.folder.glob("*.pass"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--type or --preset"),
        (("gmail", "--preset", "gmail"), "--username, --password-stdin"),
        (("--preset", "outlook", "--username", "a@b.example"), "--password-stdin, NAME"),
        (("office", "--type", "smtp"), "--host"),
        (("text", "--type", "twilio"), "--account-sid, --from, --password-stdin"),
        (("office", "--preset", "gmail", "--from", "+15005550006"), "--from does not apply to gmail"),
        (("text", "--type", "twilio", "--host", "x"), "--host does not apply to twilio"),
        (("../x", "--type", "outbox"), "a name has"),
        (("office", "--host", "mail.acme.example:25"), "the port is asked for next"),
        (("office", "--host", "mx.acme.example", "--password-stdin"), "--password-stdin needs --username"),
        (("office", "--password", CANARY), "No such option"),
        (("office", f"--password={CANARY}"), "No such option"),
    ],
)
def test_without_a_terminal_nothing_is_asked_and_all_that_is_missing_is_named(
    hub: Hub, arguments: tuple[str, ...], words: str
) -> None:
    path = configure(hub)
    done = hub.run("provider", "add", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert CANARY not in done.stderr
    assert done.stdout == ""
    assert path.read_text() == OLD


@pytest.mark.parametrize("secret", ["", "two\nlines", "nul\0"])
def test_a_password_that_is_none_is_refused(hub: Hub, secret: str) -> None:
    path = configure(hub)
    add(hub, *OFFICE, secret=secret, code=2)
    assert path.read_text() == OLD


def test_a_name_that_is_taken_is_refused_before_anything_else(hub: Hub) -> None:
    path = configure(hub)
    for name in ("trial", "outbox"):
        done = add(hub, name, "--type", "outbox", code=5)
        assert f"the provider {name} already exists" in done.stderr
    path.write_text(f'{OLD}[providers.later]\ntype = "outbox"\n')
    done = add(hub, "later", "--type", "outbox", code=5)
    assert "provider remove later" in done.stderr


def test_what_the_daemon_refuses_is_undone_with_its_password(hub: Hub) -> None:
    path = configure(hub)
    done = add(hub, "office", "--host", "mail..acme", "--username", "me", code=1)
    assert "providers.office.host" in done.stderr
    assert path.read_text() == OLD
    assert sorted(each.name for each in hub.folder.iterdir()) == ["hubd.log", "hubd.toml", "state"]
    assert names(hub) == {"outbox", "trial"}


def test_a_file_with_a_fault_is_left_to_its_owner(hub: Hub) -> None:
    path = configure(hub)
    path.write_text(OLD + "[hub]\n")
    done = add(hub, *OFFICE, code=1)
    assert f"hubd --check --config {path}" in done.stderr
    assert path.read_text() == OLD + "[hub]\n"
    path.write_text(OLD + "[hubb]\n")
    done = add(hub, *OFFICE, code=1)
    assert "hubb: unknown key; did you mean hub?" in done.stderr
    assert path.read_text() == OLD + "[hubb]\n"
    assert not list(hub.folder.glob("*.pass"))


def test_a_link_stays_a_link_and_the_permissions_stay(hub: Hub) -> None:
    path = configure(hub)
    dotfiles = hub.folder / "dotfiles"
    dotfiles.mkdir()
    path.rename(dotfiles / "hubd.toml")
    (dotfiles / "hubd.toml").chmod(0o640)
    path.symlink_to(dotfiles / "hubd.toml")
    add(hub, "files", "--type", "outbox", code=2)  # an outbox has no password
    hub.ok("provider", "add", "files", "--type", "outbox")
    assert path.is_symlink()
    assert "[providers.files]" in path.read_text()
    assert (dotfiles / "hubd.toml").stat().st_mode & 0o777 == 0o640


def test_the_first_provider_makes_the_file(place: Path) -> None:
    hub = Hub(place, environ={**QUIET_ENV, "XDG_CONFIG_HOME": str(place / "config")})
    hub.process = launcher.popen(
        [sys.executable, "-m", "hubd", "--state-dir", str(place / "state")], cwd=ROOT, env=hub.environ
    )
    try:
        while not hub.answers():
            assert hub.process.poll() is None
        add(hub, *OFFICE)
        folder = place / "config" / "messagehub"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "hubd.toml").stat().st_mode & 0o777 == 0o600
        assert (folder / "hubd.toml").read_text().startswith("[providers.office]\n")
        assert (folder / "office.pass").stat().st_mode & 0o777 == 0o600
        assert names(hub) == {"outbox", "office"}
        hub.ok("provider", "remove", "office", "--yes")
        assert (folder / "hubd.toml").read_text() == ""
        assert names(hub) == {"outbox"}
    finally:
        hub.end()


def test_without_a_daemon_nobody_knows_which_file_it_is(hub: Hub) -> None:
    path = configure(hub)
    hub.end()
    done = hub.run("provider", "add", *OFFICE, "--password-stdin", stdin=CANARY)
    assert done.returncode == 6
    assert path.read_text() == OLD


# -- the keyring -------------------------------------------------------------------------------------------


def test_a_keyring_that_works_keeps_the_password_and_forgets_it_again(hub: Hub) -> None:
    hub.end()
    hub.environ |= ring(hub)
    hub.boot()
    path = configure(hub)
    with hostile(hub.folder, "server", "--login", f"ann:{CANARY}") as server:
        local = ("--host", "127.0.0.1", "--port", str(server.port), "--security", "none")
        done = add(hub, "local", *local, "--username", "ann", "--test")
        assert "local works" in done.stdout
        assert 'password = {keyring = "local"}' in path.read_text()
        assert entries(hub) == {"messagehub/local": CANARY}
        hub.ok("provider", "remove", "local", "--yes")
        assert entries(hub) == {}
        assert path.read_text() == OLD
        hub.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
        add(hub, "local", *local, "--username", "ann", "--secret-in", "keyring", code=1)
        assert path.read_text() == OLD


def test_an_entry_of_somebody_else_is_not_overwritten(hub: Hub) -> None:
    hub.environ |= ring(hub)
    (hub.folder / "ring.json").write_text('{"messagehub/office": "another"}')
    path = configure(hub)
    add(hub, *OFFICE)
    assert entries(hub) == {"messagehub/office": "another", "messagehub/office-2": CANARY}
    assert 'password = {keyring = "office-2"}' in path.read_text()
    (hub.folder / "text.pass").write_text("another")
    add(hub, "text", "--type", "twilio", "--account-sid", "AC1", "--from", "ACME", "--secret-in", "file")
    assert (hub.folder / "text.pass").read_text() == "another"
    assert (hub.folder / "text-2.pass").read_text() == f"{CANARY}\n"
    hub.ok("provider", "remove", "office", "--yes")
    hub.ok("provider", "remove", "text", "--yes")
    assert entries(hub) == {"messagehub/office": "another"}
    assert [each.name for each in hub.folder.glob("*.pass")] == ["text.pass"]


def test_a_keyring_that_waits_for_a_person_is_not_waited_for(hub: Hub) -> None:
    hub.environ |= ring(hub)
    (hub.folder / "ring.json.locked").touch()
    path = configure(hub)
    done = add(hub, *OFFICE)
    assert "office.pass, which only you can read" in done.stderr
    assert 'password = {file = "office.pass"}' in path.read_text()


def test_a_keyring_that_the_daemon_cannot_open_is_given_up_for_a_file(hub: Hub) -> None:
    path = configure(hub)
    hub.environ |= ring(hub)  # hubctl has one, the daemon was started without
    with hostile(hub.folder, "server", "--login", f"ann:{CANARY}") as server:
        local = ("--host", "127.0.0.1", "--port", str(server.port), "--security", "none")
        done = add(hub, "local", *local, "--username", "ann", "--test")
    assert "hubd cannot open your keyring" in done.stderr
    assert "local works" in done.stdout
    assert 'password = {file = "local.pass"}' in path.read_text()
    assert entries(hub) == {}


# -- remove ------------------------------------------------------------------------------------------------


def test_remove_says_who_needs_it_and_takes_only_its_own(hub: Hub, on_terminal: Any) -> None:
    path = configure(hub)
    add(hub, *OFFICE)
    hub.contacts(3)
    hub.campaign("spring", provider="office")
    hub.ok("start", "spring", "--at", "2099-01-01T00:00:00Z")
    done = hub.run("provider", "remove", "office")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    terminal = on_terminal(hub.command("provider", "remove", "office"), hub.environ)
    terminal.until("remove the provider office; 1 campaign could then not continue (spring)? [y/N]")
    terminal.type("n\n")
    assert "nothing was done" in terminal.rest()
    assert "office" in names(hub)
    removed = hub.json("provider", "remove", "office", "--yes")
    assert removed["applied"] == ["providers.office (removed)"]
    assert removed["secret_removed"] is True
    assert path.read_text() == OLD
    assert not (hub.folder / "office.pass").exists()
    assert hub.run("provider", "remove", "office", "--yes").returncode == 3
    assert hub.run("provider", "remove", "outbox", "--yes").returncode == 5


def test_a_password_that_was_not_ours_or_is_shared_stays(hub: Hub) -> None:
    for name in ("mine", "one.pass"):
        (hub.folder / name).touch(mode=0o600)
        (hub.folder / name).write_text(CANARY)
    smtp = 'type = "smtp"\nhost = "x.example"\nusername = "u"\n'
    own = f'[providers.own]\n{smtp}password = {{ file = "mine" }}\n'
    one, two = (f'[providers.{name}]\n{smtp}password = {{ file = "one.pass" }}\n' for name in ("one", "two"))
    path = configure(hub, own + one + two)
    done = hub.run("provider", "remove", "own", "--yes")
    assert "Its password was left in place: file mine" in done.stderr
    hub.ok("provider", "remove", "one", "--yes")
    assert (hub.folder / "mine").exists()
    assert (hub.folder / "one.pass").exists(), "two needs it"
    assert path.read_text() == two


def test_one_that_is_written_elsewhere_is_left_there(hub: Hub) -> None:
    folder = hub.folder / "hubd.toml.d"
    folder.mkdir()
    (folder / "10-more.toml").write_text('[providers.more]\ntype = "outbox"\n')
    configure(hub)
    done = hub.run("provider", "remove", "more", "--yes")
    assert done.returncode == 5
    assert str(folder / "10-more.toml") in done.stderr
    assert add(hub, "more", "--type", "outbox", code=5)


def test_a_file_of_another_user_is_not_changed(hub: Hub) -> None:
    path = configure(hub)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        path.unlink()
        path.symlink_to("/etc/passwd")
    before = path.read_text()
    done = add(hub, *OFFICE, code=4)
    assert "belongs to another user" in done.stderr
    assert path.read_text() == before
