"""Stored templates: one content for several campaigns, in versions that stay, fixed when one starts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.client import Client, open_client
from hubd.errors import BadInput, BadTemplate, Conflict, NotFound
from tests.shell.open_hub import Served
from tests.shell.test_methods import import_people, until

LAYOUT = {
    "name": "layout",
    "channel": "email",
    "html": "<body>\n{% block content %}{% endblock %}\n<hr>{% block foot %}Bye{% endblock %}</body>",
    "text": "{% block content %}{% endblock %}Bye",
}
WELCOME = {
    "name": "welcome",
    "channel": "email",
    "subject": "Hello {{ first_name }}",
    "html": '{% extends "layout" %}{% block content %}<p>Hi {{ first_name }}</p>{% endblock %}',
}
CAMPAIGN = {
    "name": "spring",
    "channel": "email",
    "kind": "transactional",
    "lists": ["customers"],
    "sender": "Acme <news@acme.example>",
    "template": "welcome",
}


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


async def put(hub: Client, *specs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await hub.call("template.apply", specs=list(specs), **more)


async def apply(hub: Client, **changes: Any) -> dict[str, Any]:
    return await hub.call("campaign.apply", spec={**CAMPAIGN, **changes})


async def html(hub: Client, name: str = "spring") -> str:
    return str((await hub.call("campaign.preview", name=name))["html"])


async def test_a_version_is_made_when_the_content_differs_and_stays(hub: Client) -> None:
    first = await put(hub, WELCOME, LAYOUT)  # whatever their order
    assert [(each["name"], each["version"]) for each in first["templates"]] == [("welcome", 1), ("layout", 1)]
    again = await put(hub, LAYOUT, WELCOME)
    assert again["changed"] is False
    assert [each["version"] for each in again["templates"]] == [1, 1]
    rehearsed = await put(hub, {**WELCOME, "subject": "Hi"}, dry_run=True)
    assert (rehearsed["changed"], rehearsed["would"]) == (False, {"change": True})
    second = await put(hub, {**WELCOME, "subject": "Hi"})
    assert second["templates"] == [{"name": "welcome", "version": 2, "changed": True}]
    assert (await hub.call("template.get", name="welcome"))["template"]["subject"] == "Hi"
    assert (await hub.call("template.get", name="welcome@1"))["template"]["subject"] == WELCOME["subject"]
    listed = (await hub.call("template.list"))["templates"]
    assert [(each["name"], each["version"]) for each in listed] == [("layout", 1), ("welcome", 2)]
    versions = (await hub.call("template.history", name="welcome"))["versions"]
    assert [each["version"] for each in versions] == [2, 1]


async def test_a_campaign_has_the_newest_version_until_it_starts_and_then_keeps_it(hub: Client) -> None:
    await import_people(hub)
    await put(hub, LAYOUT, WELCOME)
    applied = await apply(hub, rate="1/minute")
    assert applied["campaign"]["template"] == "welcome@1"
    assert await html(hub) == "<body>\n<p>Hi N0</p><hr>Bye</body>\n"
    changed = await put(hub, {**LAYOUT, "html": LAYOUT["html"].replace("Bye", "So long")})
    assert changed["campaigns"] == ["spring"]
    assert "So long" in await html(hub)
    await put(hub, {**WELCOME, "subject": "Good day"})
    view = (await hub.call("campaign.get", name="spring"))["campaign"]
    assert (view["template"], view["revision"]) == ("welcome@2", 3)
    await hub.call("campaign.start", name="spring")
    await hub.call("campaign.stop", name="spring")
    assert (await put(hub, WELCOME))["campaigns"] == []
    for _ in range(2):
        kept = await hub.call("campaign.preview", name="spring")
        assert (kept["subject"], "So long" in kept["html"]) == ("Good day", True)
        await apply(hub, rate="2/minute")  # other keys change, the version that it began with stays
    await hub.call("template.delete", name="welcome")
    await apply(hub)
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    (first, *_) = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
    assert "So long" in (await hub.call("delivery.get", id=first["id"]))["content"]["html"]


async def test_a_version_that_is_named_stays(hub: Client) -> None:
    await import_people(hub)
    await put(hub, LAYOUT, WELCOME)
    await apply(hub, template="welcome@1")
    await put(hub, {**WELCOME, "subject": "Hi"})
    assert (await hub.call("campaign.preview", name="spring"))["subject"] == "Hello N0"
    assert (await apply(hub, template="welcome@2"))["changed"] == ["template"]
    assert (await hub.call("campaign.preview", name="spring"))["subject"] == "Hi"
    with pytest.raises(
        BadInput, match="template: there is no version 3 of the template welcome; the newest is 2"
    ):
        await apply(hub, template="welcome@3")
    with pytest.raises(BadInput, match="template: there is no template farewell"):
        await apply(hub, template="farewell")
    copy = await hub.call("campaign.clone", name="spring", new="copy", changes={"template": "welcome@1"})
    assert copy["campaign"]["template"] == "welcome@1"


async def test_a_layout_may_not_break_what_extends_it(hub: Client) -> None:
    await put(hub, LAYOUT, WELCOME)
    await apply(hub)
    renamed = {**LAYOUT, "html": LAYOUT["html"].replace("content", "body")}
    with pytest.raises(
        Conflict, match="the template welcome would no longer be valid: html line 1: layout"
    ) as caught:
        await put(hub, renamed)
    assert caught.value.code == "template_in_use"
    with pytest.raises(
        Conflict, match="the campaign spring would no longer be valid: template: welcome@2 has no sub"
    ):
        await put(hub, {**WELCOME, "subject": ""})
    both = await put(hub, renamed, {**WELCOME, "html": WELCOME["html"].replace("content", "body")})
    assert (both["changed"], both["campaigns"]) == (True, ["spring"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Welcome"}, "specs[0].name: must start with"),
        ({"channel": "fax"}, "specs[0].channel: must be"),
        ({"html": ""}, "specs[0].text: is missing"),
        ({"html": "{{ x"}, "specs[0].html line 1: "),
        ({"html": "{% for x in y %}{% endfor %}"}, "specs[0].html line 1: a loop"),
        ({"html": '{% extends "nothing" %}'}, "specs[0].html: extends 'nothing', and there is no template"),
        ({"html": '{% extends "../x" %}'}, "specs[0].html: extends '../x', which is not the name"),
        ({"html": '{% extends "welcome" %}'}, "or itself"),
        ({"html": '{% include "layout" %}'}, "specs[0].html line 1: "),
        ({"subject": '{% extends "layout" %}'}, "specs[0].subject: extends layout@1, which has no subject"),
        (
            {"html": '{% extends "layout" %}\n{% block contnt %}{% endblock %}'},
            "specs[0].html line 2: layout has no",
        ),
        ({"channel": "sms", "text": "x"}, "is for email only"),
        ({"sender": "a@b.example"}, "specs[0].sender: unknown key"),
        ({"name": "layout"}, "the name of another of these files"),
    ],
)
async def test_a_template_that_cannot_be_used_is_refused_with_its_place(
    hub: Client, changes: dict[str, str], problem: str
) -> None:
    with pytest.raises((BadInput, BadTemplate)) as caught:
        await put(hub, {**WELCOME, **changes}, LAYOUT)
    assert problem in str(caught.value)
    assert (await hub.call("template.list"))["templates"] == []


async def test_a_fault_of_a_layout_is_told_at_its_own_line(hub: Client) -> None:
    bad = {**WELCOME, "html": '{% extends "layout" %}\n{% block content %}\n{{ x.y }}\n{% endblock %}'}
    with pytest.raises(BadTemplate, match=r"specs\[1\].html line 3: "):
        await put(hub, LAYOUT, bad)
    with pytest.raises(BadTemplate, match=r"specs\[0\].html line 2: "):
        await put(hub, {**LAYOUT, "html": "<body>\n{{ x.y }}{% block content %}{% endblock %}"}, WELCOME)


async def test_what_is_used_is_not_deleted_and_by_whom_is_said(hub: Client) -> None:
    await put(hub, LAYOUT, WELCOME)
    await apply(hub)
    with pytest.raises(Conflict, match="the template layout is used by the template welcome@1"):
        await hub.call("template.delete", name="layout")
    with pytest.raises(Conflict, match="the template welcome is used by the campaign spring") as caught:
        await hub.call("template.delete", name="welcome", dry_run=True)
    assert caught.value.data["campaigns"] == ["spring"]
    await hub.call("campaign.delete", name="spring")
    await hub.call("template.delete", name="welcome")
    with pytest.raises(NotFound, match="there is no template welcome"):
        await hub.call("template.get", name="welcome@1")
    back = await put(hub, WELCOME)  # a version never means something else
    assert back["templates"][0]["version"] == 2
    for wrong in ("welcome@1", "Welcome"):
        with pytest.raises(BadInput):
            await hub.call("template.delete", name=wrong)


@pytest.mark.parametrize("key", ["subject", "text", "html"])
async def test_a_campaign_has_a_template_or_words_of_its_own(hub: Client, key: str) -> None:
    await put(hub, LAYOUT, WELCOME)
    with pytest.raises(BadInput, match=f"{key}: is already in the template"):
        await apply(hub, **{key: "x"})
    with pytest.raises(BadInput, match="template: welcome@1 is for email"):
        await hub.call("campaign.apply", spec={"name": "x", "channel": "sms", "template": "welcome"})
    with pytest.raises(BadInput, match="template: layout@1 has no subject"):
        await apply(hub, template="layout")
    with pytest.raises(BadInput, match="template: is not the name of a template"):
        await apply(hub, template="Welcome@0")


async def test_a_text_message_has_a_template_too(hub: Client) -> None:
    await import_people(hub)
    await put(hub, {"name": "code", "channel": "sms", "text": "Hi {{ first_name }}"})
    await hub.call(
        "campaign.apply", spec={"name": "x", "channel": "sms", "lists": ["customers"], "template": "code"}
    )
    assert (await hub.call("campaign.preview", name="x"))["text"] == "Hi N0"
    assert (await hub.call("campaign.check", name="x"))["ok"] is True
    assert (await hub.call("campaign.test", name="x", to="+14155552671"))["state"] == "sent"


async def test_a_test_is_that_of_its_campaign_until_the_template_says_something_else(hub: Client) -> None:
    await import_people(hub)
    await put(hub, LAYOUT, WELCOME)
    await apply(hub)
    done = await hub.call("campaign.test", name="spring", to="me@example.com")
    assert (await hub.call("delivery.get", id=done["delivery_id"]))["delivery"]["content_of"] == "spring"
    await put(hub, {**WELCOME, "subject": "Good morning"})
    assert (await hub.call("delivery.get", id=done["delivery_id"]))["delivery"]["content_of"] == ""


async def test_labels_are_kept_and_found(hub: Client) -> None:
    words = {"template": "", "subject": "Hi", "text": "Hi"}
    await apply(hub, **words, labels=["portfolio", "Q4"])
    await apply(hub, **words, name="other")
    found = await hub.call("campaign.list", all=True, label="portfolio")
    assert [(each["name"], each["labels"]) for each in found["campaigns"]] == [
        ("spring", ["portfolio", "Q4"])
    ]
    with pytest.raises(BadInput, match=r"labels\[0\]: a label's name starts with"):
        await apply(hub, **words, labels=[" x"])
