"""Campaign files: what they become, and how their faults are named."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.addresses import mailbox
from hubd.core.changes import changed_keys
from hubd.core.model import Attachment, Channel, Content, InDoubt, Kind
from hubd.core.spec import CampaignSpec, Retry, Schedule, spec_from_json, spec_json
from hubd.core.spec_reading import list_name, parse_spec
from hubd.core.times import parse_duration, parse_time
from hubd.errors import BadInput
from hubd.toml_text import key_lines, line_of

FILE = """
name = "spring-sale"
channel = "email"
provider = "office"
lists = ["customers"]
kind = "marketing"
sender = "Acme <news@acme.example>"
reply_to = "help@acme.example"
subject = "Hello {{ first_name }}"
text = "Hi {{ first_name }}, ..."
html = "<p>Hi {{ first_name }}</p>"
unsubscribe = "https://acme.example/u/{{ contact_id }}"
postal_address = "1 Main St"
in_doubt = "hold"
rate = "50/s"
[[attachments]]
name = "flyer.pdf"
type = "application/pdf"
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
size = 5
[retry]
give_up_after = "2 days"
[schedule]
at = "2026-12-01T09:00:00+01:00"
window = "08:00-21:00"
"""
EMAIL: dict[str, Any] = {
    "name": "news",
    "channel": "email",
    "sender": "news@acme.example",
    "subject": "Hello",
    "text": "Hi",
}
SMS: dict[str, Any] = {"name": "news", "channel": "sms", "text": "Hi {{ first_name }}"}


def faults(raw: Any) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        parse_spec(raw)
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    return {fault["path"]: fault["problem"] for fault in listed}


def test_a_whole_campaign_file_becomes_a_value() -> None:
    flyer = Attachment(name="flyer.pdf", type="application/pdf", sha256="a" * 64, size=5)
    spec = parse_spec(tomllib.loads(FILE))
    assert spec == CampaignSpec(
        name="spring-sale",
        channel=Channel.EMAIL,
        provider="office",
        lists=("customers",),
        kind=Kind.MARKETING,
        sender="Acme <news@acme.example>",
        reply_to="help@acme.example",
        subject="Hello {{ first_name }}",
        text="Hi {{ first_name }}, ...",
        html="<p>Hi {{ first_name }}</p>",
        unsubscribe="https://acme.example/u/{{ contact_id }}",
        postal_address="1 Main St",
        attachments=(flyer,),
        in_doubt=InDoubt.HOLD,
        rate=("50/s",),
        retry=Retry(give_up_after="2 days"),
        schedule=Schedule(at="2026-12-01T09:00:00+01:00", window="08:00-21:00"),
    )
    assert spec.give_up_after == 172_800
    assert spec.start_at == dt.datetime(2026, 12, 1, 8, tzinfo=dt.UTC).timestamp()
    assert spec.content() == Content(
        channel=Channel.EMAIL,
        kind=Kind.MARKETING,
        sender="Acme <news@acme.example>",
        reply_to="help@acme.example",
        subject="Hello {{ first_name }}",
        text="Hi {{ first_name }}, ...",
        html="<p>Hi {{ first_name }}</p>",
        unsubscribe="https://acme.example/u/{{ contact_id }}",
        postal_address="1 Main St",
        attachments=(flyer,),
    )


def test_a_short_file_leaves_the_rest_to_the_defaults() -> None:
    spec = parse_spec(EMAIL)
    assert (spec.provider, spec.lists, spec.kind) == ("outbox", (), Kind.MARKETING)
    assert (spec.in_doubt, spec.rate, spec.give_up_after, spec.start_at) == (None, (), 86_400, None)
    assert parse_spec(SMS).channel is Channel.SMS


@pytest.mark.parametrize(
    ("kind", "retry", "seconds"),
    [
        ("marketing", {}, 86_400),
        ("transactional", {}, 5 * 86_400),
        ("transactional", {"give_up_after": ""}, 5 * 86_400),
        ("marketing", {"give_up_after": "2h"}, 7_200),
        ("transactional", {"give_up_after": "2h"}, 7_200),
    ],
)
def test_an_offer_is_given_up_after_a_day_and_a_receipt_after_five(
    kind: str, retry: dict[str, str], seconds: float
) -> None:
    spec = parse_spec({**EMAIL, "kind": kind, "retry": retry})
    assert spec.give_up_after == spec_from_json(spec_json(spec)).give_up_after == seconds


def test_what_is_kept_reads_back_as_the_same() -> None:
    spec = parse_spec(tomllib.loads(FILE))
    assert spec_from_json(spec_json(spec)) == spec
    assert parse_spec(msgspec.to_builtins(spec)) == spec
    assert parse_spec(msgspec.to_builtins(parse_spec(SMS))) == parse_spec(SMS)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "x", "channel": "fax"}', "\ud800"])
def test_what_is_not_a_kept_spec_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        spec_from_json(text)


@pytest.mark.parametrize("policy", list(InDoubt))
def test_each_policy_for_doubts_can_be_chosen_and_is_kept(policy: InDoubt) -> None:
    spec = parse_spec({**EMAIL, "in_doubt": policy.value})
    assert spec.in_doubt is policy
    assert spec_from_json(spec_json(spec)) == spec


def test_every_fault_is_named_at_once_and_the_key_that_was_meant() -> None:
    found = faults(
        {
            "name": "Spring Sale",
            "chanel": "email",
            "channel": "emial",
            "subjet": "x",
            "sender": 5,
            "text_fil": "x",
            "lists": "customers",
            "rate": ["1/s", "50/parsec"],
            "in_doubt": "maybe",
            "retry": {"give_up": "24h"},
            "schedule": {"at": "2026-12-01T09:00:00", "wndow": "x"},
        }
    )
    assert found["name"].startswith("must start with a-z or 0-9")
    assert found["chanel"] == "unknown key; did you mean channel?"
    assert found["channel"] == 'must be "email" or "sms"; did you mean email?'
    assert found["subjet"] == "unknown key; did you mean subject?"
    assert found["sender"] == 'must be text in quotes such as "Acme <news@acme.example>", not a whole number'
    assert found["text_fil"] == "unknown key; did you mean text_file?"
    assert found["lists"] == 'must be a list of texts such as ["customers"], not text'
    assert "rate" in found["rate[1]"]
    assert found["in_doubt"] == 'must be "retry" or "hold" or "reconcile"'
    assert found["retry.give_up"] == "unknown key; did you mean give_up_after?"
    assert "time zone" in found["schedule.at"]
    assert found["schedule.wndow"] == "unknown key; did you mean window?"


@pytest.mark.parametrize(
    "text",
    ["https://acme.example/terms.html", "Read terms.txt", "<b>x.html", "{{ x }}.txt", "news.acme", ".txt x"],
)
def test_a_text_that_ends_like_a_file_is_a_text(text: str) -> None:
    assert parse_spec({**EMAIL, "text": text}).text == text


def test_an_email_without_a_text_gets_the_one_of_its_page() -> None:
    page = {key: value for key, value in EMAIL.items() if key != "text"} | {"html": "<p>Hi&nbsp;{{ x }}</p>"}
    spec = parse_spec(page)
    assert (spec.text, spec.content().text) == ("", "Hi {{ x }}\n")
    assert parse_spec(msgspec.to_builtins(spec)) == spec
    assert parse_spec({**page, "text": "Hello"}).content().text == "Hello"
    assert parse_spec({**page, "html": '<img src="x">'}).content().text == ""


def test_a_mistyped_key_is_named_before_the_key_that_is_missing_for_it() -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec({**{key: EMAIL[key] for key in ("name", "channel", "sender", "text")}, "subjcet": "x"})
    assert str(caught.value) == "subjcet: unknown key; did you mean subject? (and 1 more)"


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"name": ""}, "name", "is missing"),
        ({"name": "-x"}, "name", "must start with"),
        ({"name": "x" * 65}, "name", "up to 64"),
        ({"name": "über"}, "name", "must start with"),
        ({"name": "x\n"}, "name", "one line"),
        ({"channel": None}, "channel", "is missing"),
        ({"channel": 5}, "channel", "not a whole number"),
        ({"channel": "Email"}, "channel", "did you mean email?"),
        ({"provider": "../x"}, "provider", "not the name of a provider"),
        ({"kind": "promotional"}, "kind", '"marketing" or "transactional"'),
        ({"lists": ["a", "a"]}, "lists[1]", "twice"),
        ({"lists": [""]}, "lists[0]", "empty"),
        ({"lists": [" a"]}, "lists[0]", "starts with a letter or digit"),
        ({"lists": [f"l{number}" for number in range(101)]}, "lists", "at most 100"),
        ({"sender": None}, "sender", "an email needs a sender"),
        ({"sender": "Acme"}, "sender", "no @ in it"),
        ({"sender": "Acme <news@acme>"}, "sender", "no dot in the domain"),
        ({"sender": "Acme <news@acme.example"}, "sender", "a name and an address"),
        ({"sender": "Acme <news@acme.example>\r\nBcc: x@y.z"}, "sender", "one line"),
        ({"sender": "Ac\x00me <news@acme.example>"}, "sender", "NUL"),
        ({"sender": "Ac\x1bme <news@acme.example>"}, "sender", "control character"),
        ({"sender": "üser@acme.example"}, "sender", "SMTPUTF8"),
        ({"sender": "a@b.com, c@d.com"}, "sender", "one address"),
        ({"reply_to": "help"}, "reply_to", "no @ in it"),
        ({"subject": ""}, "subject", "an email needs a subject"),
        ({"subject": "Hi\nBcc: x@y.z"}, "subject", "one line"),
        ({"subject": "Hi\u2028there"}, "subject", "one line"),
        ({"subject": "Hi\x0bthere"}, "subject", "control character"),
        ({"subject": "Hi\x85there"}, "subject", "control character"),
        ({"subject": "x" * 999}, "subject", "longer than 998"),
        ({"subject": "\ud800"}, "subject", "surrogate"),
        ({"text": None}, "text", "an email needs text, html or both"),
        ({"text": " \n "}, "text", "an email needs text, html or both"),
        ({"text": "a\0b"}, "text", "NUL"),
        ({"text": "x" * 524_289}, "text", "larger than 512 KiB"),
        ({"html": "ü" * 262_145}, "html", "larger than 512 KiB"),
        ({"html": ["x"]}, "html", "not a list"),
        ({"unsubscribe": "http://acme.example/u"}, "unsubscribe", "https://"),
        ({"unsubscribe": "https://"}, "unsubscribe", "https://"),
        ({"unsubscribe": "https://acme.example/a b"}, "unsubscribe", "without spaces"),
        ({"unsubscribe": "https://acme.example/>"}, "unsubscribe", "https://"),
        ({"unsubscribe": "https://acme.example/ü"}, "unsubscribe", "ASCII"),
        ({"unsubscribe": "javascript:alert(1)"}, "unsubscribe", "https://"),
        ({"postal_address": "x" * 1001}, "postal_address", "1000"),
        ({"in_doubt": True}, "in_doubt", "not true or false"),
        ({"rate": 5}, "rate", "not a whole number"),
        ({"rate": "fast"}, "rate", "rate"),
        ({"rate": [5]}, "rate[0]", "not a whole number"),
        ({"retry": "24h"}, "retry", "must be a table, not text"),
        ({"retry": {"give_up_after": 24}}, "retry.give_up_after", 'such as "24h", not a whole number'),
        ({"retry": {"give_up_after": "24"}}, "retry.give_up_after", "not a duration"),
        ({"retry": {"give_up_after": "31d"}}, "retry.give_up_after", "30 days"),
        ({"retry": {"give_up_after": "0s"}}, "retry.give_up_after", "1 second"),
        ({"schedule": []}, "schedule", "must be a table, not a list"),
        ({"schedule": {"at": "tomorrow"}}, "schedule.at", "not a time such as"),
        ({"schedule": {"at": "2026-13-01T09:00:00Z"}}, "schedule.at", "no such date"),
        ({"schedule": {"at": dt.datetime(2026, 12, 1)}}, "schedule.at", "time zone"),
        ({"schedule": {"at": dt.date(2026, 12, 1)}}, "schedule.at", "must be text"),
        ({"schedule": {"window": "8-21"}}, "schedule.window", ""),
        ({"html": "mail.html"}, "html", "write it as html_file"),
        ({"html": " parts/Mail-2.HTM\n"}, "html", "write it as html_file"),
        ({"text": "./body.txt"}, "text", "write it as text_file"),
        ({"schedule": {"subject": "x"}}, "schedule.subject", "move this key above that line"),
        ({"retry": {"text_file": "x"}}, "retry.text_file", "move this key above that line"),
        ({"language": "german!"}, "language", 'not a language such as "de"'),
        ({"language": "tlh"}, "language", "write it with the key footer"),
        ({"schedule": {"timezone": "Berlin"}}, "schedule.timezone", "did you mean Europe/Berlin?"),
        ({"timezone": "Europe/Berlin"}, "timezone", "belongs in [schedule]"),
        ({"window": "08:00-21:00"}, "window", "belongs in [schedule]"),
        ({"text_file": "body.txt"}, "text_file", "resolved by the client"),
        ({"from": "a@b.com"}, "from", "did you mean sender?"),
        ({"x" * 5000: 1}, "x" * 64 + "...", "unknown key"),
        ({"\x1b[2J": 1}, '"\\u001b[2J"', "unknown key"),
    ],
)
def test_a_fault_names_its_key_and_says_what_is_wanted(change: dict[str, Any], path: str, words: str) -> None:
    found = faults({**EMAIL, **change})
    assert list(found) == [path]
    assert words in found[path]


FLYER = {"name": "flyer.pdf", "type": "application/pdf", "sha256": "a" * 64, "size": 5}


@pytest.mark.parametrize(
    ("attachments", "path", "words"),
    [
        (["flyer.pdf"], "attachments[0]", "must be a table, not text"),
        ([None], "attachments[0]", "must be a table, not nothing"),
        ({}, "attachments", "must be a list, not a table"),
        ([{**FLYER, "name": ""}], "attachments[0].name", "is missing"),
        ([{**FLYER, "name": "../../etc/shadow"}], "attachments[0].name", "without a folder"),
        ([{**FLYER, "name": "a\\b"}], "attachments[0].name", "without a folder"),
        ([{**FLYER, "name": ".."}], "attachments[0].name", "without a folder"),
        ([{**FLYER, "name": "a\r\nb"}], "attachments[0].name", "one line"),
        ([{**FLYER, "type": "pdf"}], "attachments[0].type", "MIME type"),
        ([{**FLYER, "sha256": "A" * 64}], "attachments[0].sha256", "64 hexadecimal digits"),
        ([{**FLYER, "size": 0}], "attachments[0].size", "must be from 1"),
        ([{**FLYER, "size": "5"}], "attachments[0].size", "must be a whole number, not text"),
        ([{**FLYER, "size": True}], "attachments[0].size", "not true or false"),
        ([{**FLYER, "path": "x"}], "attachments[0].path", "unknown key"),
        ([{**FLYER, "size": 14_000_000}] * 2, "attachments", "larger than 25 MiB together"),
        ([FLYER] * 51, "attachments", "at most 50"),
    ],
)
def test_attachments_are_names_and_hashes_and_never_paths(attachments: Any, path: str, words: str) -> None:
    found = faults({**EMAIL, "attachments": attachments})
    assert list(found) == [path]
    assert words in found[path]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"text": ""}, "text", "an SMS needs text"),
        ({"text": "x" * 1601}, "text", "1600 characters"),
        ({"sender": "news@acme.example"}, "sender", "an SMS comes from a number"),
        ({"subject": "x"}, "subject", "for email only"),
        ({"html": "x"}, "html", "for email only"),
        ({"reply_to": "a@b.com"}, "reply_to", "for email only"),
        ({"unsubscribe": "https://a.example/u"}, "unsubscribe", "for email only"),
        ({"postal_address": "1 Main St"}, "postal_address", "for email only"),
        ({"attachments": [FLYER]}, "attachments", "for email only"),
    ],
)
def test_an_sms_has_text_and_none_of_the_keys_of_email(change: dict[str, Any], path: str, words: str) -> None:
    found = faults({**SMS, **change})
    assert list(found) == [path]
    assert words in found[path]


@pytest.mark.parametrize("sender", ["+15005550006", "72345", "Acme 24"])
def test_an_sms_may_name_its_sender(sender: str) -> None:
    assert parse_spec({**SMS, "sender": sender}).sender == sender


@pytest.mark.parametrize(
    "unsubscribe",
    [
        "https://acme.example/u/{{ contact_id }}?l={{ list }}",
        "https://{{ shop }}.example/u",
        "https://acme.example?u={{ email | urlencode }}",
        "mailto:stop@acme.example?subject=stop",
    ],
)
def test_an_unsubscribe_address_may_have_holes(unsubscribe: str) -> None:
    assert parse_spec({**EMAIL, "unsubscribe": unsubscribe}).unsubscribe == unsubscribe


@pytest.mark.parametrize(
    ("written", "proper"),
    [
        ("news@ACME.example", "news@acme.example"),
        ("<news@acme.example>", "news@acme.example"),
        ("Acme  <news@acme.example>", "Acme <news@acme.example>"),
        ('"Acme" <news@acme.example>', "Acme <news@acme.example>"),
        ("Acme, Inc. <news@acme.example>", '"Acme, Inc." <news@acme.example>'),
        ('"Acme, \\"the\\" shop" <news@acme.example>', '"Acme, \\"the\\" shop" <news@acme.example>'),
        ("Jürgen Groß <news@acme.example>", "Jürgen Groß <news@acme.example>"),
        ("Acme <news@bücher.example>", "Acme <news@xn--bcher-kva.example>"),
    ],
)
def test_a_sender_is_kept_in_the_spelling_of_rfc_5322(written: str, proper: str) -> None:
    assert parse_spec({**EMAIL, "sender": written}).sender == proper
    assert mailbox(proper) == proper


def test_changed_keys_are_those_of_the_file() -> None:
    old = parse_spec(tomllib.loads(FILE))
    new = parse_spec({**tomllib.loads(FILE), "text": "New", "rate": ["50/s", "9/m"], "retry": {}})
    assert changed_keys(old, old) == []
    assert changed_keys(old, new) == ["text", "rate", "retry.give_up_after"]
    assert changed_keys(None, parse_spec(EMAIL)) == [
        "name",
        "channel",
        "provider",
        "kind",
        "sender",
        "subject",
        "text",
    ]
    assert changed_keys(None, old)[-3:] == ["retry.give_up_after", "schedule.at", "schedule.window"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("24h", 86_400),
        ("2 days", 172_800),
        ("1h 30m", 5400),
        ("1.5 H", 5400),
        ("1week", 604_800),
    ],
)
def test_durations_are_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "24 parsecs", "-1h", "1h, 2m", "1e9s", "١h", "1h" * 100])
def test_other_durations_are_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["2026-12-01T09:00:00Z", "2026-12-01 10:00:00.0+01:00", "2026-12-01t04:00:00-05:00"]
)
def test_times_of_rfc_3339(text: str) -> None:
    assert parse_time(text) == dt.datetime(2026, 12, 1, 9, tzinfo=dt.UTC).timestamp()


@given(st.datetimes(timezones=st.timezones()))
def test_every_time_with_a_zone_of_whole_minutes_reads_back(when: dt.datetime) -> None:
    try:
        read = parse_time(when.isoformat())
    except BadInput:
        offset = when.utcoffset() or dt.timedelta()
        assert offset.seconds % 60 or not 2 <= when.year <= 9998
        return
    assert read == pytest.approx(when.timestamp(), abs=1e-5)


def test_list_names() -> None:
    assert list_name("Kunden 2026 (alt)".replace("(alt)", "alt")) == "Kunden 2026 alt"
    for bad in ("", " a", "a ", "../a", "a/b", "a\nb", "_a", "x" * 65):
        with pytest.raises(BadInput):
            list_name(bad)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from([*CampaignSpec.__struct_fields__, "text_file", "give_up_after", "at"])
near_valid = st.sampled_from(
    [
        "email",
        "sms",
        "x",
        "a@b.com",
        "A <a@b.com>",
        "1/s",
        "24h",
        "https://a.b/{{ x }}",
        ["a"],
        [FLYER],
        {"at": "x"},
    ]
)


@given(st.dictionaries(keys | st.text(max_size=6), near_valid | json_like, max_size=8) | json_like)
def test_anything_is_a_spec_or_bad_input(raw: Any) -> None:
    try:
        spec = parse_spec(raw)
    except BadInput as error:
        listed = error.data["errors"]
        assert isinstance(listed, list)
        assert 1 <= len(listed) <= 50
        assert all(
            str(fault["path"]).isprintable() and str(fault["problem"]).isprintable() for fault in listed
        )
        return
    assert spec_from_json(spec_json(spec)) == spec
    assert parse_spec(msgspec.to_builtins(spec)) == spec


def test_ten_thousand_unknown_keys_are_answered_with_fifty() -> None:
    assert len(faults({**EMAIL, **{f"key{number}": 1 for number in range(10_000)}})) == 50


def test_the_line_of_a_key_in_a_file() -> None:
    text = '''# in """ nothing is a key
