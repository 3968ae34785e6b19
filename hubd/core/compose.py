"""A campaign's message, compiled once; then plan + contact = the bytes on the wire.

Building an `EmailMessage` costs about 1.5 ms, a thousand recipients a second would be out of reach. So the
standard library builds the structure once, `mime.skeleton` keeps it as constant bytes with holes, and
`EmailPlan.render` fills the holes: four short header lines and one or two bodies, of which `bodies` has
encoded the constant lines before.

What a field may do: anything in a body; in a header it is made one line by `mime.one_line`; in the
unsubscribe URL it is percent-encoded. Nothing a contact contains can add a header, a part or a recipient.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from html import escape

import msgspec

from hubd.core.addresses import email_address
from hubd.core.bodies import BodyEncoder, has_dots, transfer_for
from hubd.core.email_parts import EmailParts, FilePart, Files, Mailbox
from hubd.core.footer import UNSUBSCRIBE, html_footer, html_lines, text_footer, unsubscribe_word
from hubd.core.mime import (
    LINE_LIMIT,
    File,
    date_header,
    file_name,
    header,
    mailbox_header,
    one_line,
    phrase_header,
    skeleton,
    url_of,
)
from hubd.core.model import Attachment, Channel, Content, Kind
from hubd.core.own_headers import split_list_id
from hubd.core.pictures import content_id, pictures_of, with_content_ids
from hubd.core.shared import NOTHING, SharedBytes
from hubd.core.template import Template, compile_template
from hubd.errors import BadInput, BadTemplate

#: What may stand in a To header as it is. "=?" would begin an encoded word there.
_RECIPIENT = re.compile(r"(?!.*=\?)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,200}@[!-;=?-~]{1,255}>")
#: Bytes of constant end from which on it is shared; a shorter one is copied, so that it goes in one write.
_SHARE_FROM = 16 * 1024
_LATER = {"footer", "language", "return_path", "list_id", "headers", "inline"}
_ONE_CLICK = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"  # RFC 8058 §3.1


class Email(msgspec.Struct, frozen=True, kw_only=True):
    """One finished message: the envelope sender, and the message with CRLF line ends, not dot-stuffed.

    The message is `payload` and then `shared`, which is empty unless there are attachments of some size.
    `wire_ready` is for `payload`: no line of it begins with a dot, and no line end is other than CRLF.
    """

    sender: str
    payload: bytes
    wire_ready: bool
    shared: SharedBytes = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """One text part. The footer lines are for bodies that do not carry them themselves."""

    template: Template
    encoder: BodyEncoder
    html: bool
    footer_url: bool
    footer_address: str  #: as it stands there, escaped for HTML
    footer: Template | None  #: in place of the line with the link
    unsubscribe: str  #: the word for that line
    cuts: Mapping[str, tuple[str, str]]  #: the constants that have a `</body>`, see `_cut`

    def pieces(self, values: Mapping[str, str]) -> list[str]:
        """The text for one recipient; no pieces if it has nothing to show."""
        pieces = self.template.pieces(values)
        for piece in pieces:
            if piece and not piece.isspace():
                break
        else:
            return []
        if self.footer_url or self.footer_address or self.footer is not None:
            url = values["unsubscribe_url"] if self.footer_url else ""
            own = "" if self.footer is None else self.footer.render(values).strip()
            if self.html:
                return self._with_html_footer(pieces, url, own)
            return self._with_text_footer(pieces, url, own)
        return pieces

    def _with_text_footer(self, pieces: list[str], url: str, own: str) -> list[str]:
        lines = [own or f"{self.unsubscribe}: {url}"] if url or own else []
        lines += [self.footer_address] if self.footer_address else []
        last = next(filter(None, reversed(pieces)))
        return [*pieces, "" if last.endswith("\n") else "\n", text_footer(lines)]

    def _with_html_footer(self, pieces: list[str], url: str, own: str) -> list[str]:
        """Before the last `</body>`; fields are escaped, so that tag can only be the author's own."""
        lines = [self.footer_address] if self.footer_address else []
        link = f'<a href="{escape(url)}">{self.unsubscribe}</a>' if url else ""
        line = html_lines(own, url) if own else link
        footer = html_footer([*lines, line] if line else lines)
        if (cut := self.cuts.get(pieces[-1])) is not None:
            return [*pieces[:-1], cut[0], footer, cut[1]]
        if (cut := _cut("".join(pieces))) is not None:
            return [cut[0], footer, cut[1]]
        return [*pieces, "\n", footer]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailPlan:
    """A campaign's email, compiled once.

    `fields` are what the templates take from a contact; `sender` is the address that it comes from in ASCII,
    `return_path` the one of the envelope, and `domain` the part after the @ of the sender, for Message-IDs.
    """

    fields: frozenset[str]
    sender: str
    return_path: str
    domain: str
    size: int  #: bytes of the constants that it keeps, apart from attachments
    _origin: bytes  # From and Reply-To
    _subject: Template
    _subject_header: bytes  # of a subject that is the same for everybody, or b""
    _headers: tuple[tuple[str, Template], ...]  # of one's own, with fields
    _unsubscribe: Template | None
    _bodies: tuple[_Body, ...]
    shared: SharedBytes  #: how every message ends, when that is more than `_SHARE_FROM`
    _skeleton: tuple[bytes, ...]
    _end: bytes  # how every message ends, when it is less
    _dots: bool  # whether a line of these begins with a dot
    _constants: Mapping[str, str]
    # What `parts` has in other words.
    _from: Mailbox
    _reply_to: Mailbox | None
    _list_id: bytes
    _own: tuple[tuple[str, Template], ...]
    _files: Files

    def render(
        self, values: Mapping[str, str], *, message_id: str, now: float, unsubscribe_url: str = ""
    ) -> Email:
        """The message for one recipient, whose address is `values["email"]`.

        `message_id` has its angle brackets, `now` is the Date in epoch seconds, `unsubscribe_url` the link
        of a content whose links hubd serves itself (`LISTENER`). Raises BadTemplate (code
        `missing_field` for a field without a default) or BadInput; both concern this recipient only and quote
        no value.
        """
        recipient = values.get("email", "")
        if not _RECIPIENT.fullmatch(recipient):
            raise BadInput.at("email", "is not an address that a message can be sent to")
        if not _MESSAGE_ID.fullmatch(message_id):
            raise BadInput.at("message_id", "does not have the form <id@domain>")
        known = {**values, **self._constants}
        try:
            unsubscribe = self._unsubscribe_headers(known, unsubscribe_url)
            bodies = [body.pieces(known) for body in self._bodies]
            if not any(bodies):
                raise BadTemplate.at(self._bodies[0].template.name, "is empty for this recipient")
            pieces = [
                self._origin,
                f"To: {recipient}\r\n".encode("ascii"),
                self._subject_header or header("Subject", self._subject.render(known)),
                date_header(int(now)),
                f"Message-ID: {message_id}\r\n".encode("ascii"),
                unsubscribe,
            ]
            pieces += [_own_header(name, template.render(known)) for name, template in self._headers]
            dots = self._dots
            for constant, body, text in zip(self._skeleton, self._bodies, bodies, strict=True):
                encoded = body.encoder.encode(text)
                pieces += (constant, encoded.data)
                dots = dots or encoded.dots
        except UnicodeEncodeError:
            raise BadInput.at("fields", "a field holds half of a surrogate pair") from None
        pieces.append(self._end)
        return Email(
            sender=self.return_path, payload=b"".join(pieces), wire_ready=not dots, shared=self.shared
        )

    def parts(self, values: Mapping[str, str], message_id: str, unsubscribe_url: str = "") -> EmailParts:
        """The same message in pieces, for an API that builds it. Raises as `render`."""
        known = {**values, **self._constants}
        unsubscribe = self._unsubscribe_headers(known, unsubscribe_url)
        headers = [("Message-ID", message_id)]
        if unsubscribe:
            headers.append(("List-Unsubscribe", f"<{known['unsubscribe_url']}>"))
        if _ONE_CLICK in unsubscribe:
            headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        if self._list_id:
            headers.append(("List-Id", _value_of(self._list_id)))
        own = ((name, _own_header(name, template.render(known))) for name, template in self._own)
        headers += [(name, _value_of(written)) for name, written in own if written]
        texts = {body.html: "".join(body.pieces(known)) for body in self._bodies}
        return EmailParts(
            sender=self._from,
            reply_to=self._reply_to,
            recipient=values["email"],
            subject=one_line(self._subject.render(known)),
            headers=headers,
            text=texts.get(False),
            html=texts.get(True),
            files=self._files,
        )

    def _unsubscribe_headers(self, known: dict[str, str], own: str) -> bytes:
        """One plain line, never folded or encoded, or readers miss the link (RFC 2369 §2, RFC 8058 §3).

        Adds `unsubscribe_url` to `known`.
        """
        if self._unsubscribe is None:
            return b""
        url = own or url_of(self._unsubscribe.render(known))
        if not url.startswith(("https://", "mailto:")):
            raise BadTemplate.at("unsubscribe", "must be an https:// or mailto: address")
        known["unsubscribe_url"] = url
        line = f"List-Unsubscribe: <{url}>"
        if len(line) > LINE_LIMIT:
            raise BadTemplate.at("unsubscribe", f"makes a header line longer than {LINE_LIMIT} characters")
        return line.encode("ascii") + b"\r\n" + (_ONE_CLICK if url.startswith("https:") else b"")


