"""A campaign file as a typed value: read once, with every fault named at once, and never doubted again.

What arrives here is the file as parsed, with the texts of `text_file` and `html_file` already in `text` and
`html` and the attachments already stored by hash: the daemon never opens a file on behalf of a client.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from hubd.core.addresses import email_address, mailbox, sms_sender
from hubd.core.condition import compile_condition
from hubd.core.footer import language_tag, unsubscribe_word
from hubd.core.intake import time_zone
from hubd.core.model import LISTENER, Attachment, Channel, InDoubt, Kind
from hubd.core.own_headers import list_id, read_headers
from hubd.core.pacing import parse_rate
from hubd.core.recurrence import CATCH_UP, LONGEST_NAME, check_cron, cron_of, read_until
from hubd.core.spec import TRIGGERS, CampaignSpec, Retry, Schedule, Trigger
from hubd.core.start_times import start_time
from hubd.core.tables import Fault, Table, problem_of, unknown_first
from hubd.core.times import parse_duration
from hubd.core.windows import parse_window
from hubd.errors import BadInput, BadTemplate

MAX_BODY_BYTES = 512 * 1024  #: each of text and html
MAX_ATTACHMENT_BYTES = 25 * 1024 * 1024  #: of all attachments together; the largest mail most servers take
MAX_ATTACHMENTS = 50
MAX_LISTS = 100
MAX_LABELS = 20
MAX_PROVIDERS = 5
MAX_SMS_CHARACTERS = 1600  #: what Twilio takes; counted here only when the text has nothing to fill in
_LONGEST_LINE = 998  #: bytes of a header line (RFC 5322 2.1.1)
_LONGEST_WAIT = 30 * 86_400.0
_LONGEST_DELAY = 365 * 86_400.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REFERENCE = re.compile(rf"({_NAME.pattern})(?:@([1-9][0-9]{{0,8}}))?")
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LIST = re.compile(r"[^\W_][\w. @+-]{0,63}")
_HOLE = re.compile(r"\{\{.*?\}\}")
_UNSUBSCRIBE = re.compile(r"https://[^/\s?#@<>]+([/?#]\S*)?|mailto:[^\s@<>]+@\S+")
_MIME_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: A text or HTML part that can only be the name of a file.
_FILE_NAME = re.compile(
    r"(?!\w+://)[^\s<>{}]+\.(html?|xhtml|txt|text|md|mjml|eml|mht|rtf|pdf|docx?|odt|j2|jinja2?|tmpl|tpl)",
    re.I,
)

#: Keys that exist in a campaign file but not here, and a mistake that cannot be found by likeness.
_ELSEWHERE = {
    "text_file": "send the file's text as text; paths are resolved by the client",
    "html_file": "send the file's text as html; paths are resolved by the client",
    "from": "unknown key; did you mean sender?",
    "list": "unknown key; did you mean lists?",
    "label": "unknown key; did you mean labels?",
    "body": "unknown key; did you mean text?",
    "segment": "unknown key; did you mean where?",
    "filter": "unknown key; did you mean where?",
    "at": "unknown key here; it belongs in [schedule]",
    "window": "unknown key here; it belongs in [schedule]",
    "timezone": "unknown key here; it belongs in [schedule]",
    "every": "unknown key here; it belongs in [schedule]",
    "cron": "unknown key here; it belongs in [schedule]",
    "until": "unknown key here; it belongs in [schedule]",
    "catch_up": "unknown key here; it belongs in [schedule]",
    "give_up_after": "unknown key here; it belongs in [retry]",
    "envelope_sender": "unknown key; did you mean return_path?",
    "envelope_from": "unknown key; did you mean return_path?",
    "bounce_address": "unknown key; did you mean return_path?",
    "feedback_id": 'unknown key; write headers = { "Feedback-ID" = "..." }',
    "list_unsubscribe": "unknown key; did you mean unsubscribe?",
}
#: Keys of the file itself, where they stand in one of its tables.
_ABOVE = dict.fromkeys(
    (*CampaignSpec.__struct_fields__, "text_file", "html_file"),
    "unknown key here; keys below a line in [brackets] belong to it, so move this key above that line",
)


_EMAIL_ONLY = (
    *("reply_to", "subject", "html", "attachments"),
    *("unsubscribe", "postal_address", "footer", "language"),
    *("return_path", "list_id", "headers", "inline"),
)


def parse_spec(raw: Mapping[str, object], *, now: float | None = None, zone: str = "") -> CampaignSpec:
    """The campaign in a parsed file. Raises BadInput with all faults, never anything else, whatever `raw` is.

    A null or empty value means the same as leaving the key out. `now`, in epoch seconds, is what the words of
    `schedule.at` count from (see `start_time`), and `zone` its time zone where the file names none.
    """
    if not isinstance(raw, Mapping):
        raise BadInput.at("", "a campaign must be a table of keys and values")
    faults: list[Fault] = []
    top = Table(raw, faults)
    channel = top.choice("channel", tuple(Channel), None)
    if top.raw.get("channel") is None:
        top.fault("channel", 'is missing; "email" or "sms"')
    spec = CampaignSpec(
        name=_name(top),
        channel=channel or Channel.EMAIL,
        provider=_providers(top),
        lists=_names(top, "lists", "list", MAX_LISTS, example='["customers"]'),
        where=top.checked("where", _condition, "", lines=True),
        kind=top.choice("kind", tuple(Kind), Kind.MARKETING),
        sender=top.checked("sender", _plain, "", example="Acme <news@acme.example>"),
        reply_to=top.checked("reply_to", mailbox, "", example="help@acme.example"),
        template=top.checked("template", _template, "", example="welcome@3"),
        subject=top.checked("subject", _subject, ""),
        text=top.checked("text", partial(_body, key="text"), "", lines=True),
        html=top.checked("html", partial(_body, key="html"), "", lines=True),
        unsubscribe=top.checked("unsubscribe", _unsubscribe, "", example="https://acme.example/u"),
        postal_address=top.checked("postal_address", _postal_address, "", lines=True),
        footer=top.checked("footer", _footer, "", lines=True),
        language=top.checked("language", language_tag, "", example="de"),
        return_path=top.checked("return_path", _bare_address, "", example="bounces@acme.example"),
        list_id=top.checked("list_id", list_id, "", example="news.acme.example"),
        headers=read_headers(top.sub("headers")),
        attachments=_files(top, "attachments"),
        inline=_files(top, "inline"),
        in_doubt=top.choice("in_doubt", tuple(InDoubt), None),
        rate=_rates(top),
        labels=_names(top, "labels", "label", MAX_LABELS, example='["portfolio"]'),
        credits=top.checked("credits", campaign_name, "", example="team"),
        retry=_retry(top.sub("retry")),
        schedule=Schedule(),
    )
    schedule = _schedule(top.sub("schedule"), now, zone, spec.name)
    spec = msgspec.structs.replace(spec, schedule=schedule, trigger=_trigger(top, schedule))
    if sum(file.size for file in (*spec.attachments, *spec.inline)) > MAX_ATTACHMENT_BYTES:
        key = "attachments" if spec.attachments else "inline"
        top.fault(key, f"are larger than {MAX_ATTACHMENT_BYTES // 1024**2} MiB together")
    if channel == Channel.EMAIL:
        spec = _email(top, spec)
    elif channel == Channel.SMS:
        _sms(top, spec)
    top.close(hints=_ELSEWHERE, also=("text_file", "html_file"))
    if faults:
        raise BadInput.of(unknown_first(faults))
    return spec


def list_name(text: str, what: str = "list") -> str:
    """The name of a contact list, or of something else that is named like one. Raises BadInput."""
    if _LIST.fullmatch(text) is None or text != text.strip():
        raise BadInput(
            f"a {what}'s name starts with a letter or digit; up to 64 letters, digits, spaces or . _ @ + -"
        )
    return text


def _name(top: Table) -> str:
    if top.raw.get("name") in (None, ""):
        top.take("name")
        top.fault("name", "is missing; every campaign has a unique name")
        return ""
    return top.checked("name", campaign_name, "", example="spring-sale")


def campaign_name(text: str) -> str:
    """The name of a campaign or a template. Raises BadInput."""
    if _NAME.fullmatch(text) is None:
        raise BadInput("must start with a-z or 0-9 and have up to 64 characters from a-z, 0-9 and . _ -")
    return text


def parse_reference(text: str) -> tuple[str, int | None]:
    """The name and the version in "welcome@3"; the version is None for the newest. Raises BadInput."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise BadInput("is not the name of a template such as welcome, or welcome@3 for one version of it")
    return match[1], int(match[2]) if match[2] else None


