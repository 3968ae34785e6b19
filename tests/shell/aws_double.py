"""A local server that answers like Amazon SES (version 2), SNS and SQS, and can misbehave on request.

It checks signatures with botocore's own signer, keeps what it accepted, and tells what became of emails as
events in a queue. What it does with a message can be scripted per recipient (`behave`), or on the command
line:

    python -m tests.shell.aws_double --port 0 --record FILE --behave lost@x.example=+drop

It prints its base URL as the first line. An accepted message is one line of JSON in the record, on the disk
before the answer leaves, so that a whole-process test can compare what was accepted with what was believed.

Behaviours: `accept`, `refuse:STATUS:NAME:WORDS` (an error in the format of the service), `status:CODE` (an
HTTP status with a page instead), `silence` (reads and never answers), `drop` (reads and hangs up),
`redirect`, `echo` (a refusal that quotes the signature and the keys). With `+` in front the message is
accepted first and then the trouble comes: `+silence`, `+drop`, `+status:500`. These accept, too: `garbage`
(200 with a page), `nameless` (200 without a MessageId), `deep`, `bomb` (XML with entities), `endless`,
`gzip`, `lose:N` (hangs up after N bytes of the answer).

An accepted email is delivered, unless `outcomes` says otherwise (--outcome on the command line) or its
recipient has one of these local parts, also with something behind it: `bounce`, `complaint`, `full` (a
transient bounce), `delayed`, `reject`.
"""

from __future__ import annotations

import argparse
import base64
import email
import hashlib
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.shell.cloud_server import CloudServer

KEY, SECRET, REGION = "AKIADOUBLE", "secret-of-the-double", "eu-west-1"
QUEUE = "/123456789012/hub"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request, SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_ACCEPTING = {"accept", "garbage", "nameless", "deep", "bomb", "endless", "gzip", "lose"}
_BOMB = b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><r><MessageId>&b;</MessageId></r>'
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(slots=True)
class Queued:
    """One message of the queue."""

    name: str
    body: str
    visible_at: float = 0.0
    handle: str = ""
    received: int = 0


