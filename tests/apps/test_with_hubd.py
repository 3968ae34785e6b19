"""hubctl and a real hubd: what the commands print, where they print it, and how they exit."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub


def finished(hub: Hub, name: str) -> dict[str, Any]:
    view: dict[str, Any] = hub.json("wait", name, "--for", "completed", "--timeout", "60s")["campaign"]
    return view


def test_from_a_csv_to_who_got_it(hub: Hub) -> None:
    people = (
        "E-Mail;first name;Stadt\nann@example.com;Ann;Köln\nb@example.com;Bo;\nANN@example.com;A;\na@b;X;\n"
    )
    found = hub.json("import", hub.file("people.csv", people), "--list", "all", "--map", "Stadt=city", code=9)
    assert next(iter(found)) == "schema"
    assert found["schema"] == "hubctl.import/1"
    counts = {"rows": 4, "imported": 2, "updated": 0, "unchanged": 0, "duplicates": 1, "invalid": 1}
    assert {key: found[key] for key in counts} == counts
    assert [(each["line"], each["field"]) for each in found["errors"]] == [(5, "email")]
    again = hub.json("import", hub.file("people.csv", people), "--list", "all", "--map", "Stadt=city", code=9)
    assert (again["imported"], again["updated"], again["unchanged"]) == (0, 0, 2)

    hub.campaign("spring", text="Hi {{ first_name }} in {{ city | default('town') }}")
    assert hub.json("check", "spring")["recipients"] == 2
    preview = hub.ok("preview", "spring", "--to", "ann@example.com")
    assert "Subject: Hello Ann" in preview
    assert "Hi Ann in Köln" in preview
    assert hub.json("start", "spring")["changed"] is True
    counts = finished(hub, "spring")["counts"]
    assert (counts["total"], counts["sent"]) == (2, 2)

    rows = [json.loads(line) for line in hub.ok("deliveries", "spring", "--output", "ndjson").splitlines()]
    assert [row["recipient"] for row in rows] == ["ann@example.com", "b@example.com"]
    keys = ["id", "recipient", "state", "reason", "attempts", "code", "provider_id", "message_id"]
    keys += ["updated_at", "provider_reply"]
    assert all(list(row) == keys for row in rows)
    assert hub.json("deliveries", "spring")["deliveries"] == rows
    assert hub.json("deliveries", "spring", "--state", "failed")["deliveries"] == []
    shown = hub.ok("message", str(rows[0]["id"]))
    assert "Hi Ann in Köln" in shown
    assert "TRY" in shown
    table = list(csv.reader(io.StringIO(hub.ok("deliveries", "spring", "--output", "csv"))))
    assert table[0] == keys
    assert len(table) == 3
    assert hub.json("status", "spring")["campaign"]["state"] == "completed"
    assert "spring" in hub.ok()
    assert "spring" in hub.ok("list")
    assert "Hi {{ first_name }}" in hub.ok("show", "spring")
    assert "running -> completed" in hub.ok("log", "spring")


def test_an_import_on_several_pages_adds_up(hub: Hub) -> None:
    rows = "".join(f"p{n}@example.com,{n}\n" + ("broken,x\n" if n % 100 == 0 else "") for n in range(4200))
    found = hub.json(
        "import", hub.file("many.csv", "email,n\n" + rows + "P0@EXAMPLE.com,\n"), "--list", "all", code=9
    )
    assert (found["rows"], found["imported"], found["duplicates"], found["invalid"]) == (4243, 4200, 1, 42)
    assert [each["line"] for each in found["errors"]] == [3 + 101 * n for n in range(42)]
    path = hub.file("bad.csv", "email\n" + "x\n" * 30 + "a@b\n")
    told = hub.run("import", path, "--list", "all")
    assert told.returncode == 9
    assert told.stderr.splitlines() == [
        f"{path}:2: email: not an email address: no @ in it (30 rows: 2, 3, 4, 5, 6 and 25 more)",
        f"{path}:32: email: not an email address: no dot in the domain",
    ]


def test_an_import_says_what_became_of_every_column(hub: Hub) -> None:
    text = "E-Mail;Vorname;Telefon;;Umsatz (EUR);intern;Stadt\nann@example.com;Ann;030 901820;;5;x;Köln\n"
    path = hub.file("kunden.csv", text)
    arguments = ("--list", "all", "--region", "DE", "--skip", "intern", "--map", "Stadt=city")
    found = hub.json("import", path, *arguments)
    assert [(each["column"], each["field"], each["own"]) for each in found["columns"]] == [
        ("E-Mail", "email", "e_mail"),
        ("Vorname", "first_name", "vorname"),
        ("Telefon", "phone", "telefon"),
        ("", None, None),
        ("Umsatz (EUR)", "umsatz_eur", "umsatz_eur"),
        ("intern", None, None),
        ("Stadt", "city", "city"),
    ]
    assert [(each["line"], each["field"]) for each in found["warnings"]] == [(2, "phone")]
    shown = hub.ok("import", path, *arguments)
    assert re.search(r"Vorname +first_name, also vorname\n", shown)
    assert re.search(r"intern +skipped\n", shown)
    assert "1 column without a name left out" in shown
    contact = hub.json("contacts", "show", "ann@example.com")["contact"]
    assert contact["fields"] == {
        "e_mail": "ann@example.com",
        "vorname": "Ann",
        "first_name": "Ann",
        "telefon": "030 901820",
        "umsatz_eur": "5",
        "city": "Köln",
    }


def test_refused_rows_are_written_to_a_file_that_can_be_imported_when_it_is_repaired(hub: Hub) -> None:
    text = 'email;name;n\nann@example.com;Ann;1\nbob@;"Bob; the 2nd";=1\ncat@example.com;Cat;1;2\n'
    path, rejects = hub.file("people.csv", text), hub.folder / "rejects.csv"
    hub.ok("import", path, "--list", "all", "--rejects", str(rejects), code=9)
    rows = list(csv.reader(io.StringIO(rejects.read_text("utf-8-sig"))))
    assert rows[0] == ["import_line", "import_problem", "email", "name", "n"]
    assert sorted(row[0] for row in rows[1:]) == ["3", "4"]
    assert next(row for row in rows if row[0] == "3") == [
        *("3", "email: not an email address: nothing after the @"),
        *("bob@", "Bob; the 2nd", "'=1"),
    ]
    assert rejects.stat().st_mode & 0o777 == 0o600
    repaired = rejects.read_text("utf-8-sig").replace("bob@", "bob@example.com")
    found = hub.json("import", hub.file("repaired.csv", repaired), "--list", "all", code=9)
    assert (found["rows"], found["imported"]) == (2, 1)
    assert hub.json("contacts", "show", "bob@example.com")["contact"]["fields"] == {
        "name": "Bob; the 2nd",
        "n": "=1",
    }
    refused = hub.run("import", path, "--list", "all", "--rejects", path)
    assert (refused.returncode, "is the file to import" in refused.stderr) == (2, True)
    assert Path(path).read_text() == text


def test_who_opted_out_elsewhere_is_not_imported_and_can_be_suppressed_from_the_same_file(hub: Hub) -> None:
    text = "Email Address,Phone,UNSUB_TIME\nann@example.com,,2024-02-01\nbob@example.com,,\n"
    found = hub.json("import", hub.file("all.csv", text), "--list", "all", code=9)
    assert (found["imported"], found["invalid"], found["errors"][0]["field"]) == (1, 1, "unsub_time")
    out = hub.file("out.csv", text + ",(415) 555-2671,2024\n,+49 30 901820,\n,,2024-02-03\n")
    stopped = hub.json("suppress", "import", out, "--region", "US", code=9)
    counts = {key: stopped[key] for key in ("rows", "added", "unchanged", "invalid")}
    assert counts == {"rows": 5, "added": 4, "unchanged": 0, "invalid": 1}
    listed = hub.run("suppress", "list", "--json").stdout.splitlines()
    assert [json.loads(each)["address"] for each in listed] == [
        *("ann@example.com", "bob@example.com", "+14155552671", "+4930901820"),
    ]
    hub.ok("suppress", "remove", "030 901820", "--region", "DE", "--yes")
    assert hub.json("suppress", "add", "030 901820", "--region", "DE")["changed"] is True


ANN, TEL = "ann@example.com", "+4930901820"


@pytest.mark.parametrize(
    "text",
    [
        "Email Address,First Name,UNSUB_TIME,UNSUB_REASON,LEID\nann@example.com,Ann,2024-02-01,spam,1\n",
        "Record ID,Email,Unsubscribed from all email\n17,ann@example.com,true\n",
        "EMAIL,BLOCKLISTED,REASON,DATE\nann@example.com,1,hard_bounce,2024-02-01\n",
        "EmailAddress,SuppressionReason,CreatedAt\nann@example.com,HardBounce,2024-02-01\n",
        "E-Mail-Adresse;Grund;Abgemeldet am\nann@example.com;wollte nicht;01.02.2024\n",
        "Nr.;Empfänger;Bemerkung\n1;ann@example.com;\n2;;ohne\n",
        "sep=;\nMailadresse;Name\nann@example.com;Jürgen\n",
        "ann@example.com\n",
        "\ufeffann@example.com\r\n\r\n",
        "2024-02-01;ann@example.com;abgemeldet\n",
        "Telefonnummer\n030 901820\n",
        "Festnetz (privat);Kunde\n030/901820;4711\n",
        "+49 30 901820\n",
        "0049 30 901820\n030 901820\n",
        "ann@example.com,030 901820,x\n",
    ],
)
def test_every_row_of_an_odd_file_of_addresses_to_suppress_counts(hub: Hub, text: str) -> None:
    found = hub.json("suppress", "import", hub.file("x.csv", text), "--region", "DE", code=None)
    assert found["rows"] > 0
    assert found["rows"] == found["added"] + found["unchanged"] + found["invalid"]
    listed = [json.loads(each)["address"] for each in hub.ok("suppress", "list", "--json").splitlines()]
    assert listed == [each for each, there in ((ANN, "ann@" in text), (TEL, "901820" in text)) if there]


def test_a_file_without_an_address_is_refused_by_suppress_import_too(hub: Hub) -> None:
    done = hub.run("suppress", "import", hub.file("x.csv", "name\nAnn\n"))
    assert done.returncode == 1
    assert "neither an email nor a phone column" in done.stderr


def test_a_phone_that_belongs_to_somebody_else_is_told_by_line(hub: Hub) -> None:
    rows = "email,phone\nann@example.com,+14155552671\nbob@example.com,+14155552671\n"
    found = hub.json("import", hub.file("shared.csv", rows), "--list", "all")
    assert (found["imported"], found["invalid"]) == (2, 0)
    assert [(each["line"], each["field"]) for each in found["warnings"]] == [(3, "phone")]


def test_rows_that_were_read_are_not_people_that_came(hub: Hub) -> None:
    path = hub.file("people.csv", "email\nann@example.com\nANN@example.com\nbroken\nbo@example.com\n")
    told = hub.ok("import", path, "--list", "all", "--dry-run", code=9)
    assert told.startswith(f"4 rows of {path} read, 2 would go to list all\n")
    told = hub.ok("import", path, "--list", "all", code=9)
    assert told.startswith(f"4 rows of {path} read, 2 went to list all\n")


def test_a_dry_run_changes_nothing(hub: Hub) -> None:
    path = hub.file("people.csv", "email\nann@example.com\n")
    assert hub.json("import", path, "--list", "all", "--dry-run")["imported"] == 1
    assert hub.json("lists")["lists"] == []
    assert hub.json("import", path, "--list", "all")["imported"] == 1


def test_standard_input_is_a_file_too(hub: Hub) -> None:
    done = hub.run("import", "-", "--list", "all", "--json", stdin="email\nann@example.com\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == 1


def test_a_bad_campaign_file_is_told_with_file_line_and_key(hub: Hub) -> None:
    lines = ['name = "x"', 'channel = "email"', 'lists = ["all"]', 'sender = "a@acme.example"', ""]
    lines += ['text = "x"', 'subject = "s"', "[retry]", 'give_up = "24h"']
    path = hub.file("x.toml", "\n".join(lines))
    done = hub.run("apply", path)
    assert done.returncode == 1
    assert f"{path}:9: retry.give_up: " in done.stderr
    assert "give_up_after" in done.stderr
    assert done.stdout == ""
    assert hub.json("list")["campaigns"] == []


def test_a_field_that_cannot_be_read_is_told_with_a_guess(hub: Hub) -> None:
    head = 'name = "x"\nchannel = "email"\nlists = ["all"]\nsender = "a@acme.example"\nsubject = "s"\n'
    for text, guess in (("{{ first name }}", "cannot contain spaces"), ("{{ first_name }", "two braces")):
        done = hub.run("apply", hub.file("x.toml", f'{head}text = "{text}"\n'))
        assert done.returncode == 1
        assert guess in done.stderr


def test_apply_tells_what_changed(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    assert "spring: nothing changed" in hub.ok("apply", f"{hub.folder}/spring.toml")
    hub.file("spring.toml", (hub.folder / "spring.toml").read_text().replace("Hello", "Good day"))
    done = hub.run("apply", f"{hub.folder}/spring.toml")
    assert done.stdout == "spring: changed subject\n"
    assert "next: hubctl check spring" in done.stderr
    hub.campaign("spring", subject="Other")
    found = hub.json("apply", f"{hub.folder}/spring.toml")["applied"]
    assert found[0]["changed"] == []


def test_an_attachment_goes_along(hub: Hub) -> None:
    hub.contacts(1)
    hub.file("flyer.bin", bytes(range(256)) * 5000)
    hub.campaign("spring", attachments=["flyer.bin"])
    assert "flyer.bin" in hub.ok("preview", "spring", "--source")


def test_an_unfit_campaign_does_not_start_and_says_how_it_could(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", kind="marketing")
    assert hub.run("check", "spring").returncode == 1
    done = hub.run("start", "spring")
    assert done.returncode == 1
    assert "--accept-risk no-unsubscribe" in done.stderr
    error = json.loads(hub.run("start", "spring", "--json").stderr)["error"]
    assert error["code"] == "preflight_failed"
    assert error["data"]["problems"]
    hub.ok("start", "spring", "--accept-risk", "no-unsubscribe", "--wait")


def test_what_does_not_exist_is_exit_code_3_and_what_is_not_allowed_5(hub: Hub) -> None:
    for arguments in (
        ("status", "x"),
        ("start", "x"),
        ("watch", "x"),
        ("wait", "x"),
        ("log", "x"),
        ("failures", "x"),
    ):
        assert hub.run(*arguments).returncode == 3, arguments
    assert hub.run("message", "4711").returncode == 3
    assert hub.run("contacts", "show", "nobody@example.com").returncode == 3
    assert hub.run("provider", "test", "nobody").returncode == 3
    hub.contacts(1)
    hub.campaign("spring")
    assert hub.run("pause", "spring").returncode == 5
    assert hub.run("status", "spring", "--check").returncode == 10
    assert hub.run("status", "--check").returncode == 0


def test_pause_resume_stop_and_a_changed_rate(hub: Hub) -> None:
    hub.contacts(200)
    hub.campaign("slow", rate="1/s")
    hub.ok("start", "slow")
    assert hub.json("status", "slow", "--check")["running"] is True
    assert hub.json("pause", "slow")["changed"] is True
    assert hub.json("pause", "slow")["changed"] is False
    assert hub.run("wait", "slow", "--timeout", "200ms").returncode == 7
    assert hub.run("wait", "slow", "--for", "paused,failed").returncode == 0
    assert hub.json("start", "slow", "--dry-run")["dry_run"] is True
    assert hub.json("resume", "slow")["campaign"]["state"] == "running"
    assert hub.json("stop", "slow")["campaign"]["state"] == "stopped"
    assert hub.run("wait", "slow", "--for", "completed").returncode == 1
    hub.ok("rate", "slow", "none")
    assert hub.run("rate", "slow", "fast").returncode == 1
    hub.ok("start", "slow", "--wait")
    assert finished(hub, "slow")["counts"]["sent"] == 200


def test_a_canary_pauses_at_its_limit_and_that_is_success(hub: Hub) -> None:
    hub.contacts(20)
    hub.campaign("spring")
    found = hub.json("start", "spring", "--limit", "5", "--wait")["campaign"]
    assert (found["state"], found["reason"], found["counts"]["sent"]) == ("paused", "limit", 5)


def test_following_without_a_terminal_prints_plain_lines_to_stderr(hub: Hub) -> None:
    hub.contacts(60)
    hub.campaign("spring", rate="60/s")
    done = hub.run("start", "spring", "--follow")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stderr
    assert "spring is completed: 60 sent of 60" in done.stderr
    assert done.stdout.startswith("spring  completed\n")
    watched = hub.run("watch", "spring")
    assert (watched.returncode, watched.stdout) == (0, "spring is completed: 60 sent of 60\n")


def test_ctrl_c_detaches_and_the_campaign_goes_on(hub: Hub) -> None:
    hub.contacts(100)
    hub.campaign("slow", rate="1/s")
    hub.ok("start", "slow")
    watching = launcher.popen(
        hub.command("watch", "slow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=hub.environ,
    )
    assert watching.stdout is not None
    assert "slow is running" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=TIMEOUT)
    assert watching.returncode == 130
    assert "detached; the campaign continues" in told
    assert hub.json("status", "slow")["campaign"]["state"] == "running"


def test_a_reader_that_has_enough_is_no_error(hub: Hub) -> None:
    hub.contacts(3000)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    line = " ".join(hub.command("deliveries", "spring", "--output", "ndjson"))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} | head -1"],
        capture_output=True, text=True, cwd=ROOT, env=hub.environ, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["recipient"] == "p0@example.com"


def test_one_message_is_sent_at_once(hub: Hub) -> None:
    number = hub.ok(
        *("send", "--provider", "outbox", "--to", "ann@example.com", "--sender", "a@acme.example"),
        *("--subject", "Your code", "--text", "It is {{ code }}", "--field", "code=4711", "--wait"),
    ).strip()
    life = hub.json("message", number)
    assert life["delivery"]["state"] == "sent"
    assert life["content"]["text"].strip() == "It is 4711"
    same = [
        hub.json("send", "--provider", "outbox", "--to", "+12025550123", "--text", "x", key, "k")
        for key in ("--key", "--idempotency-key")
    ]
    assert same[0]["delivery_id"] == same[1]["delivery_id"]


def test_contacts_out_and_in_again_change_nothing(hub: Hub) -> None:
    rows = 'email,phone,note\nann@example.com,+12025550123,"=1+1"\nbo@example.com,,"\'-x\nnext line"\n'
    hub.ok("import", hub.file("people.csv", rows), "--list", "all")
    out = hub.ok("contacts", "export", "--list", "all")
    assert "'=1+1" in out
    again = hub.json("import", hub.file("again.csv", out), "--list", "all")
    assert (again["unchanged"], again["updated"], again["imported"]) == (2, 0, 0)
    assert "+12025550123" in hub.ok("contacts", "show", "ann@example.com")
    assert len(hub.json("contacts", "list")["contacts"]) == 2
    assert hub.run("contacts", "remove", "bo@example.com").returncode == 2
    hub.ok("contacts", "remove", "bo@example.com", "--yes")
    assert len(hub.json("contacts", "list")["contacts"]) == 1


def test_a_suppressed_address_gets_nothing(hub: Hub) -> None:
    hub.contacts(3)
    hub.ok("suppress", "add", "P1@example.com", "--reason", "asked")
    assert "asked" in hub.ok("suppress", "list")
    found = hub.json("suppress", "import", hub.file("s.csv", "address\np2@example.com\nnonsense\n"), code=9)
    assert (found["rows"], found["added"], found["invalid"]) == (2, 1, 1)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    counts = finished(hub, "spring")["counts"]
    assert (counts["sent"], counts["total"] - counts["skipped"]) == (1, 1)
    hub.ok("suppress", "remove", "p1@example.com", "--yes")


def test_dangerous_things_need_an_answer_or_yes(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    done = hub.run("delete", "spring")
    assert done.returncode == 2
    assert "pass --yes" in done.stderr
    assert hub.run("daemon", "shutdown").returncode == 2
    hub.ok("delete", "spring", "--yes")
    assert hub.run("status", "spring").returncode == 3


def test_the_daemon_and_its_providers(hub: Hub) -> None:
    assert "outbox" in hub.ok("provider", "list")
    assert hub.json("provider", "test", "outbox")["ok"] is True
    assert hub.json("provider", "disable", "outbox")["provider"]["state"] == "disabled"
    assert hub.json("provider", "enable", "outbox")["provider"]["state"] == "ready"
    assert "hubd" in hub.ok("daemon", "status")
    assert hub.json("daemon", "reload")["schema"] == "hubctl.daemon.reload/1"
    hub.file("hubd.toml", "[providers.x]\ntype = 1\n")
    assert hub.run("daemon", "reload").returncode == 1
    hub.ok("daemon", "shutdown", "--yes")
    assert hub.process is not None
    assert hub.process.wait(TIMEOUT) == 0
    assert hub.run("status").returncode == 6


def test_watching_survives_a_restart_of_the_daemon(hub: Hub) -> None:
    hub.contacts(40)
    hub.campaign("slow", rate="20/s")
    hub.ok("start", "slow")
    watching = launcher.popen(
        hub.command("watch", "slow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=hub.environ,
    )
    assert watching.stdout is not None
    assert "slow is running" in watching.stdout.readline()
    hub.end()
    hub.boot()
    out, told = watching.communicate(timeout=TIMEOUT)
    assert watching.returncode == 0, told
    assert "hubd is back" in told
    assert out.splitlines()[-1] == "slow is completed: 40 sent of 40"


def test_events_go_on_where_the_cursor_was(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    first = [json.loads(line) for line in hub.ok("events", "--json").splitlines()]
    assert all(event["schema"] == "hubctl.events/1" for event in first)
    hub.ok("start", "spring", "--wait")
    later = [
        json.loads(line) for line in hub.ok("events", "--json", "--since", str(first[-1]["seq"])).splitlines()
    ]
    assert later
    assert all(event["seq"] > first[-1]["seq"] for event in later)
    assert {"running", "completed"} <= {event["data"].get("to") for event in later}


def test_a_dry_run_of_an_unfit_campaign_says_so(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring", kind="marketing")
    done = hub.run("start", "spring", "--dry-run")
    assert done.returncode == 1
    assert "would start spring: 3 recipients via outbox" in done.stdout
    assert "--accept-risk no-unsubscribe" in done.stdout
    assert hub.run("start", "spring", "--dry-run", "--accept-risk", "no-unsubscribe").returncode == 0
    assert hub.json("status", "spring")["campaign"]["state"] == "draft"


def test_an_sms_campaign_tells_its_segments(hub: Hub) -> None:
    hub.ok("import", hub.file("p.csv", "phone\n+12025550123\n"), "--list", "all")
    spec = 'name = "text"\nchannel = "sms"\nlists = ["all"]\nkind = "transactional"\ntext = "Grüße 👋"\n'
    hub.ok("apply", hub.file("text.toml", spec))
    assert "1 segment (ucs2" in hub.ok("check", "text")
    shown = hub.run("preview", "text")
    assert "Grüße 👋" in shown.stdout
    assert "1 segment (ucs2" in shown.stderr
    assert hub.json("test", "text", "--to", "+12025550199")["state"] == "sent"


def test_failures_are_grouped_and_retried(hub: Hub) -> None:
    hub.ok("import", hub.file("p.csv", "email,n\nann@example.com,x\nbo@example.com,\n"), "--list", "all")
    hub.campaign("spring", subject="S", text="{{ n }}")
    assert "no n" in hub.ok("check", "spring", code=1)
    assert hub.run("retry", "spring").returncode == 5
    hub.ok("start", "spring", "--accept-risk", "missing-fields", "--wait")
    groups = hub.json("failures", "spring")["groups"]
    assert [(group["count"], group["class"]) for group in groups] == [(1, "permanent")]
    assert "--class permanent" in hub.ok("failures", "spring")
    assert hub.json("retry", "spring", "--class", "permanent")["changed"] == 1
    assert hub.json("retry", "spring", "--in-doubt", "sent")["changed"] == 0