def _template(text: str) -> str:
    parse_reference(text)
    return text


def _providers(top: Table) -> str | tuple[str, ...]:
    """One name, or several."""
    if not isinstance(top.raw.get("provider"), list | tuple):
        return top.checked("provider", _provider, "outbox", example="outbox")
    names = top.texts("provider", example='["relay", "ses"]')
    for name in names:
        top.run("provider", _provider, name, "")
    if not top.raw["provider"]:
        top.fault("provider", "is an empty list; name at least one provider")
    if len(names) > MAX_PROVIDERS:
        top.fault("provider", f"has more than {MAX_PROVIDERS} providers")
    return names[0] if len(names) == 1 else names or "outbox"


def _provider(text: str) -> str:
    if _PROVIDER.fullmatch(text) is None:
        raise BadInput("is not the name of a provider in hubd.toml")
    return text


def _names(top: Table, key: str, what: str, most: int, *, example: str) -> tuple[str, ...]:
    """Names of lists or of what is named like them."""
    names = top.texts(key, example=example)
    if len(names) > most:
        top.fault(key, f"at most {most} {key}")
    name = partial(list_name, what=what)
    return tuple(top.run(f"{key}[{at}]", name, text, "") for at, text in enumerate(names[:most]))


def _condition(text: str) -> str:
    try:
        compile_condition(text)
    except BadTemplate as error:
        raise BadInput(f"{problem_of(error)} ({error.hint})" if error.hint else problem_of(error)) from None
    return text