def compile_email(content: Content, encoded: Mapping[str, SharedBytes] | None) -> EmailPlan:
    """Compile a campaign's email. `encoded` has the files in base64 by the SHA-256 of their bytes; with None
    the files are left out, which may still be on their way.

    Raises BadTemplate for a template that is refused, BadInput for a sender, file or body that is missing or
    cannot be used.
    """
    if content.channel is not Channel.EMAIL:
        raise BadInput.at("channel", "is not email")
    name, sender = _mailbox("sender", content.sender)
    origin, reply_to = mailbox_header("From", name, sender), None
    if content.reply_to:
        reply_to = Mailbox(*_mailbox("reply_to", content.reply_to))
        origin += mailbox_header("Reply-To", *reply_to)
    unsubscribe = (
        compile_template(content.unsubscribe, html=False, url=True, name="unsubscribe")
        if content.unsubscribe
        else None
    )
    footer = _compile_footer(content)
    domain = sender.rpartition("@")[2]
    pictures = pictures_of(content)
    bodies = _compile_bodies(replace(content, html=with_content_ids(content, domain)), footer)
    subject = compile_template(content.subject, html=False, name="subject")
    if not content.subject.strip():
        raise BadInput.at("subject", "is empty")
    headers = [
        (name, compile_template(value, html=False, name=f"headers.{name}")) for name, value in content.headers
    ]
    fixed = {name: _constant(template, partial(_own_header, name)) for name, template in headers}
    fields = subject.fields.union(
        *(body.template.fields for body in bodies), *(template.fields for _, template in headers)
    )
    if footer is not None:
        fields |= footer.fields
    if unsubscribe is not None:
        fields = fields - {"unsubscribe_url"} | unsubscribe.fields
    constants = {"postal_address": content.postal_address} if content.postal_address else {}
    files = [] if encoded is None else _files(content, pictures, encoded, domain)
    before, end = skeleton(
        [("html" if body.html else "plain", body.encoder.transfer) for body in bodies],
        files,
        content_hash(content),
    )
    list_id = phrase_header("List-Id", *split_list_id(content.list_id)) if content.list_id else b""
    before = (b"".join((list_id, *fixed.values(), before[0])), *before[1:])
    is_long = end.size > _SHARE_FROM
    shared = {id(chunk) for file in files for chunk in file.data.chunks}
    own = [*before, *(chunk for chunk in end.chunks if id(chunk) not in shared)]
    return EmailPlan(
        fields=fields - constants.keys(),
        sender=sender,
        return_path=content.return_path or sender,
        domain=domain,
        size=sum(map(len, own)) + sum(body.encoder.size for body in bodies),
        _origin=origin,
        _subject=subject,
        _subject_header=_constant(subject, partial(header, "Subject")),
        _headers=tuple((name, template) for name, template in headers if not fixed[name]),
        _unsubscribe=unsubscribe,
        _bodies=bodies,
        _skeleton=before,
        _end=b"" if is_long else bytes(end),
        _dots=any(map(has_dots, (*before, *end.chunks))),
        shared=end if is_long else NOTHING,
        _constants=constants,
        _from=Mailbox(one_line(name), sender),
        _reply_to=reply_to,
        _list_id=list_id,
        _own=tuple(headers),
        _files=Files(tuple(map(_file_part, files))),
    )


