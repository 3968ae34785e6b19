"""What people and servers write back about a message, as mails for a mailbox that hubd reads."""

from __future__ import annotations

from email.message import EmailMessage

_BOUNCE = """\
From: MAILER-DAEMON@mx.example
To: bounces@acme.example
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="part"

--part

Your message could not be delivered.
--part
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 {words}

--part
Content-Type: text/rfc822-headers

Message-ID: {message_id}
To: {recipient}

--part--
"""
_COMPLAINT = """\
From: feedback@isp.example
To: bounces@acme.example
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part"

--part

A report.
--part
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: isp/1.0
Version: 1
Original-Rcpt-To: <{recipient}>

--part
Content-Type: message/rfc822

Message-ID: {message_id}
To: {recipient}

Hi
--part--
"""


def bounce(message_id: str, recipient: str, words: str) -> bytes:
    """A delivery report (RFC 3464): the message was not delivered, in the server's `words`."""
    return _mail(_BOUNCE.format(message_id=message_id, recipient=recipient, words=words))


def complaint(message_id: str, recipient: str) -> bytes:
    """A feedback report (RFC 5965): the recipient says that the message is spam."""
    return _mail(_COMPLAINT.format(message_id=message_id, recipient=recipient))


def reply(message_id: str, sender: str, text: str) -> bytes:
    """What a person answers."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = "bounces@acme.example"
    mail["Subject"] = "Re: Hello"
    mail["In-Reply-To"] = mail["References"] = message_id
    mail.set_content(text)
    return mail.as_bytes()


def _mail(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()
