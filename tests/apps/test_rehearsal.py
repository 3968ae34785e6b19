"""`--dry-run`: says what would happen, changes nothing, and ends with the exit code of the deed."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import Result

from tests.apps.conftest import Hub
from tests.apps.test_command_line import ALL, run

#: Commands that change something and have nothing to foretell: they start something of their own, or call
#: whatever they are told to.
WITHOUT = {"demo", "rpc call"}


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_that_changes_something_can_be_rehearsed(name: str) -> None:
    verbs = {
        *("import", "apply", "test", "start", "pause", "resume", "stop", "rate", "retry", "clone", "archive"),
        *(
            "delete",
            "send",
            "contacts add",
            "contacts remove",
            "contacts forget",
            "lists rename",
            "lists delete",
        ),
        *("suppress add", "suppress remove", "suppress import"),
        *("provider enable", "provider disable", "provider add", "provider set", "provider remove"),
        *(
            "daemon reload",
            "daemon shutdown",
            "daemon backup",
            "daemon restore",
            "service install",
            "service uninstall",
        ),
        *("template apply", "template delete", "new", "credits grant", "notifications", "sink resume"),
        *("inbox reply", "inbox decide"),
    }
    options = {param.name for param in ALL[name].params}
    assert ("dry_run" in options) is (name in verbs), name
    assert not verbs & WITHOUT


def here(hub: Hub, *command: str) -> Result:
    """hubctl in this process: there are many of them to run."""
    return run(*command, HUBCTL_SOCKET=str(hub.socket))


def events(hub: Hub) -> str:
    return here(hub, "rpc", "call", "events.list", '{"limit": 500}').stdout


def foretold(hub: Hub, *command: str) -> int:
    """Rehearse a command, then do it: the same exit code, the same refusal, and nothing happened before."""
    before = events(hub)
    trial = here(hub, *command, "--dry-run")
    assert events(hub) == before, command
    done = here(hub, *command, "--yes")
    assert trial.exit_code == done.exit_code, (command, trial.stderr, done.stderr)
    if done.exit_code:
        assert trial.stderr.splitlines()[0] == done.stderr.splitlines()[0], command
    else:
        assert trial.stdout, command
    return done.exit_code


def test_a_rehearsal_ends_as_the_deed_does(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="1/minute")
    codes = [
        foretold(hub, *command.split())
        for command in (
            "pause spring",
            "archive spring",
            "retry spring",
            "rate spring fast",
            "rate spring 2/minute",
            "clone spring autumn",
            "clone spring autumn",
            "clone spring spring",
            "clone spring Bad!",
            "clone nobody other",
            "start spring",
            "apply " + str(hub.folder / "spring.toml"),
            "clone autumn spring",
            "delete spring",
            "pause spring",
            "pause spring",
            "resume spring",
            "stop spring",
            "resume spring",
            "retry spring",
            "archive spring",
            "archive spring",
            "archive spring --undo",
            "stop spring",
            "delete spring",
            "delete spring",
            "contacts remove p1@example.com",
            "contacts remove p1@example.com",
            "suppress add P2@Example.com",
            "suppress add p2@example.com",
            "suppress add p2@@example.com",
            "suppress remove p2@example.com",
            "suppress remove p2@example.com",
            "provider disable outbox",
            "provider disable outbox",
            "provider enable outbox",
            "provider enable nowhere",
            "provider remove outbox",
            "provider remove nowhere",
            "provider set nowhere --rate 5/s",
            "send --provider nowhere --to a@example.com --text x --subject x",
            f"daemon backup {hub.folder}/copy.db",
            f"daemon backup {hub.folder}/copy.db",
        )
    ]
    assert {0, 1, 3, 5} == set(codes)
    refusal = here(hub, "daemon", "backup", f"{hub.folder}/copy.db").stderr
    assert refusal.startswith(f"error: {hub.folder}/copy.db already exists\n")


def test_what_would_happen_is_said_in_words(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", rate="1/minute")
    said = hub.ok("start", "spring", "--dry-run", "--limit", "2")
    assert said.startswith("would start spring: 3 recipients via outbox, ")
    assert said.rstrip().endswith(", 2 of them now")
    hub.ok("start", "spring")
    assert hub.ok("start", "spring", "--dry-run") == "spring is already running\n"
    assert "would pause spring: " in hub.ok("pause", "spring", "--dry-run")
    assert hub.ok("resume", "spring", "--dry-run") == "spring is already running\n"
    running = "would shut hubd down: 1 campaign is running and continues when it starts again\n"
    assert hub.ok("daemon", "shutdown", "--dry-run") == running
    stops = "would disable outbox; 1 campaign would pause (spring)\n"
    assert hub.ok("provider", "disable", "outbox", "--dry-run") == stops
    kept = "would remove p0@example.com, which is in the list all\n"
    assert hub.ok("contacts", "remove", "p0@example.com", "--dry-run") == kept
    assert hub.json("pause", "spring", "--dry-run")["would"] == {"change": True, "state": "paused"}
    assert hub.json("resume", "spring", "--dry-run")["would"] == {"change": False, "state": "running"}
    hub.ok("stop", "spring")
    said = hub.ok("delete", "spring", "--dry-run")
    assert said == "would delete spring and its history of 3 deliveries\n"


def test_a_campaign_that_was_begun_is_foretold_by_what_is_left(hub: Hub) -> None:
    hub.contacts(5)
    hub.campaign("spring")
    hub.ok("start", "spring", "--limit", "2", "--wait")
    for command in ("pause", "stop"):
        hub.ok(command, "spring")
        assert "start spring: 3 of 5 are left via outbox" in hub.ok("start", "spring", "--dry-run")
        assert re.search(r"recipients +3 of 5 are left\n", hub.ok("check", "spring"))
    hub.ok("start", "spring", "--limit", "2", "--wait")
    assert "start spring: 1 of 5 is left via outbox" in hub.ok("start", "spring", "--dry-run")
    hub.ok("start", "spring", "--wait")
    assert "not ready to start" in hub.ok("check", "spring", code=1)


def test_a_file_of_addresses_is_rehearsed_row_by_row(hub: Hub) -> None:
    hub.ok("suppress", "add", "one@example.com")
    path = hub.file("s.csv", "address\nONE@example.com\ntwo@example.com\nbroken@@x\n+12025550123\nword\n")
    trial = hub.json("suppress", "import", path, "--dry-run", code=9)
    done = hub.json("suppress", "import", path, code=9)
    assert trial.pop("dry_run") is True
    by_line = [sorted(each.pop("errors"), key=lambda row: str(row["line"])) for each in (trial, done)]
    assert by_line[0] == by_line[1]
    assert trial == done
    assert (done["added"], done["unchanged"], done["invalid"]) == (2, 1, 2)


def test_a_bad_cell_of_a_row_is_no_fault_of_the_good_one_beside_it(hub: Hub) -> None:
    path = hub.file("s.csv", "address,email\nann@example.com,nonsense@\nANN@example.com,\n")
    trial = hub.json("suppress", "import", path, "--dry-run")
    done = hub.json("suppress", "import", path)
    assert (trial["added"], trial["unchanged"], trial["invalid"]) == (1, 1, 0)
    assert (done["added"], done["unchanged"], done["invalid"]) == (1, 1, 0)
    assert trial["warnings"] == done["warnings"] != []


def test_the_rehearsal_knows_an_address_as_the_daemon_knows_it(hub: Hub) -> None:
    """A domain in another alphabet, and its spelling in ASCII, are one."""
    hub.ok("suppress", "add", "ann@b\u00fccher.example")
    for spelled in ("Ann@b\u00fccher.example", "ann@xn--bcher-kva.example"):
        trial = hub.json("suppress", "add", spelled, "--dry-run")
        assert trial["would"]["change"] is hub.json("suppress", "add", spelled)["changed"] is False


def test_a_provider_is_shown_as_it_would_be_written(hub: Hub) -> None:
    office = ("office", "--type", "smtp", "--host", "127.0.0.1", "--port", "1", "--security", "none")
    before = (hub.folder / "hubd.toml").read_bytes()
    said = hub.ok("provider", "add", *office, "--dry-run")
    assert '[providers.office]\ntype = "smtp"\nhost = "127.0.0.1"\n' in said
    assert (hub.folder / "hubd.toml").read_bytes() == before
    secret = hub.run(
        "provider", "add", "office", "--type", "smtp", "--host", "mail.acme.example", "--username", "me",
        "--password-stdin", "--dry-run", "--json", stdin="hunter2\n",
    )  # fmt: skip
    assert secret.returncode == 0, secret.stderr
    assert "hunter2" not in secret.stdout + secret.stderr
    assert json.loads(secret.stdout)["would"]["change"] is True
    assert sorted(path.name for path in hub.folder.iterdir()) == ["hubd.log", "hubd.toml", "state"]


def test_a_reload_is_foretold_by_the_keys_that_would_change(hub: Hub) -> None:
    assert hub.ok("daemon", "reload", "--dry-run") == "nothing would change\n"
    path = hub.folder / "hubd.toml"
    before = path.read_text()
    path.write_text(before + '\n[providers.second]\ntype = "outbox"\nrate = "5/s"\n')
    would = hub.json("daemon", "reload", "--dry-run")["would"]
    assert {"providers.second.type", "providers.second.rate"} <= set(would["keys"])
    assert [each["name"] for each in hub.json("provider", "list")["providers"]] == ["outbox"]
    path.write_text(before + "\nnonsense = 1\n")
    refused = [hub.run("daemon", "reload", *more) for more in (("--dry-run",), ())]
    assert refused[0].returncode == refused[1].returncode != 0
    assert refused[0].stderr.splitlines()[0] == refused[1].stderr.splitlines()[0]
    path.write_text(before)