def _file_part(file: File) -> FilePart:
    return FilePart(name=file_name(file.name), type=file.type, data=file.data, content_id=file.content_id)


def _value_of(written: bytes) -> str:
    """The value of a header as one line, in encoded words where it is not ASCII."""
    return written.partition(b": ")[2].rstrip(b"\r\n").replace(b"\r\n ", b" ").decode("ascii")


def _constant(template: Template, written: Callable[[str], bytes]) -> bytes:
    """The header, if it needs no field; b"" also if it cannot be rendered, which each recipient is told."""
    if template.fields:
        return b""
    with suppress(BadTemplate, UnicodeEncodeError):
        return written(template.render({}))
    return b""


def _own_header(name: str, value: str) -> bytes:
    """b"" if it would say nothing."""
    return header(name, value, long_words=True) if one_line(value) else b""


def _compile_footer(content: Content) -> Template | None:
    if not content.footer.strip():
        return None
    footer = compile_template(content.footer, html=False, name="footer")
    linked = "unsubscribe_url" in footer.fields
    if content.unsubscribe and not linked:
        raise BadTemplate.at("footer", "has no {{ unsubscribe_url }}, so nobody could use it to unsubscribe")
    if linked and not content.unsubscribe:
        raise BadTemplate.at("footer", "has {{ unsubscribe_url }}, which needs the key unsubscribe")
    return footer