name = '"""'  # one line
text = """
name = "not a key"
[not.a.table]
"""
rate = [
  "1/s",
]
[ retry ]
give_up_after = "1h"
[providers."a.b"]
password = { file = "x" }
[[attachments]]
name = "y"
'''
    lines = key_lines(text)
    assert lines["name"] == 2
    assert line_of("retry.give_up_after", lines) == 11
    assert line_of("retry.other", lines) == 10
    assert line_of("rate[0]", lines) == 7
    assert line_of("providers.a.b.password.fil", lines) == 13
    assert line_of("nowhere", lines) == 0
    assert line_of("names", lines) == 0


@given(st.text(st.sampled_from("[]=.\"'#\nab{}") | st.characters(), max_size=80))
def test_finding_lines_never_fails(text: str) -> None:
    assert all(1 <= line <= len(text.split("\n")) for line in key_lines(text).values())


@pytest.mark.parametrize(
    ("at", "start"),
    [
        ("2026-12-01T09:00:00", "2026-12-01T08:00:00+00:00"),
        ("2026-07-01T09:00:00", "2026-07-01T07:00:00+00:00"),
        (dt.datetime(2026, 12, 1, 9), "2026-12-01T08:00:00+00:00"),
        ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00+00:00"),
    ],
)
def test_a_start_without_an_offset_is_in_the_time_zone_of_the_schedule(at: object, start: str) -> None:
    spec = parse_spec({**EMAIL, "schedule": {"at": at, "timezone": "europe/berlin"}})
    assert spec.schedule.timezone == "Europe/Berlin"
    assert spec.start_at == dt.datetime.fromisoformat(start).timestamp()
