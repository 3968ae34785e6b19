"""Lists that shrink, on the command line: this week's file is the list, and people leave one list or all."""

from __future__ import annotations

from typing import Any

from tests.apps.conftest import Hub

BEFORE = "email,first_name\nann@example.com,Ann\nbob@example.com,Bob\ncat@example.com,Cat\n"
AFTER = "email,first_name\nann@example.com,Ann\nnobody,X\ndan@example.com,Dan\n"


def on(hub: Hub, name: str) -> list[str]:
    return [each["email"] for each in hub.json("contacts", "list", "--list", name)["contacts"]]


def test_this_weeks_file_is_the_list(hub: Hub) -> None:
    hub.ok("import", hub.file("before.csv", BEFORE), "--list", "staff")
    after = hub.file("after.csv", AFTER)
    trial = hub.run("import", after, "--list", "staff", "--replace", "--dry-run")
    assert trial.returncode == 9
    assert "2 contacts would be taken off list staff" in trial.stdout
    refused = hub.run("import", after, "--list", "staff", "--replace")
    assert refused.returncode == 2
    assert "take everybody who is not in" in refused.stderr
    assert on(hub, "staff") == ["ann@example.com", "bob@example.com", "cat@example.com"]
    done = hub.run("import", after, "--list", "staff", "--replace", "--yes")
    assert done.returncode == 9
    assert "2 contacts taken off list staff" in done.stdout
    assert on(hub, "staff") == ["ann@example.com", "dan@example.com"]
    assert hub.json("contacts", "show", "cat@example.com")["contact"]["lists"] == []


def test_a_no_takes_nobody_off_and_says_that_the_file_is_imported(hub: Hub, on_terminal: Any) -> None:
    hub.ok("import", hub.file("before.csv", BEFORE), "--list", "staff")
    after = hub.file("after.csv", "email\nann@example.com\n")
    terminal = on_terminal(hub.command("import", after, "--list", "staff", "--replace"), hub.environ)
    terminal.until("off list staff (2 contacts)? [y/N]")
    terminal.type("n\n")
    assert "nobody was taken off list staff" in terminal.rest()
    assert terminal.process.returncode == 1
    assert len(on(hub, "staff")) == 3


def test_a_file_without_one_valid_row_empties_no_list(hub: Hub) -> None:
    hub.ok("import", hub.file("before.csv", BEFORE), "--list", "staff")
    refused = hub.run("import", hub.file("bad.csv", "email\nx\n"), "--list", "staff", "--replace", "--yes")
    assert refused.returncode == 1
    assert "nobody is taken off" in refused.stderr
    assert "bad.csv:2: email: not an email address: no @ in it" in refused.stderr
    assert len(on(hub, "staff")) == 3


def test_a_dry_run_into_a_list_that_would_be_new_takes_nobody_off(hub: Hub) -> None:
    trial = hub.ok("import", hub.file("before.csv", BEFORE), "--list", "staff", "--replace", "--dry-run")
    assert "0 contacts would be taken off list staff" in trial
    assert hub.json("lists")["lists"] == []


def test_lists_are_renamed_and_deleted_and_contacts_leave_one(hub: Hub) -> None:
    hub.ok("import", hub.file("before.csv", BEFORE), "--list", "staff")
    hub.campaign("spring", lists=["staff"])
    assert (
        hub.ok("contacts", "remove", "cat@example.com", "--list", "staff", "--yes")
        == "taken off list staff\n"
    )
    assert hub.ok("contacts", "add", "dan@example.com", "--list", "staff", "--set", "first_name=Dan")
    renamed = hub.run("lists", "rename", "staff", "team")
    assert renamed.stdout == "renamed to team\n"
    assert "in the files of spring" in renamed.stderr
    assert hub.ok("lists").split() == ["LIST", "CONTACTS", "team", "3"]
    assert hub.json("lists")["lists"] == [{"name": "team", "contacts": 3}]
    assert hub.run("lists", "delete", "team").returncode == 2
    assert hub.ok("lists", "delete", "team", "--yes") == "deleted; the 3 contacts that were on it remain\n"
    assert hub.run("lists", "delete", "team", "--yes").returncode == 3
    assert len(hub.json("contacts", "list")["contacts"]) == 4


def test_what_is_not_a_field_is_a_usage_error(hub: Hub) -> None:
    done = hub.run("contacts", "add", "dan@example.com", "--list", "staff", "--set", "Dan")
    assert done.returncode == 2
    assert "FIELD=VALUE" in done.stderr


def test_a_removed_contact_gets_nothing_from_a_paused_campaign(hub: Hub) -> None:
    hub.contacts(3, into="people")
    hub.campaign("spring", lists=["people"])
    hub.ok("start", "spring", "--limit", "1", "--yes")
    hub.ok("wait", "spring", "--for", "paused", "--timeout", "60s")
    waiting = hub.json("deliveries", "spring", "--state", "pending")["deliveries"][-1]["recipient"]
    assert hub.ok("contacts", "remove", waiting, "--yes") == "removed; a waiting message is cancelled\n"
    assert "1 message will not be sent: contact removed" in hub.ok("log", "spring")
    hub.ok("resume", "spring")
    hub.ok("wait", "spring", "--for", "completed", "--timeout", "60s")
    counts = hub.json("status", "spring")["campaign"]["counts"]
    assert (counts["sent"], counts["skipped"]) == (2, 1)