def _plain(text: str) -> str:
    return text


def _subject(text: str) -> str:
    if len(text.encode()) > _LONGEST_LINE:
        raise BadInput(f"is longer than {_LONGEST_LINE} bytes")
    return text


def _body(text: str, key: str) -> str:
    if len(text.encode()) > MAX_BODY_BYTES:
        raise BadInput(f"is larger than {MAX_BODY_BYTES // 1024} KiB")
    if _FILE_NAME.fullmatch(text.strip()):
        raise BadInput(
            f"is the name of a file and would be sent as the message; write it as {key}_file = ..."
        )
    return text


def _postal_address(text: str) -> str:
    if len(text) > 1000:
        raise BadInput("is longer than 1000 characters")
    return text


def _footer(text: str) -> str:
    if len(text) > 4000:
        raise BadInput("is longer than 4000 characters")
    return text


def _bare_address(text: str) -> str:
    if "<" in text:
        raise BadInput("must be an address without a name, such as bounces@acme.example")
    return email_address(text)[0]


def _unsubscribe(text: str) -> str:
    if text == LISTENER:
        return text
    literal = _HOLE.sub("x", text)
    if not literal.isascii() or len(text) > _LONGEST_LINE - 100:
        raise BadInput("must be ASCII and fit in one header line")
    if _UNSUBSCRIBE.fullmatch(literal) is None or any(char in literal for char in "<>"):
        raise BadInput(f'must be an https:// address or mailto:, without spaces, or "{LISTENER}"')
    return text


def _rates(top: Table) -> tuple[str, ...]:
    rates = top.texts("rate", or_one=True, example='"30/minute"')
    if isinstance(top.raw.get("rate"), str):
        return tuple(top.run("rate", _rate, rate, "") for rate in rates)
    return tuple(top.run(f"rate[{at}]", _rate, rate, "") for at, rate in enumerate(rates))


def _rate(text: str) -> str:
    parse_rate(text)
    return text


def _window(text: str) -> str:
    parse_window(text)
    return text


def _retry(table: Table) -> Retry:
    after = table.checked("give_up_after", _give_up_after, Retry().give_up_after, example="24h")
    table.close(hints=_ABOVE)
    return Retry(give_up_after=after)


def _give_up_after(text: str) -> str:
    if not 1 <= parse_duration(text) <= _LONGEST_WAIT:
        raise BadInput("must be between 1 second and 30 days")
    return text


def _schedule(table: Table, now: float | None, default_zone: str, name: str) -> Schedule:
    texts = {
        key: value.isoformat()
        for key, kind in (("at", dt.time), ("until", dt.date))
        if isinstance(value := table.raw.get(key), dt.datetime | kind)
    }
    table = Table(dict(table.raw) | texts, table.faults, table.path)
    zone = table.checked("timezone", time_zone, "", example="Europe/Berlin")
    starts = partial(start_time, zone=zone or default_zone, now=now)
    at = table.checked("at", starts, None, example="2026-12-01 09:00")
    window = table.checked("window", _window, "", example="08:00-21:00")
    every = table.checked("every", _every, "", example="monday 9:00")
    cron = table.checked("cron", check_cron, "", example="0 9 * * 1")
    until = table.checked("until", partial(_until, zone=zone), None, example="2026-12-31")
    catch_up = table.choice("catch_up", CATCH_UP, None)
    _check_repeats(table, default_zone, name)
    table.close(hints=_ABOVE)
    return Schedule(
        at=at, window=window, timezone=zone, every=every, cron=cron, until=until, catch_up=catch_up
    )


def _every(text: str) -> str:
    check_cron(cron_of(text))
    return text


def _until(text: str, zone: str) -> str:
    read_until(text, zone)
    return text