def _compile_bodies(content: Content, footer: Template | None) -> tuple[_Body, ...]:
    marketing = content.kind is Kind.MARKETING
    bodies = []
    for name, source in (("text", content.text), ("html", content.html)):
        if not source.strip():
            continue
        template = compile_template(source, html=name == "html", name=name)
        wants_url = marketing and bool(content.unsubscribe) and "unsubscribe_url" not in template.fields
        wants_address = marketing and "postal_address" not in template.fields
        wants_footer = footer is not None and marketing and (wants_url or not content.unsubscribe)
        if wants_footer and footer is not None and "postal_address" in footer.fields:
            wants_address = False
        cuts = {text: cut for text in template.constants if (cut := _cut(text))} if name == "html" else {}
        constants = [part for text in template.constants for part in cuts.get(text, (text,))]
        bodies.append(
            _Body(
                template=template,
                encoder=BodyEncoder(transfer_for(source), constants),
                cuts=cuts,
                html=name == "html",
                footer_url=wants_url,
                footer_address=_footer_address(content.postal_address, html=name == "html")
                if wants_address
                else "",
                footer=footer if wants_footer else None,
                unsubscribe=unsubscribe_word(content.language) or UNSUBSCRIBE["en"],
            )
        )
    if not bodies:
        raise BadInput.at("text", "both text and html are empty")
    return tuple(bodies)


def _files(
    content: Content, pictures: Sequence[Attachment], encoded: Mapping[str, SharedBytes], domain: str
) -> list[File]:
    """The pictures first, then the attachments that are not among them."""
    files = []
    ids = {file: content_id(file, domain) for file in pictures}
    for file in (*pictures, *(each for each in content.attachments if each not in ids)):
        if file.sha256 not in encoded:
            raise BadInput.at("attachments", f"the content of {file.name!r} is missing", hint="apply again")
        data = encoded[file.sha256]
        files.append(File(name=file.name, type=file.type, data=data, content_id=ids.get(file, "")))
    return files


def _mailbox(path: str, text: str) -> tuple[str, str]:
    """Display name and ASCII address, an international domain in punycode, of `Name <address>`."""
    text = one_line(text)
    name, bracket, rest = text.rpartition("<")
    address = rest.removesuffix(">") if bracket else text
    try:
        address = email_address(address)[0]
    except BadInput as error:
        problem = f"does not have the form Name <name@example.org>: {error}"
        raise BadInput.at(path, problem) from None
    name = name.strip()
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if "{{" in name or "{%" in name:
        raise BadInput.at(path, "is the same for every recipient and cannot contain a template")
    return name, address


def _footer_address(postal_address: str, *, html: bool) -> str:
    return "<br>\n".join(map(escape, postal_address.splitlines())) if html else postal_address


def _cut(text: str) -> tuple[str, str] | None:
    """What stands before the last `</body>` of a text, and the rest."""
    at = max(text.rfind("</body>"), text.rfind("</BODY>"))
    return (text[:at], text[at:]) if at >= 0 else None


def content_hash(content: Content) -> str:
    """A name for exactly this content: hexadecimal SHA-256 over its canonical JSON.

    What came to a content later is a part of it only when it says something: names that were given stay.
    """
    parts = {name: value for name, value in asdict(content).items() if value or name not in _LATER}
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def message_id(install_key: bytes, delivery_id: int, content_hash: str, domain: str) -> str:
    """The Message-ID of a delivery from before they told their delivery: the same on every attempt.

    New ones are made by `tokens`.
    """
    secret = hmac.digest(install_key, f"{delivery_id}|{content_hash}".encode("ascii"), "sha256")
    return f"<{secret.hex()[:32]}@{domain}>"


def problems(content: Content) -> list[dict[str, str]]:
    """What keeps a campaign from starting unless the risk is accepted, as `risk` and `problem`."""
    if content.channel is not Channel.EMAIL or content.kind is not Kind.MARKETING:
        return []
    found = []
    if not content.unsubscribe:
        found.append("a marketing email needs an unsubscribe link (key: unsubscribe)")
    if not content.postal_address:
        found.append("a marketing email needs the sender's postal address (key: postal_address)")
    return [{"risk": "no-unsubscribe", "problem": problem} for problem in found]