@dataclass(slots=True)
class Book:
    """What the server knows, shared by its threads under one lock."""

    #: The keys that are known, with their secrets and session tokens.
    keys: dict[str, tuple[str, str]] = field(default_factory=lambda: {KEY: (SECRET, "")})
    expired: set[str] = field(default_factory=set)  #: keys that were good
    denied: set[str] = field(default_factory=set)  #: actions that the keys' policy does not allow
    clock_ahead: float = 0.0  #: seconds by which this server's clock is ahead
    record: Path | None = None
    refusals: Path | None = None  #: gets a line with the action and the name of each error
    accepted: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  #: actions and their parameters
    behaviours: dict[str, list[str]] = field(default_factory=dict)
    account: dict[str, Any] = field(
        default_factory=lambda: {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": "HEALTHY",
            "ProductionAccessEnabled": True,
            "SendQuota": {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 17.0},
            "SendingEnabled": True,
        }
    )
    verified: set[str] | None = None  #: in the sandbox: addresses that may send and receive
    sms_attributes: dict[str, str] = field(default_factory=lambda: {"MonthlySpendLimit": "100"})
    sms_sandbox: bool = False
    opted_out: list[str] = field(default_factory=list)
    queue: list[Queued] = field(default_factory=list)
    queue_behaviours: list[str] = field(default_factory=lambda: ["accept"])  #: of requests to the queue
    outcomes: dict[str, str] = field(default_factory=dict)  #: what becomes of emails, by recipient
    envelope: str = "sns"  #: around the events: "sns" or "raw"
    visibility: float = 30.0  #: seconds until a message that was not deleted comes again
    longest_poll: float = 20.0  #: seconds
    events_first: bool = False  #: events are in the queue before the message is answered
    lock: threading.Condition = field(default_factory=threading.Condition)

    def next_behaviour(self, to: str) -> str:
        """The next of the recipient's script; the last one stays."""
        script = self.behaviours.get(to) or self.behaviours.get("*")
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        return "accept"

    def next_of_queue(self) -> str:
        """The next of the queue's script; the last one stays."""
        return self.queue_behaviours.pop(0) if len(self.queue_behaviours) > 1 else self.queue_behaviours[0]

    def accept(self, message: dict[str, Any]) -> str:
        """Keep a message; it is in the record, on the disk, when this returns. Returns its name."""
        message["id"] = f"0102{secrets.token_hex(8)}-{secrets.token_hex(4)}-000000"
        self.accepted.append(message)
        if self.record is not None:
            with self.record.open("a", encoding="utf-8") as file:
                file.write(json.dumps({key: message[key] for key in message if key != "raw"}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return str(message["id"])

    def put(self, body: str) -> str:
        """A message into the queue."""
        queued = Queued(name=secrets.token_hex(8), body=body)
        self.queue.append(queued)
        self.lock.notify_all()
        return queued.name

    def publish(self, message: dict[str, Any]) -> None:
        """What became of an email, as events in the queue."""
        for event in events_of(message, self.outcomes.get(message["to"], "")):
            text = json.dumps(event)
            enveloped = {"Type": "Notification", "MessageId": secrets.token_hex(8), "Message": text}
            self.put(json.dumps(enveloped) if self.envelope == "sns" else text)

    def receive(self, most: int, wait: float) -> list[Queued]:
        """Up to so many messages, which nobody else sees for a while; waits for the first."""
        until = time.monotonic() + min(wait, self.longest_poll)
        while True:
            now = time.monotonic()
            found = [message for message in self.queue if message.visible_at <= now][:most]
            if found or now >= until:
                break
            self.lock.wait(min(until - now, 0.05))
        for message in found:
            message.visible_at = now + self.visibility
            message.handle = secrets.token_hex(8)
            message.received += 1
        return found

    def delete(self, handle: str) -> None:
        """Whatever the handle is: who deletes twice has done no harm."""
        self.queue = [message for message in self.queue if message.handle != handle]


def events_of(message: dict[str, Any], outcome: str) -> list[dict[str, Any]]:
    """The events about an accepted email, in the words of SES."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    to = str(message["to"])
    parsed: Message = message["parsed"]
    mail = {
        "timestamp": stamp,
        "source": str(parsed["From"]),
        "messageId": message["id"],
        "destination": [to],
        "headersTruncated": False,
        "headers": [{"name": name, "value": str(value)} for name, value in parsed.items()],
        "tags": {
            **{name: [value] for name, value in message["tags"].items()},
            "ses:caller-identity": ["hub"],
        },
    }
    named = {"timestamp": stamp, "feedbackId": f"fb-{message['id']}"}
    by_name = re.match(r"bounce|complaint|full|delayed|reject|", to)
    delivered = {
        "eventType": "Delivery",
        "mail": mail,
        "delivery": {"timestamp": stamp, "recipients": [to], "smtpResponse": "250 2.6.0 Message received"},
    }

    def bounce(kind: str, status: str, words: str) -> dict[str, Any]:
        row = {"emailAddress": to, "action": "failed", "status": status, "diagnosticCode": f"smtp; {words}"}
        details = {"bounceType": kind, "bounceSubType": "General", "bouncedRecipients": [row], **named}
        return {"eventType": "Bounce", "mail": mail, "bounce": details}

    match outcome or (by_name[0] if by_name else ""):
        case "bounce":
            return [bounce("Permanent", "5.1.1", "550 5.1.1 user unknown")]
        case "full":
            return [bounce("Transient", "4.2.2", "452 4.2.2 mailbox full")]
        case "complaint":
            rows = [{"emailAddress": to}]
            complaint = {"complainedRecipients": rows, "complaintFeedbackType": "abuse", **named}
            return [delivered, {"eventType": "Complaint", "mail": mail, "complaint": complaint}]
        case "delayed":
            rows = [{"emailAddress": to, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no answer"}]
            delay = {"delayType": "General", "delayedRecipients": rows, "timestamp": stamp}
            return [{"eventType": "DeliveryDelay", "mail": mail, "deliveryDelay": delay}]
        case "reject":
            return [{"eventType": "Reject", "mail": mail, "reject": {"reason": "Bad content"}}]
    return [delivered]


class AwsDouble(CloudServer):
    """The running server."""

    def __init__(self, port: int = 0, *, book: Book | None = None) -> None:
        self.book = book or Book()
        super().__init__(port, Handler, self.book.lock)

    @property
    def queue_url(self) -> str:
        return f"{self.base_url}{QUEUE}"

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """Accepted messages, oldest first."""
        with self.book.lock:
            return list(self.book.accepted)

    def requests(self, action: str) -> list[dict[str, Any]]:
        """The parameters of every request for an action, also of those that were refused."""
        with self.book.lock:
            return [parameters for name, parameters in self.book.requests if name == action]

    def behave(self, to: str, *behaviours: str) -> None:
        """What to do with messages to them ("*" for all), one after the other; the last one stays."""
        with self.book.lock:
            self.book.behaviours[to] = list(behaviours)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.book.lock:
            self.book.longest_poll = 0.0
        super().__exit__(kind, error, trace)


class Refused(Exception):
    """An error in the format of the service."""

    def __init__(self, status: int, name: str, words: str) -> None:
        super().__init__(name)
        self.status, self.name, self.words = status, name, words


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: AwsDouble
    protocol_version = "HTTP/1.1"
    service = "ses"  #: of the request, as its signature has it
    action = ""  #: what it asks for
    sent = -1  #: bytes of the next answer after which the connection is cut; -1 for none

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes) -> None:
        form = dict(parse_qs(body.decode())) if body.startswith(b"Action=") else {}
        target = self.headers.get("X-Amz-Target", "").partition(".")[2]
        self.action = form.get("Action", [target or urlsplit(self.path).path.rpartition("/")[2]])[0]
        try:
            self._check(body)
            if self.service == "ses":
                self._ses(body)
            elif self.service == "sns":
                self._sns({key: values[-1] for key, values in parse_qs(body.decode()).items()})
            else:
                self._sqs(json.loads(body))
        except Refused as refusal:
            self._error(refusal)

    # -- who asks ---------------------------------------------------------------------------------

    def _check(self, body: bytes) -> None:
        """The signature, by botocore. Raises `Refused` with the names that each service has for it."""
        match = _AUTHORIZATION.fullmatch(self.headers.get("Authorization", ""))
        if match is None:
            raise Refused(403, "MissingAuthenticationToken", "Missing Authentication Token")
        self.service = match["service"]
        query = self.service == "sns"
        with self.server.book.lock:
            secret, token = self.server.book.keys.get(match["key"], ("", ""))
            expired = match["key"] in self.server.book.expired
            now = datetime.now(UTC) + timedelta(seconds=self.server.book.clock_ahead)
        if not secret:
            name = "UnrecognizedClientException" if self.service == "ses" else "InvalidClientTokenId"
            raise Refused(403, name, "The security token included in the request is invalid.")
        if expired:
            name = "ExpiredToken" if query else "ExpiredTokenException"
            raise Refused(403, name, "The security token included in the request is expired")
        request = AWSRequest(
            method=self.command,
            url=f"http://{self.headers['Host']}{self.path}",
            headers={name: self.headers[name] for name in match["headers"].split(";")},
            data=body,
        )
        stamp = request.context["timestamp"] = self.headers["X-Amz-Date"]
        auth = SigV4Auth(Credentials(match["key"], secret, token or None), self.service, REGION)
        signed = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        wrong = "SignatureDoesNotMatch" if query else "InvalidSignatureException"
        if signed != match["signature"] or self.headers.get("X-Amz-Security-Token", "") != token:
            raise Refused(403, wrong, "The request signature we calculated does not match yours.")
        made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs((now - made).total_seconds()) > 300:
            raise Refused(403, wrong, f"Signature expired: {stamp} is now earlier than {now:%Y%m%dT%H%M%SZ}")

    def _note(self, action: str, parameters: dict[str, Any]) -> None:
        book = self.server.book
        book.requests.append((action, parameters))
        if action in book.denied:
            name = "AuthorizationError" if self.service == "sns" else "AccessDeniedException"
            words = f"User: arn:aws:iam::123456789012:user/hub is not authorized to perform: {action}"
            raise Refused(403, name, words)

    # -- what is asked ----------------------------------------------------------------------------

    def _ses(self, body: bytes) -> None:
        book = self.server.book
        path = urlsplit(self.path).path
        if (self.command, path) == ("GET", "/v2/email/account"):
            with book.lock:
                self._note("GetAccount", {})
                account = json.dumps(book.account).encode()
            self._send(200, account)
            return
        if (self.command, path) != ("POST", "/v2/email/outbound-emails"):
            raise Refused(404, "UnknownOperationException", "")
        request = json.loads(body)
        raw = base64.b64decode(request["Content"]["Raw"]["Data"], validate=True)
        (to,) = request["Destination"]["ToAddresses"]
        parsed = email.message_from_bytes(raw)
        message = {
            "to": to,
            "tags": {tag["Name"]: tag["Value"] for tag in request.get("EmailTags", [])},
            "configuration_set": request.get("ConfigurationSetName"),
            "message_id": parsed["Message-ID"],
            "raw": raw,
        }
        with book.lock:
            self._note("SendEmail", message)
            sender = email.utils.parseaddr(parsed["From"])[1]
            unverified = [
                who for who in (sender, to) if book.verified is not None and who not in book.verified
            ]
            if unverified:
                words = "Email address is not verified. The following identities failed the check in region "
                raise Refused(400, "MessageRejected", f"{words}{REGION.upper()}: {', '.join(unverified)}")
        self._carry_out(message, parsed)

    def _carry_out(self, message: dict[str, Any], parsed: Message | None) -> None:
        """Do with a message what the script of its recipient says."""
        book = self.server.book
        with book.lock:
            behaviour = book.next_behaviour(message["to"])
            name = ""
            if behaviour.startswith("+") or behaviour.partition(":")[0] in _ACCEPTING:
                name = book.accept(message)
                if parsed is not None and book.events_first:
                    book.publish({**message, "parsed": parsed})
        self._act(behaviour.removeprefix("+"), name)
        with book.lock:
            if name and parsed is not None and not book.events_first:
                book.publish({**message, "parsed": parsed})

    def _sns(self, form: dict[str, str]) -> None:
        book = self.server.book
        action = form.pop("Action")
        with book.lock:
            self._note(action, form)
        match action:
            case "Publish":
                if not _NUMBER.fullmatch(form.get("PhoneNumber", "")):
                    words = f"Invalid parameter: PhoneNumber Reason: {form.get('PhoneNumber')} is not valid"
                    raise Refused(400, "InvalidParameter", words)
                if len(form["Message"].encode()) > 1600:
                    raise Refused(400, "InvalidParameter", "Invalid parameter: Message too long")
                names = [key for key in form if key.endswith(".Name")]
                attributes = {form[key]: form[key[:-4] + "Value.StringValue"] for key in names}
                sms = {"to": form["PhoneNumber"], "text": form["Message"], "attributes": attributes}
                self._carry_out(sms, None)
            case "GetSMSAttributes":
                with book.lock:
                    pairs = sorted(book.sms_attributes.items())
                entries = "".join(
                    f"<entry><key>{key}</key><value>{value}</value></entry>" for key, value in pairs
                )
                self._xml(action, f"<attributes>{entries}</attributes>")
            case "GetSMSSandboxAccountStatus":
                with book.lock:
                    sandbox = str(book.sms_sandbox).lower()
                self._xml(action, f"<IsInSandbox>{sandbox}</IsInSandbox>")
            case "ListPhoneNumbersOptedOut":
                if not (token := form.get("nextToken", "0")).isdigit():
                    raise Refused(400, "InvalidParameter", "Invalid parameter: nextToken")
                start = int(token)
                with book.lock:
                    page, more = book.opted_out[start : start + 100], len(book.opted_out) > start + 100
                members = "".join(f"<member>{number}</member>" for number in page)
                after = f"<nextToken>{start + 100}</nextToken>" if more else ""
                self._xml(action, f"<phoneNumbers>{members}</phoneNumbers>{after}")
            case _:
                raise Refused(400, "InvalidAction", "The action is not valid for this endpoint.")

    def _sqs(self, request: dict[str, Any]) -> None:
        book = self.server.book
        action = self.headers["X-Amz-Target"].partition(".")[2]
        with book.lock:
            self._note(action, request)
            if urlsplit(request["QueueUrl"]).path != QUEUE:
                raise Refused(
                    400, "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist."
                )
            behaviour = book.next_of_queue()
            if behaviour != "accept":
                pass
            elif action == "ReceiveMessage":
                received = book.receive(
                    request.get("MaxNumberOfMessages", 1), request.get("WaitTimeSeconds", 0)
                )
                rows = [
                    {
                        "MessageId": message.name,
                        "ReceiptHandle": message.handle,
                        "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
                        "Body": message.body,
                    }
                    for message in received
                ]
                answer: dict[str, Any] = {"Messages": rows} if rows else {}
            elif action == "SendMessage":
                name = book.put(request["MessageBody"])
                digest = hashlib.md5(request["MessageBody"].encode()).hexdigest()
                answer = {"MessageId": name, "MD5OfMessageBody": digest}
            elif action == "DeleteMessageBatch":
                assert len(request["Entries"]) <= 10
                for entry in request["Entries"]:
                    book.delete(entry["ReceiptHandle"])
                answer = {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}
            else:
                raise Refused(400, "com.amazonaws.sqs#UnsupportedOperation", "")
        if behaviour == "accept":
            self._send(200, json.dumps(answer).encode(), "application/x-amz-json-1.0")
        else:
            self._act(behaviour, "")

    # -- answers ----------------------------------------------------------------------------------

    def _act(self, behaviour: str, name: str) -> None:
        word, _, argument = behaviour.partition(":")
        match word:
            case "accept":
                self._accepted(name)
            case "lose":
                self.sent = int(argument)
                self._accepted(name)
            case "refuse":
                status, error, words = argument.split(":", 2)
                raise Refused(int(status), error, words)
            case "status":
                self._send(int(argument), b"<html>something is wrong</html>", "text/html")
            case "silence":
                self.rfile.read(1)  # until the client hangs up
                self.close_connection = True
            case "drop":
                self.close_connection = True
            case "garbage":
                self._send(200, b"<html>Welcome to the hotel wifi</html>", "text/html")
            case "nameless":
                self._accepted("")
            case "deep":
                self._send(200, b"<a>" * 100_000 if self.service == "sns" else b"[" * 100_000)
            case "bomb":
                self._send(200, _BOMB, "text/xml")
            case "endless":
                self._send(200, b" " * 2_000_000)
            case "gzip":
                self._send(200, b"\x1f\x8b" + bytes(100), headers={"Content-Encoding": "gzip"})
            case "redirect":
                self._send(307, b"", headers={"Location": f"{self.server.base_url}/elsewhere"})
            case "echo":
                with self.server.book.lock:
                    keys = [text for pair in self.server.book.keys.values() for text in pair]
                raise Refused(400, "MessageRejected", f"{' '.join(keys)} {self.headers['Authorization']}")
            case _:
                raise AssertionError(f"no such behaviour: {behaviour}")

    def _accepted(self, name: str) -> None:
        if self.service == "ses":
            self._send(200, json.dumps({"MessageId": name} if name else {}).encode())
        else:
            self._xml("Publish", f"<MessageId>{name}</MessageId>" if name else "")

    def _xml(self, action: str, result: str) -> None:
        space = "http://sns.amazonaws.com/doc/2010-03-31/"
        request = f"<ResponseMetadata><RequestId>{secrets.token_hex(8)}</RequestId></ResponseMetadata>"
        body = f'<{action}Response xmlns="{space}"><{action}Result>{result}</{action}Result>{request}'
        self._send(200, f"{body}</{action}Response>".encode(), "text/xml")

    def _error(self, refusal: Refused) -> None:
        book = self.server.book
        if book.refusals is not None:
            with book.lock, book.refusals.open("a", encoding="utf-8") as file:
                file.write(f"{self.action} {refusal.name}\n")
        if self.service == "sns":
            fault = (
                f"<Type>Sender</Type><Code>{refusal.name}</Code><Message>{escape(refusal.words)}</Message>"
            )
            body = (
                f'<ErrorResponse xmlns="urn:x"><Error>{fault}</Error><RequestId>x</RequestId></ErrorResponse>'
            )
            self._send(refusal.status, body.encode(), "text/xml")
        elif self.service == "ses":
            named = {"x-amzn-ErrorType": f"{refusal.name}:http://internal.amazon.com/coral/com.amazon.ses/"}
            self._send(refusal.status, json.dumps({"message": refusal.words}).encode(), headers=named)
        else:
            body = json.dumps({"__type": refusal.name, "message": refusal.words})
            self._send(refusal.status, body.encode(), "application/x-amz-json-1.0")

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        with self.server.book.lock:
            ahead = self.server.book.clock_ahead
        now = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        own = {"Date": now, "Content-Type": kind, "Content-Length": str(len(body))}
        lines = [f"{name}: {value}\r\n" for name, value in {**own, **(headers or {})}.items()]
        answer = f"HTTP/1.1 {status} Answer\r\n{''.join(lines)}\r\n".encode() + body
        if self.sent >= 0:
            answer, self.sent, self.close_connection = answer[: self.sent], -1, True
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: stdout is for the base URL."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A local server that answers like Amazon SES, SNS and SQS.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, help="append each accepted message here, as a line of JSON")
    parser.add_argument("--refusals", type=Path, help="append action and name of each error here")
    parser.add_argument("--behave", action="append", default=[], metavar="RECIPIENT=BEHAVIOUR,...")
    parser.add_argument("--outcome", action="append", default=[], metavar="RECIPIENT=OUTCOME")
    parser.add_argument("--opted-out", action="append", default=[], metavar="NUMBER")
    parser.add_argument("--visibility", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--events-first", action="store_true")
    options = parser.parse_args()
    book = Book(
        record=options.record,
        refusals=options.refusals,
        visibility=options.visibility,
        events_first=options.events_first,
    )
    book.account["SendQuota"] |= {"MaxSendRate": 2000.0}
    book.opted_out = options.opted_out
    book.outcomes = dict(rule.split("=") for rule in options.outcome)
    for rule in options.behave:
        to, _, behaviours = rule.partition("=")
        book.behaviours[to] = behaviours.split(",")
    server = AwsDouble(options.port, book=book)
    print(server.base_url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
