"""Mail that comes back: every kind is recognised, and no mail, however broken, stops the reader."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_string
from email.message import EmailMessage, Message
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.inbound import Item, ItemKind
from hubd.core.mail_parts import MOST_BYTES, read_mail
from hubd.core.page_text import text_of_page
from hubd.core.quoted_text import split_reply
from hubd.core.returned_mail import read_returned_mail
from hubd.core.tokens import Purpose, Tokens

TOKEN = Tokens(b"key of this installation").of(Purpose.BOUNCE, 17)
OURS = "<d17.5c1f@acme.example>"


def read(data: bytes | Message) -> list[Item]:
    return read_returned_mail(data if isinstance(data, bytes) else data.as_bytes(), received=1_000.0)


def one(data: bytes | Message) -> Item:
    (item,) = read(data)
    assert item.at == 1_000.0
    return item


def report(
    *groups: str,
    words: str = "It did not work.",
    headers_only: bool = False,
    to: str = f"bounces+{TOKEN}@acme.example",
) -> MIMEMultipart:
    """A report of delivery as Postfix writes one (RFC 3464)."""
    mail = MIMEMultipart("report")
    mail.set_param("report-type", "delivery-status")
    mail["From"] = "MAILER-DAEMON@mx.example.net (Mail Delivery System)"
    mail["To"] = to
    mail["Subject"] = "Undelivered Mail Returned to Sender"
    mail["Auto-Submitted"] = "auto-replied"
    mail["Message-ID"] = "<20261130.AB12@mx.example.net>"
    mail.attach(MIMEText(words))
    status = Message()
    status["Content-Type"] = "message/delivery-status"
    status.set_payload([message_from_string(f"{group}\n\n") for group in groups])
    mail.attach(status)
    original = EmailMessage()
    original["From"] = "news@acme.example"
    original["To"] = "ann@example.org"
    original["Message-ID"] = OURS
    if headers_only:
        part = MIMEText(original.as_string().strip() + "\n", "rfc822-headers")
        mail.attach(part)
    else:
        original.set_content("Hello Ann")
        mail.attach(MIMEMessage(original))
    return mail


ABOUT_IT = "Reporting-MTA: dns; mx.example.net\nOriginal-Envelope-Id: d17"


def failed(status: str, diagnostic: str, action: str = "failed", recipient: str = "Ann@Example.org") -> str:
    return (
        f"Final-Recipient: rfc822; {recipient}\nOriginal-Recipient: rfc822;{recipient}\nAction: {action}\n"
        f"Status: {status}\nRemote-MTA: dns; mx.example.org\nDiagnostic-Code: smtp; {diagnostic}"
    )


@pytest.mark.parametrize("headers_only", [False, True])
def test_a_report_of_failure_is_a_bounce_with_all_that_it_says(headers_only: bool) -> None:
    item = one(
        report(
            ABOUT_IT, failed("5.1.1", "550 5.1.1 <ann@example.org>: no such user"), headers_only=headers_only
        )
    )
    assert (item.kind, item.code, item.enhanced, item.permanent) == (ItemKind.BOUNCE, 550, "5.1.1", True)
    assert item.words == "550 5.1.1 <ann@example.org>: no such user"
    assert item.about.address == "ann@example.org"
    assert item.about.token == TOKEN
    assert item.about.envelope_id == "d17"
    assert item.about.message_ids == (OURS,)


def test_the_message_id_comes_back_as_the_id_of_the_envelope() -> None:
    about = ABOUT_IT.replace("d17", "d18.77@acme.example")
    item = one(report(about, failed("2.0.0", "250 ok", "delivered")))
    assert item.about.message_ids == ("<d18.77@acme.example>", OURS)


@pytest.mark.parametrize(
    ("status", "diagnostic", "action", "kind", "enhanced", "permanent"),
    [
        ("5.0.0", "550-5.1.1 no such user", "failed", ItemKind.BOUNCE, "5.1.1", True),
        ("5.0.0", "550 no", "failed", ItemKind.BOUNCE, "5.0.0", True),
        ("5.2.2", "552 5.2.2 full", "failed", ItemKind.BOUNCE, "5.2.2", True),
        ("4.4.1", "timed out", "failed", ItemKind.BOUNCE, "4.4.1", False),  # it expired
        ("4.2.2", "452 4.2.2 over quota", "delayed", ItemKind.DELAYED, "4.2.2", None),
        ("2.0.0", "250 2.0.0 ok", "delivered", ItemKind.DELIVERED, "2.0.0", None),
        ("2.0.0", "250 2.0.0 ok", "relayed", ItemKind.AUTOMATIC, "2.0.0", None),
        ("2.1.5", "expanded to a list", "expanded", ItemKind.AUTOMATIC, "2.1.5", None),
        ("5.1.2 (bad domain)", "no such domain", "Failure", ItemKind.BOUNCE, "5.1.2", True),
        ("5.7.1", "550 5.7.1 policy", "(unknown)", ItemKind.BOUNCE, "5.7.1", True),
    ],
)
def test_actions_and_statuses(
    status: str, diagnostic: str, action: str, kind: ItemKind, enhanced: str, permanent: bool | None
) -> None:
    item = one(report(ABOUT_IT, failed(status, diagnostic, action)))
    assert (item.kind, item.enhanced, item.permanent) == (kind, enhanced, permanent)


def test_each_recipient_of_a_report_is_an_item_of_its_own() -> None:
    mail = report(
        ABOUT_IT,
        failed("5.1.1", "550 no", recipient="a@example.org"),
        failed("2.0.0", "250 ok", "delivered", recipient="b@example.org"),
        failed("4.0.0", "450 later", "delayed", recipient="c@example.org"),
    )
    items = read(mail)
    assert [(item.about.address, item.kind) for item in items] == [
        ("a@example.org", ItemKind.BOUNCE),
        ("b@example.org", ItemKind.DELIVERED),
        ("c@example.org", ItemKind.DELAYED),
    ]
    assert len({item.key for item in items}) == 3
    assert items == read(mail)


def complaint(feedback: str, original: str = f"Message-ID: {OURS}\nTo: ann@example.org\n\nHello") -> bytes:
    return (
        "From: <complaints@isp.example>\nTo: abuse@acme.example\nSubject: FW: offer\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="xx"\n\n--xx\n\nA report.\n'
        f"--xx\nContent-Type: message/feedback-report\n\n{feedback}\n\n"
        f"--xx\nContent-Type: message/rfc822\n\n{original}\n--xx--\n"
    ).encode()


def test_a_feedback_report_is_a_complaint() -> None:
    said = f"Feedback-Type: abuse\nVersion: 1\nOriginal-Mail-From: <bounces+{TOKEN}@acme.example>\n"
    item = one(complaint(said + "Original-Rcpt-To: <ann@example.org>"))
    assert (item.kind, item.vendor) == (ItemKind.COMPLAINT, "abuse")
    assert (item.about.token, item.about.message_ids) == (TOKEN, (OURS,))
    assert item.about.address == "ann@example.org"
    assert one(complaint(said)).about.address == "ann@example.org"  # by the returned mail


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "dkim"])
def test_other_feedback_is_no_complaint(kind: str) -> None:
    assert one(complaint(f"Feedback-Type: {kind}\nVersion: 1")).kind is ItemKind.AUTOMATIC


def reply(text: str, **headers: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Ann Example <Ann@Example.org>"
    mail["To"] = "help@acme.example"
    mail["Subject"] = "Re: Hello"
    mail["In-Reply-To"] = OURS
    mail["References"] = f"<first@acme.example> {OURS}"
    for name, value in headers.items():
        del mail[name.replace("_", "-")]
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


def test_a_reply_keeps_all_that_the_person_wrote() -> None:
    item = one(
        reply("Thank you!\n\nWhen do you open?\n\nOn Mon, 30 Nov Acme <news@acme.example> wrote:\n> Hello\n")
    )
    assert item.kind is ItemKind.REPLY
    assert item.text == "Thank you!\n\nWhen do you open?"
    assert "> Hello" in item.quoted
    assert item.about.address == "ann@example.org"
    assert item.about.message_ids == (OURS, "<first@acme.example>")
    assert one(reply("Hi", Message_ID="<1@example.org>")).message_id == "<1@example.org>"
    assert (item.sender, item.subject) == ("Ann Example <Ann@Example.org>", "Re: Hello")


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied (vacation)"},
        {"Precedence": "bulk"},
        {"Precedence": "auto_reply"},
        {"X_Autoreply": "yes"},
    ],
)
def test_what_a_machine_answers_is_no_reply(headers: dict[str, str]) -> None:
    assert one(reply("I am away until Monday. STOP", **headers)).kind is ItemKind.AUTOMATIC
    assert one(reply("Hello", Auto_Submitted="no")).kind is ItemKind.REPLY


def test_unsubscribe_mails() -> None:
    item = one(reply("", To=f"news+u-{TOKEN}@acme.example", Auto_Submitted="auto-generated"))
    assert (item.kind, item.about.token, item.about.address) == (ItemKind.OPT_OUT, TOKEN, "ann@example.org")
    for subject in ("unsubscribe", "Unsubscribe.", "Re: UNSUBSCRIBE", "Abmelden"):
        assert one(reply("", Subject=subject)).kind is ItemKind.OPT_OUT
    assert one(reply("", Subject="How do I unsubscribe?")).kind is ItemKind.REPLY


EXIM = f"""\
From: Mail Delivery System <Mailer-Daemon@mx.example.net>
To: bounces+{TOKEN}@acme.example
Subject: Mail delivery failed: returning message to sender
X-Failed-Recipients: ann@example.org
Auto-Submitted: auto-replied

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ann@example.org
    host mx.example.org [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<ann@example.org>:
    550 5.1.1 no such user

------ This is a copy of the message, including all the headers. ------

Message-ID: {OURS}
To: ann@example.org
"""
WORK_MAIL = f"""\
Return-Path: <>
From: MAILER-DAEMON@us-west-2.example
To: bounces@acme.example
Subject: Delivery Status Notification (Failure)

An error occurred while trying to deliver the mail to the following recipients:
ann@example.org

Technical report:

Action: failed
Final-Recipient: rfc822; ann@example.org
Diagnostic-Code: smtp; 550 5.1.1
Status: 5.1.1

Message-ID: {OURS}
"""
UNKNOWN = f"""\
From: Postmaster <postmaster@mx.example.net>
To: bounces@acme.example
Subject: your mail

We tried ann@example.org and the other side answered:
552 5.2.2 the mailbox is over its quota

  Message-ID: {OURS}
"""


@pytest.mark.parametrize(
    ("mail", "enhanced"),
    [(EXIM, "5.1.1"), (WORK_MAIL, "5.1.1"), (UNKNOWN, "5.2.2")],
    ids=["exim", "fields in the text", "beside a code"],
)
def test_bounces_in_words(mail: str, enhanced: str) -> None:
    item = one(mail.encode())
    assert (item.kind, item.about.address, item.enhanced) == (ItemKind.BOUNCE, "ann@example.org", enhanced)
    assert item.permanent is True
    assert OURS in item.about.message_ids


def test_a_person_who_writes_about_codes_is_no_server() -> None:
    item = one(reply("Your mail to bob@example.org came back:\n550 5.1.1 user unknown"))
    assert item.kind is ItemKind.REPLY


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("STOP\n\nOn Mon, 30 Nov 2026 at 10:00, Acme <news@acme.example> wrote:\n> Hi", "STOP"),
        ("STOP\n\nOn Mon, 30 Nov 2026 at 10:00, Acme\n<news@acme.example> wrote:\n\n> Hi", "STOP"),
        ("Stop\n\nAm 30.11.2026 um 10:00 schrieb Acme <news@acme.example>:\n\n> Hallo", "Stop"),
        (
            "Abmelden\n\nAm Mo., 30. Nov. 2026 um 10:00 schrieb Acme <\nnews@acme.example>:\n> Hallo",
            "Abmelden",
        ),
        ("Stop\n\nAm 30.11.26 hat Acme <news@acme.example> geschrieben:\n> Hallo", "Stop"),
        ("Stop\n\nAcme schrieb am 30.11.2026 um 10:00:\n> Hallo", "Stop"),
        ("Arrêt\n\nLe lun. 30 nov. 2026 à 10:00, Acme <news@acme.example> a écrit :\n\n> Bonjour", "Arrêt"),
        ("BAJA\n\nEl lun, 30 nov 2026 a las 10:00, Acme (<news@acme.example>) escribió:\n\n> Hola", "BAJA"),
        ("Nein\n\n-----Ursprüngliche Nachricht-----\nVon: Acme\nHallo", "Nein"),
        ("No\n\n-----Original Message-----\nFrom: Acme\nHello", "No"),
        ("Non\n\n-----Message d'origine-----\nDe : Acme\nBonjour", "Non"),
        ("No\n\n-----Mensaje original-----\nDe: Acme\nHola", "No"),
        (
            "Stop\n\n__________\nVon: Acme\nGesendet: Montag\nAn: Ann\nBetreff: Hallo\n\nHi",
            "Stop",
        ),
        ("Stop\n\nFrom: Acme <news@acme.example>\nSent: Monday\nTo: Ann\nSubject: Hello\n\nHi", "Stop"),
        ("*yes*\n\n*De :* Acme\n*Envoyé :* lundi\n*À :* Ann\n*Objet :* Bonjour\n\nBonjour", "*yes*"),
        ("> Do you open at 9?\nNo, at 10.\n> And on Sunday?\nNever.", "No, at 10.\nNever."),
        ("On Monday I wrote: nothing.\nSo what", "On Monday I wrote: nothing.\nSo what"),
        ("From: where does this come?", "From: where does this come?"),
        ("", ""),
    ],
)
def test_the_quoted_part_is_left_out(text: str, own: str) -> None:
    assert split_reply(text)[0] == own


#: Lines that no mail program takes for an introduction of a quoted part.
_plain_lines = st.lists(st.text(alphabet="abcdefg xyz,.!?äé", max_size=40), max_size=8).map("\n".join)


@given(own=_plain_lines, quoted=_plain_lines)
def test_own_text_and_quoted_text_come_apart(own: str, quoted: str) -> None:
    marked = "\n".join(f"> {line}" for line in quoted.split("\n"))
    found = split_reply(f"{own}\n\nOn Mon, 30 Nov 2026 Acme <news@acme.example> wrote:\n{marked}")
    assert found[0] == "\n".join(line.rstrip() for line in own.split("\n")).strip("\n \t")
    assert all(line.strip() in found[1] for line in quoted.split("\n"))


def test_a_page_is_read_as_text() -> None:
    html = (
        "<html><head><style>p{}</style></head><body><p>STOP &amp; go<br>now</p>"
        "<div>On Mon, Acme &lt;n@acme.example&gt; wrote:</div><blockquote><p>Hello</p></blockquote></body>"
    )
    assert text_of_page(html) == "STOP & go\nnow\nOn Mon, Acme <n@acme.example> wrote:\n> \n> Hello"
    mail = MIMEMultipart("alternative")
    mail["From"] = "ann@example.org"
    mail.attach(MIMEText(html, "html"))
    assert one(mail).text == "STOP & go\nnow"


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        ("windows-1252", b"caf\xe9 \x80", "café €"),
        ("x-no-such", "Grüße".encode(), "Grüße"),
        ("x-no-such", b"Gr\xfc\xdfe", "Grüße"),
        ("utf-8", b"\xff\xfeab", "\ufffd\ufffdab"),
        ("idna", b"abc", "abc"),
        ("hex", b"4142", "4142"),
        ("utf-7", b"a+2AA-b", "ab"),
        ("utf-8", b"a\x00b\x1b[31mc\r\nd\re", "ab[31mc\nd\ne"),
    ],
)
def test_charsets(charset: str, data: bytes, text: str) -> None:
    mail = b"From: a@example.org\nContent-Type: text/plain; charset=" + charset.encode() + b"\n\n" + data
    assert one(mail).text == text


HOSTILE: dict[str, Callable[[], bytes]] = {  # made when they are needed: megabytes, in every worker
    "nothing": lambda: b"",
    "no header": lambda: b"\n\n\nhello",
    "one endless line": lambda: b"a" * MOST_BYTES * 2,
    "one endless header": lambda: b"Subject: " + b"a" * MOST_BYTES,
    "many headers": lambda: b"X-A: b\n" * 200_000 + b"\nhi",
    "many parts": lambda: b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\nhi\n" * 100_000,
    "deep parts": lambda: b"".join(
        b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n" % (depth, depth) for depth in range(20_000)
    ),
    "the same boundary within itself": lambda: b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" * 20_000,
    "mails within mails": lambda: b"Content-Type: message/rfc822\n\n" * 30_000,
    "reports within reports": lambda: (
        b"Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n" * 10_000
    ),
    "many recipients": lambda: report(
        *(failed("5.1.1", "550", recipient=f"a{n}@example.org") for n in range(9_000))
    ).as_bytes(),
    "empty boundary": lambda: b'Content-Type: multipart/mixed; boundary=""\n\n--\n--\n--',
    "no ASCII": lambda: 'Content-Type: multipart/mixed; boundary="ä"\n\n--ä\n\nhi\n--ä--'.encode(),
    "parameters": lambda: b"Content-Type: text/plain" + b';"' * 400_000 + b"\n\nhi",
    "encoded words": lambda: (
        b"Subject: " + b"=?utf-8?q?" * 80_000 + b"\nFrom: " + b"=?x?b?=?" * 900 + b"\n\nhi"
    ),
    "bad encoded words": lambda: b"Subject: =?utf-8?b?A?= =?nope?q?=E4?= =?utf-8?q?=ZZ?=\nFrom: =?\n\nhi",
    "base64 of anything": lambda: b"Content-Transfer-Encoding: base64\n\n" + b"=\xff*" * 300_000,
    "quoted-printable of anything": lambda: (
        b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * MOST_BYTES
    ),
    "addresses": lambda: b"From: " + b"<" * 100_000 + b"\nTo: " + b"a+" * 100_000 + b"@b\n\nhi",
    "comments": lambda: b"From: " + b"(" * 7_000 + b"\n\nhi",
    "message ids": lambda: b"References: " + b"<a@" * 2_000 + b"\nIn-Reply-To: " + b"<" * 8_000 + b"\n\nhi",
    "id lines": lambda: b"From: mailer-daemon\n\n" + b"> \t> message-id:   <" * 50_000,
    "who wrote": lambda: b"From: a@b.example\n\n" + b"On a on b wrote wrote wrote hat hat hat hat\n" * 20_000,
    "who wrote in German": lambda: (
        b"From: a@b.example\n\n" + b"Am " + (b"a hat b schrieb " * 17 + b":\nAm ") * 3_800
    ),
    "tags": lambda: b"Content-Type: text/html\n\n" + b"<" * 500_000,
    "open tags": lambda: b"Content-Type: text/html\n\n" + b"<a <!--" * 70_000,
    "blockquotes": lambda: b"Content-Type: text/html\n\n" + b"<blockquote>a" * 80_000,
    "a server's many words": lambda: (
        b"From: mailer-daemon@x.example\nSubject: failure\n\n" + b"a@b.example 55 5.1 <\n" * 40_000
    ),
    "a server's endless word": lambda: (
        b"From: mailer-daemon@x.example\nSubject: failure\n\n" + b"a@b.c" * 200_000
    ),
    "Mac line ends": lambda: b"From: a@b.example\rSubject: hi\r\rtext\r",
    "NUL": lambda: b"From: a@b.example\nSubject: a\x00b\n\n\x00\x00",
    "surrogates": lambda: (
        b"From: \xed\xa0\x80@b.c\nContent-Type: text/plain; charset=utf-16\n\n\x00\xd8\x00\xd8"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_mail_is_read_in_bounded_time_and_memory(name: str) -> None:
    """Where time grows with the square of the length, these take many minutes."""
    items = read(HOSTILE[name]())
    assert 1 <= len(items) <= 50
    for item in items:
        assert len(item.text) + len(item.quoted) <= 600_000
        for text in (item.text, item.quoted, item.subject, item.sender, item.words, item.about.address):
            text.encode()
            assert "\x00" not in text
        assert len(item.about.message_ids) <= 20


_fragments = st.sampled_from(
    [
        *(
            b"Content-Type: ",
            b"multipart/report",
            b"; boundary=x",
            b"\n",
            b"\n\n",
            b"\r\n",
            b"--x",
            b"--x--",
            b"message/",
        ),
        *(
            b"delivery-status",
            b"rfc822",
            b"feedback-report",
            b"text/html",
            b"Final-Recipient: rfc822;a@b.example",
        ),
        *(
            b"Action: failed",
            b"Status: 5.1.1",
            b"From: mailer-daemon",
            b"Subject: =?utf-8?b?",
            b"charset=",
            b"utf-16",
        ),
        *(
            b"Content-Transfer-Encoding: base64",
            b">",
            b"<a@b>",
            b"Auto-Submitted: ",
            b"\x00",
            b"\xff",
            b"+u-",
            b"@",
        ),
    ]
)


@given(st.lists(_fragments | st.binary(max_size=12), max_size=60).map(b"".join))
def test_no_bytes_stop_the_reader(data: bytes) -> None:
    items = read(data)
    assert items
    assert len({item.key for item in items}) == len(items)
    assert items == read(data)
    read_mail(data).message().as_bytes()


_names = st.text(alphabet="abcdefghij0123456789", min_size=1, max_size=12)
_codes = st.tuples(st.sampled_from([4, 5]), st.integers(1, 7), st.integers(1, 99))


@given(st.lists(st.tuples(_names, _codes), min_size=1, max_size=6, unique_by=lambda one: one[0]))
def test_what_a_report_says_is_read_back(said: list[tuple[str, tuple[int, int, int]]]) -> None:
    groups = [
        failed(".".join(map(str, code)), f"{code[0]}50 no", recipient=f"{name}@example.org")
        for name, code in said
    ]
    items = read(report(ABOUT_IT, *groups))
    assert [(item.about.address, item.enhanced, item.permanent) for item in items] == [
        (f"{name}@example.org", ".".join(map(str, code)), code[0] == 5) for name, code in said
    ]
