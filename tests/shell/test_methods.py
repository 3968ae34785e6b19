"""The verbs, through a real socket with the real store, the real engine and the outbox."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.control.methods import METHODS
from hubd.errors import (
    BadInput,
    BadTemplate,
    Conflict,
    HubError,
    InvalidTransition,
    NotFound,
    PreflightFailed,
    RevisionConflict,
)
from tests.shell.open_hub import PERSONAL, Served

SPEC = PERSONAL


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


async def import_people(hub: Client, n: int = 3, **more: Any) -> dict[str, Any]:
    rows = [
        {
            "line": i + 2,
            "values": {"email": f"p{i}@example.com", "first_name": f"N{i}", "phone": f"+1415555{2600 + i}"},
        }
        for i in range(n)
    ]
    return await hub.call("contacts.import", list="customers", rows=rows, import_id="one", **more)


async def apply(hub: Client, **changes: Any) -> dict[str, Any]:
    return await hub.call("campaign.apply", spec={**SPEC, **changes})


async def until(hub: Client, name: str, state: str) -> dict[str, Any]:
    """Follow a campaign until it is in a state; its view then."""
    with trio.fail_after(30):
        subscription = hub.subscribe([f"campaign:{name}"])
        async for event in subscription:
            views = event.get("campaigns") or [event.get("data", {}).get("campaign")]
            for view in views:
                if isinstance(view, dict) and view["state"] == state:
                    await subscription.aclose()
                    return view
    raise AssertionError("the stream ended")


# -- contacts ----------------------------------------------------------------------------------------------


async def test_import_reports_bad_rows_and_keeps_the_good(hub: Client) -> None:
    rows = [
        {"line": 2, "values": {"E-Mail": "a@example.com", "City": "Ulm"}},
        {"line": 3, "values": {"E-Mail": "A@Example.com"}},
        {"line": 4, "values": {"E-Mail": "nonsense"}},
    ]
    done = await hub.call("contacts.import", list="l", rows=rows, import_id="x")
    assert (done["rows"], done["imported"], done["duplicates"], done["invalid"]) == (3, 1, 1, 1)
    assert done["errors"][0]["line"] == 4
    assert "nonsense" not in done["errors"][0]["problem"]
    found = (await hub.call("contacts.get", key="A@EXAMPLE.COM"))["contact"]
    assert (found["fields"], found["lists"]) == ({"city": "Ulm", "e_mail": "a@example.com"}, ["l"])


async def test_pages_of_addresses_are_suppressed_once(hub: Client) -> None:
    first = [
        {"line": 2, "values": {"Email Address": "Ann@example.com", "Phone": "(415) 555-2671"}},
        {"line": 3, "values": {"Email Address": "ann@EXAMPLE.com"}},
        {"line": 4, "values": {"Email Address": "nonsense", "Phone": "030 901820"}},
        {"line": 5, "values": {"Email Address": "nonsense"}},
    ]
    second = [
        {"line": 6, "values": {"Phone": "+14155552671"}},
        {"line": 7, "values": {"Phone": "+4930901820"}},
    ]
    for dry_run in (True, False):
        asked = {"import_id": "one", "region": "US", "dry_run": dry_run}
        done = await hub.call("suppression.import", rows=first, **asked)
        assert [done[name] for name in ("rows", "added", "unchanged", "invalid")] == [4, 1, 1, 2]
        assert [each["line"] for each in done["errors"]] == [4, 5]
        done = await hub.call("suppression.import", rows=second, **asked)
        assert [done[name] for name in ("rows", "added", "unchanged", "invalid")] == [2, 1, 1, 0]
    listed = (await hub.call("suppression.list"))["suppressions"]
    assert [(each["channel"], each["address"], each["reason"]) for each in listed] == [
        ("email", "ann@example.com", "imported"),
        ("sms", "+14155552671", "imported"),
        ("sms", "+4930901820", "imported"),
    ]
    only = await hub.call("suppression.import", rows=second, import_id="two", channel="email")
    assert (only["rows"], only["invalid"]) == (2, 2)


async def test_a_dry_run_changes_nothing(hub: Client) -> None:
    assert (await import_people(hub, dry_run=True))["imported"] == 3
    assert await hub.call("contacts.lists") == {"lists": []}


async def test_pages_that_are_sent_ahead_of_the_answers_are_taken_in_order(hub: Client) -> None:
    many = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(2, 400)]
    pages = [[*many, {"line": 400, "values": {"email": "ann@example.com", "city": "first"}}]]
    pages += [[{"line": n, "values": {"email": "ann@example.com", "city": f"{n}"}}] for n in range(401, 420)]
    answers: list[dict[str, Any]] = []

    async def send(page: list[dict[str, Any]], *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        answers.append(await hub.call("contacts.import", list="x", rows=page, import_id="one"))

    async with trio.open_nursery() as nursery:
        for page in pages:
            await nursery.start(send, page)
    assert sorted(answer["duplicates"] for answer in answers) == [0] + [1] * 19
    contact = (await hub.call("contacts.get", key="ann@example.com"))["contact"]
    assert contact["fields"] == {"city": "first"}


async def test_import_refuses_a_bad_list_or_region(hub: Client) -> None:
    for wrong in ({"list": "\tx"}, {"region": "Mars"}):
        params = {"list": "l", "rows": [], "import_id": "x"} | wrong
        with pytest.raises(BadInput) as caught:
            await hub.call("contacts.import", **params)
        assert caught.value.data["errors"]


async def test_contacts_are_paged(hub: Client) -> None:
    await import_people(hub, 5)
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = await hub.call("contacts.list", list="customers", after=after, limit=2)
        seen += [contact["email"] for contact in page["contacts"]]
        after = page["next"]
    assert seen == [f"p{i}@example.com" for i in range(5)]


async def test_suppression(hub: Client) -> None:
    assert (await hub.call("suppression.add", channel="email", address="P0@example.com"))["changed"]
    assert not (await hub.call("suppression.add", channel="email", address="p0@example.com"))["changed"]
    for number in range(3):
        await hub.call("suppression.add", channel="sms", address=f"+1415555267{number}")
    seen, after = [], None
    while True:
        page = await hub.call("suppression.list", limit=2, after=after)
        seen += page["suppressions"]
        if (after := page["next"]) is None:
            break
    assert len(seen) == 4
    with pytest.raises(BadInput):
        await hub.call("suppression.add", channel="sms", address="12")
    with pytest.raises(BadInput):
        await hub.call("suppression.list", after="garbage")


# -- describing a campaign ---------------------------------------------------------------------------------


async def test_apply_creates_then_changes_then_nothing(hub: Client) -> None:
    first = await apply(hub)
    assert first["created"]
    assert first["campaign"]["state"] == "draft"
    assert (await apply(hub, text="Other {{ first_name }}"))["changed"] == ["text"]
    again = await apply(hub, text="Other {{ first_name }}")
    assert (again["changed"], again["created"]) == ([], False)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"text": "{{ ''.__class__ }}"}, BadTemplate),
        ({"text": "{{ 'a' * 10**9 }}"}, BadTemplate),
        ({"text": "{{ unclosed"}, BadTemplate),
        ({"sender": "nobody"}, BadInput),
        ({"subjct": "x"}, BadInput),
        ({"name": "Has Spaces"}, BadInput),
    ],
)
async def test_apply_refuses_what_cannot_be_sent(hub: Client, changes: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind):
        await apply(hub, **changes)
    with pytest.raises(NotFound):
        await hub.call("campaign.get", name="spring")


async def test_if_revision_guards_a_change(hub: Client) -> None:
    await apply(hub)
    with pytest.raises(RevisionConflict) as caught:
        await hub.call("campaign.apply", spec=SPEC, if_revision=7)
    assert caught.value.data["current"] == 1


async def test_check_names_every_problem(hub: Client) -> None:
    await import_people(hub)
    await apply(
        hub, kind="marketing", text="Hi {{ frist_name }}", provider="office", lists=["customers", "none"]
    )
    found = await hub.call("campaign.check", name="spring")
    assert not found["ok"]
    told = " ".join(problem["problem"] for problem in found["problems"])
    for word in ("office", "none", "unsubscribe"):
        assert word in told


async def test_check_counts_missing_fields_but_not_those_with_a_default(hub: Client) -> None:
    await import_people(hub)
    rows = [{"line": 2, "values": {"email": "bare@example.com"}}]
    await hub.call("contacts.import", list="customers", rows=rows, import_id="two")
    await apply(hub)
    found = await hub.call("campaign.check", name="spring")
    assert [problem["risk"] for problem in found["problems"]] == ["missing-fields"]
    assert "1 recipient has no first_name" in found["problems"][0]["problem"]
    friendly = "{{ first_name | default('friend') }}"
    await apply(hub, subject="Hello", text=f"Hi {friendly}")
    assert (await hub.call("campaign.check", name="spring"))["ok"]


async def test_preview(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, html="<p>Hi {{ first_name }}</p>")
    shown = await hub.call("campaign.preview", name="spring", to="p1@example.com")
    assert (shown["recipient"], shown["subject"]) == ("p1@example.com", "Hello N1")
    assert shown["text"].strip() == "Hi N1"
    assert "<p>Hi N1</p>" in shown["html"]
    assert shown["source"].startswith("From: ")
    assert (await hub.call("campaign.preview", name="spring"))["recipient"] == "p0@example.com"


async def test_a_test_says_what_it_would_say_to_the_contact_that_was_named(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, text="Hi {{ first_name }} {{ contact_id }}")
    for asked, name in (({"as": "p1@example.com"}, "N1"), ({}, "N0")):
        sent = await hub.call("campaign.test", name="spring", to="me@example.com", **asked)
        life = await hub.call("delivery.get", id=sent["delivery_id"])
        assert life["delivery"]["recipient"] == "me@example.com"
        assert life["content"]["text"].strip() == f"Hi {name} test"
    with pytest.raises(NotFound):
        await hub.call("campaign.test", name="spring", to="me@example.com", **{"as": "nobody@example.com"})


async def test_a_check_names_what_limits_the_campaign_and_the_field_that_nobody_has(hub: Client) -> None:
    await import_people(hub)
    window = {"window": "00:00-24:00", "timezone": "Europe/Berlin"}
    await apply(hub, rate="1/minute", schedule=window, text="Hi {{ firstname | default('you') }}")
    found = await hub.call("campaign.check", name="spring")
    assert found["estimate"]["limited_by"] == "the campaign's rate 1/minute"
    (warning,) = [each for each in found["warnings"] if "firstname" in each]
    assert warning == "text line 1: no recipient has the field firstname; did you mean first_name?"


async def test_preview_of_a_text(hub: Client) -> None:
    await import_people(hub)
    sms = {"name": "t", "channel": "sms", "lists": ["customers"], "text": "Hi {{ first_name }} €"}
    await hub.call("campaign.apply", spec=sms)
    shown = await hub.call("campaign.preview", name="t")
    assert (shown["text"], shown["segments"], shown["encoding"]) == ("Hi N0 €", 1, "gsm7")
    assert (await hub.call("campaign.check", name="t"))["segments"]["segments"] == 1


async def test_attachments_come_in_parts(hub: Client) -> None:
    data = bytes(range(256)) * 10
    digest = hashlib.sha256(data).hexdigest()

    async def part(start: int, end: int) -> bool:
        text = b64encode(data[start:end]).decode()
        done = await hub.call("campaign.attach", sha256=digest, offset=start, data=text, size=len(data))
        return bool(done["complete"])

    assert [await part(0, 1000), await part(1000, len(data))] == [False, True]
    await import_people(hub)
    await apply(
        hub, attachments=[{"name": "a.bin", "type": "application/x-a", "sha256": digest, "size": len(data)}]
    )
    assert (await hub.call("campaign.check", name="spring"))["ok"]
    with pytest.raises(BadInput):
        await hub.call("campaign.attach", sha256=digest, offset=0, data="!", size=1)


# -- running a campaign ------------------------------------------------------------------------------------


async def test_from_draft_to_completed(hub: Client) -> None:
    await import_people(hub, 30)
    await apply(hub)
    started = await hub.call("campaign.start", name="spring")
    assert started["changed"]
    view = await until(hub, "spring", "completed")
    assert (view["counts"]["sent"], view["counts"]["total"]) == (30, 30)
    page = await hub.call("delivery.list", campaign="spring", limit=20)
    assert len(page["deliveries"]) == 20
    assert page["next"] is not None
    life = await hub.call("delivery.get", id=page["deliveries"][0]["id"])
    assert life["content"]["subject"] == "Hello N0"
    assert life["delivery"]["campaign"] == "spring"
    assert [attempt["outcome"] for attempt in life["attempts"]] == ["sent"]
    assert (await hub.call("delivery.failures", campaign="spring"))["groups"] == []
    with pytest.raises(InvalidTransition):
        await hub.call("campaign.pause", name="spring")


async def test_a_dry_start_changes_nothing(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, rate="1/s")
    found = await hub.call("campaign.start", name="spring", dry_run=True)
    assert (found["changed"], found["would"]["recipients"]) == (False, 3)
    assert found["would"]["estimate"]["seconds"] is not None
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["state"] == "draft"


async def test_an_unfit_campaign_does_not_start_until_the_risk_is_taken(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, kind="marketing")
    with pytest.raises(PreflightFailed) as caught:
        await hub.call("campaign.start", name="spring")
    assert "--accept-risk no-unsubscribe" in caught.value.hint
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["state"] == "draft"
    await hub.call("campaign.start", name="spring", accept_risk=["no-unsubscribe"])
    await until(hub, "spring", "completed")


async def test_pause_resume_stop_and_again(hub: Client) -> None:
    await import_people(hub, 5)
    await apply(hub, rate="1/minute")
    await hub.call("campaign.start", name="spring")
    for verb, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        first = await hub.call(f"campaign.{verb}", name="spring")
        assert (first["changed"], first["campaign"]["state"]) == (True, state)
        again = await hub.call(f"campaign.{verb}", name="spring")
        assert (again["changed"], again["campaign"]["state"]) == (False, state)
    assert (await hub.call("campaign.delete", name="spring"))["changed"]
    with pytest.raises(NotFound):
        await hub.call("campaign.get", name="spring")


async def test_a_running_campaign_keeps_its_content(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, rate="1/minute")
    await hub.call("campaign.start", name="spring")
    with pytest.raises(Conflict):
        await apply(hub, text="Other")
    with pytest.raises(Conflict):
        await hub.call("campaign.delete", name="spring")


async def test_a_start_is_not_answered_with_the_trouble_that_it_ended(served: Served, hub: Client) -> None:
    """The provider could not be opened. A start opens it anew, and the campaign waits for nothing."""
    await import_people(hub)
    await apply(hub)
    folder = Path(served.hub.info.state_dir) / "outbox"
    folder.write_bytes(b"")
    with pytest.raises(HubError):
        await hub.call("provider.test", name="outbox")
    (outbox,) = (await hub.call("provider.list"))["providers"]
    assert outbox["state"] == "stopped"
    folder.unlink()
    started = (await hub.call("campaign.start", name="spring"))["campaign"]
    assert (started["state"], started["reason"]) == ("running", "")


@pytest.mark.parametrize("method", ["pause", "stop", "start", "delete", "archive", "clone", "rate"])
async def test_a_transactional_queue_cannot_be_changed_and_the_hint_helps(hub: Client, method: str) -> None:
    """It cannot be stopped, so no hint may say so."""
    await hub.call(
        "message.send", provider="outbox", to="a@b.example", sender="x@y.example", subject="s", text="t"
    )
    more = {"clone": {"new": "copy"}, "rate": {"rate": "1/day"}}.get(method, {})
    with pytest.raises((Conflict, NotFound)) as refused:
        await hub.call(f"campaign.{method}", name="~outbox", **more)
    assert refused.value.hint
    assert "stop" not in refused.value.hint


async def test_rate_is_changed_live_and_checked(hub: Client) -> None:
    await import_people(hub)
    await apply(hub, rate="1/minute")
    await hub.call("campaign.start", name="spring")
    done = await hub.call("campaign.rate", name="spring", rate=None)
    assert (done["changed"], done["campaign"]["rates"]) == (True, [])
    await until(hub, "spring", "completed")
    with pytest.raises(BadInput) as caught:
        await hub.call("campaign.rate", name="spring", rate=["1/s", "fast"])
    errors: Any = caught.value.data["errors"]
    assert errors[0]["path"] == "rate[1]"


async def test_schedule_and_unschedule(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    at = "2999-01-01T00:00:00+01:00"
    planned = await hub.call("campaign.start", name="spring", at=at)
    assert planned["campaign"]["state"] == "scheduled"
    assert planned["campaign"]["scheduled_at"] == "2998-12-31T23:00:00.000Z"
    assert (await hub.call("campaign.unschedule", name="spring"))["campaign"]["state"] == "draft"
    for wrong in ("2001-01-01T00:00:00Z", "tomorrow", "2999-01-01T00:00:00"):
        with pytest.raises(BadInput):
            await hub.call("campaign.schedule", name="spring", at=wrong)


async def test_retry_needs_to_know_what(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    with pytest.raises(InvalidTransition):
        await hub.call("campaign.retry", name="spring", **{"class": "all"})
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    with pytest.raises(BadInput):
        await hub.call("campaign.retry", name="spring")
    done = await hub.call("campaign.retry", name="spring", **{"class": "all"})
    assert (done["changed"], done["campaign"]["state"]) == (0, "completed")


# -- one message -------------------------------------------------------------------------------------------


async def test_send_is_idempotent(hub: Client, served: Served) -> None:
    params = {
        "provider": "outbox",
        "to": "ann@example.com",
        "sender": "a@acme.example",
        "subject": "Hi",
        "text": "Hello",
    }
    first = await hub.call("message.send", **params, idempotency_key="k1")
    again = await hub.call("message.send", **params, idempotency_key="k1")
    other = await hub.call("message.send", **params, idempotency_key="k2")
    assert first["delivery_id"] == again["delivery_id"] != other["delivery_id"]
    assert first["message_id"] == again["message_id"]


async def test_a_key_that_was_used_for_another_message_is_a_conflict(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    params = {"provider": "outbox", "template": "spring", "to": "p0@example.com", "idempotency_key": "k"}
    first = await hub.call("message.send", **params, fields={"first_name": "Ann"})
    rows = [{"line": 2, "values": {"email": "p0@example.com", "first_name": "New", "city": "Ulm"}}]
    await hub.call("contacts.import", list="customers", rows=rows, import_id="two")
    again = await hub.call("message.send", **params, fields={"first_name": "Ann"})
    assert again["delivery_id"] == first["delivery_id"]
    for other in ({"fields": {"first_name": "Bo"}}, {"to": "p1@example.com"}):
        with pytest.raises(Conflict) as caught:
            await hub.call("message.send", **{**params, "fields": {"first_name": "Ann"}, **other})
        assert caught.value.code == "key_used"
        assert caught.value.data["delivery_id"] == first["delivery_id"]
    words = {"sender": "a@acme.example", "subject": "Hi", "text": "x"}
    with pytest.raises(Conflict):
        await hub.call("message.send", provider="outbox", to="p0@example.com", idempotency_key="k", **words)


async def test_a_dry_apply_says_what_would_change_and_changes_nothing(hub: Client) -> None:
    async def dry(**changes: Any) -> dict[str, Any]:
        return await hub.call("campaign.apply", spec={**SPEC, **changes}, dry_run=True)

    assert (await dry())["created"]
    with pytest.raises(BadTemplate):
        await dry(text="{{ unclosed")
    with pytest.raises(NotFound):
        await hub.call("campaign.get", name="spring")
    await import_people(hub)
    await apply(hub, rate="1/minute")
    assert (await dry(rate="1/minute", text="Other"))["changed"] == ["text"]
    assert (await dry(rate="1/minute"))["changed"] == []
    await hub.call("campaign.start", name="spring")
    with pytest.raises(Conflict) as caught:
        await dry()
    assert caught.value.code == "running"
    await hub.call("campaign.pause", name="spring")
    with pytest.raises(Conflict) as caught:
        await dry(lists=["other"])
    assert caught.value.code == "audience_fixed"


async def test_a_risk_that_does_not_exist_is_refused(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    with pytest.raises(BadInput) as caught:
        await hub.call("campaign.start", name="spring", accept_risk=["bogus"])
    assert "missing-fields" in str(caught.value)


async def test_send_refuses_before_it_is_written(hub: Client) -> None:
    wrong: list[dict[str, Any]] = [
        {"to": "nobody", "text": "x"},
        {"to": "a@example.com", "text": "x"},
        {"to": "a@example.com", "sender": "a@b.example", "subject": "{{ name }}", "text": "x"},
        {"to": "a@example.com", "template": "none"},
        {"to": "+14155552671", "text": ""},
    ]
    for params in wrong:
        with pytest.raises(HubError):
            await hub.call("message.send", provider="outbox", **params)
    with pytest.raises(NotFound) as caught:
        await hub.call("message.send", provider="none", to="a@example.com", text="x")
    assert caught.value.code == "provider_not_found"


async def test_test_sends_one_outside_the_audience(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    done = await hub.call("campaign.test", name="spring", to="me@example.com")
    assert (done["state"], done["code"]) == ("sent", 250)
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["counts"]["total"] == 0
    assert (await hub.call("delivery.get", id=done["delivery_id"]))["content"]["subject"] == "Hello N0"


async def test_a_test_stays_that_of_its_campaign_when_this_is_copied(hub: Client) -> None:
    await import_people(hub)
    await apply(hub)
    done = await hub.call("campaign.test", name="spring", to="me@example.com")
    await hub.call("campaign.clone", name="spring", new="summer")
    life = (await hub.call("delivery.get", id=done["delivery_id"]))["delivery"]
    assert life["content_of"] == "spring"


# -- the rest ----------------------------------------------------------------------------------------------


async def test_providers(hub: Client) -> None:
    (outbox,) = (await hub.call("provider.list"))["providers"]
    assert (outbox["name"], outbox["state"]) == ("outbox", "ready")
    assert (await hub.call("provider.test", name="outbox"))["ok"]
    assert (await hub.call("provider.disable", name="outbox"))["changed"]
    assert not (await hub.call("provider.disable", name="outbox"))["changed"]
    assert (await hub.call("provider.enable", name="outbox"))["provider"]["state"] == "ready"


async def test_status_shows_what_goes_on(hub: Client) -> None:
    await apply(hub)
    found = await hub.call("hub.status")
    assert [view["name"] for view in found["campaigns"]] == ["spring"]
    assert (found["states"], found["trouble"]) == ({"draft": 1}, "")


async def test_events_are_listed_by_page(hub: Client) -> None:
    await apply(hub)
    page = await hub.call("events.list", campaign="spring")
    assert [event["type"] for event in page["events"]] == ["campaign.applied"]


async def test_events_fold_to_the_snapshot(hub: Client) -> None:
    """Whoever knows all state events knows the state."""
    await import_people(hub)
    await apply(hub)
    await hub.call("campaign.start", name="spring")
    view = await until(hub, "spring", "completed")
    page = await hub.call("events.list", campaign="spring", limit=1000)
    states = ["draft"] + [e["data"]["to"] for e in page["events"] if e["type"] == "campaign.state"]
    before = [e["data"]["from"] for e in page["events"] if e["type"] == "campaign.state"]
    assert before == states[:-1]
    assert states[-1] == view["state"]


async def test_discover_describes_the_table_that_dispatches(hub: Client) -> None:
    found = await hub.call("rpc.discover")
    assert {method["name"] for method in found["methods"]} == set(METHODS)
    schemas = found["components"]["schemas"]
    for method in found["methods"]:
        assert method["summary"]
        assert method["result"]["schema"]["$ref"].rpartition("/")[2] in schemas
    text = json.dumps(found)
    for name in text.split('"$ref": "#/components/schemas/')[1:]:
        assert name.partition('"')[0] in schemas


@pytest.mark.parametrize("name", sorted(METHODS))
async def test_every_method_answers_wrong_parameters_with_a_path(hub: Client, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        await hub.call(name, no_such_parameter=1)
    errors: Any = caught.value.data["errors"]
    assert "no_such_parameter" in {fault["path"] for fault in errors}