def _check_repeats(table: Table, default_zone: str, name: str) -> None:
    """What a schedule that repeats needs, and what goes with nothing else."""
    if not _given(table, "every") and not _given(table, "cron"):
        for key in ("until", "catch_up"):
            if _given(table, key):
                table.fault(key, "is for a campaign that repeats; also write every")
        return
    if _given(table, "every") and _given(table, "cron"):
        table.fault("cron", "says when it repeats, and so does every; keep only one of the two")
    if _given(table, "at"):
        table.fault("at", "is for a campaign that starts once; keep at or every")
    if not _given(table, "timezone"):
        zone = default_zone or "Europe/Berlin"
        table.fault("timezone", f'is missing; a campaign that repeats needs one, such as timezone = "{zone}"')
    if len(name) > LONGEST_NAME:
        key = "every" if _given(table, "every") else "cron"
        table.fault(key, f"needs a name of at most {LONGEST_NAME} characters, to which the dates are added")


def _trigger(top: Table, schedule: Schedule) -> Trigger:
    table = top.sub("trigger")
    name = table.checked("list", list_name, "", example="customers")
    on = table.choice("on", TRIGGERS, TRIGGERS[0])
    delay = table.checked("delay", _delay, "", example="1h")
    table.close(hints={**_ABOVE, "lists": "unknown key; a trigger has one list; did you mean list?"})
    if not name:
        for key in ("on", "delay"):
            if _given(table, key):
                table.fault("list", "is missing; say which list it waits for")
                break
        return Trigger()
    if _given(top, "lists"):
        top.fault("lists", "a campaign with a trigger gets its recipients from trigger.list alone")
    if schedule.every or schedule.cron:
        table.fault("list", "a campaign can have a trigger or repeat, but not both")
    return Trigger(list=name, on=on, delay=delay)


def _delay(text: str) -> str:
    if not 0 <= parse_duration(text) <= _LONGEST_DELAY:
        raise BadInput("must be at most 365 days")
    return text


def _files(top: Table, key: str) -> tuple[Attachment, ...]:
    tables = top.subs(key)
    if len(tables) > MAX_ATTACHMENTS:
        top.fault(key, f"at most {MAX_ATTACHMENTS} files")
    return tuple(_attachment(table) for table in tables[:MAX_ATTACHMENTS])


def _attachment(table: Table) -> Attachment:
    for key in ("name", "type", "sha256", "size"):
        if table.raw.get(key) in (None, ""):
            table.fault(key, "is missing")
    file = Attachment(
        name=table.checked("name", _file_name, ""),
        type=table.checked("type", _pattern(_MIME_TYPE, "must be a MIME type such as application/pdf"), ""),
        sha256=table.checked("sha256", _pattern(_SHA256, "must be 64 hexadecimal digits in lower case"), ""),
        size=table.whole("size", 0, 1, MAX_ATTACHMENT_BYTES),
    )
    table.close()
    return file


def _file_name(text: str) -> str:
    if any(char in text for char in "/\\") or text in (".", "..") or len(text.encode()) > 200:
        raise BadInput("must be a file's name of up to 200 bytes, without a folder")
    return text


def _pattern(pattern: re.Pattern[str], problem: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise BadInput(problem)
        return text

    return check


def _email(top: Table, spec: CampaignSpec) -> CampaignSpec:
    """What an email campaign needs; the sender in its proper spelling."""
    if not _given(top, "sender"):
        top.fault("sender", "is missing; an email needs a sender")
    if _given(top, "template"):
        _check_no_words(top)
    else:
        if not _given(top, "subject"):
            top.fault("subject", "is missing; an email needs a subject")
        if not _given(top, "text") and not _given(top, "html"):
            top.fault("text", "is missing; an email needs text, html or both")
    if spec.language and not spec.footer and unsubscribe_word(spec.language) is None:
        top.fault("language", "has no footer here; write it with the key footer")
    if not spec.sender:
        return spec
    return msgspec.structs.replace(spec, sender=top.run("sender", mailbox, spec.sender, ""))


def _sms(top: Table, spec: CampaignSpec) -> None:
    """What a text message needs, and the keys it cannot have."""
    if spec.sender:
        top.run("sender", sms_sender, spec.sender, "")
    for key in _EMAIL_ONLY:
        if _given(top, key):
            top.fault(key, 'is for email only; this campaign has channel = "sms"')
    if _given(top, "template"):
        _check_no_words(top)
    elif not _given(top, "text"):
        top.fault("text", "is missing; an SMS needs text")
    if "{" not in spec.text and len(spec.text) > MAX_SMS_CHARACTERS:
        top.fault("text", f"is longer than the {MAX_SMS_CHARACTERS} characters an SMS can have")


def _check_no_words(top: Table) -> None:
    """A template takes the place of the keys that it fills."""
    for key in ("subject", "text", "html"):
        if _given(top, key):
            top.fault(key, "is already in the template; keep only one of the two")


def _given(top: Table, key: str) -> bool:
    value = top.raw.get(key)
    return bool(value.strip()) if isinstance(value, str) else value not in (None, [], (), {})
