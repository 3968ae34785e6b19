"""One message as SMTP sees it: its envelope, its body on the wire, and whether a server may see it.

Pure: messages in, bytes and refusals out.
"""

from __future__ import annotations

import re

from hubd.core.model import Answer, RenderedMessage, Stage
from hubd.core.shared import has_bare_line_end, stuffed
from hubd.providers.smtp.login import Login
from hubd.providers.smtp.settings import TOKEN_FIELD

#: A body up to this many bytes goes out in one write, together with its dot.
ONE_WRITE = 64 * 1024
#: What may be between the angle brackets of MAIL and RCPT: no space, no bracket, no control character.
_PATH = re.compile(r"[!-;=?-~]{1,320}")

#: The commands of an envelope, in order.
ENVELOPE = (Stage.MAIL, Stage.RCPT, Stage.DATA)
#: The first digits of the replies to them when the message may follow.
PASSED = [2, 2, 3]


#: xtext (RFC 3461 section 4) of what `_PATH` lets through.
_XTEXT = str.maketrans({"+": "+2B", "=": "+3D"})
_LONGEST_ENVID = 100  #: characters (RFC 3461 section 4.4)


def envelope(rendered: RenderedMessage, login: Login) -> bytes:
    """The commands of `ENVELOPE`, one line each.

    ENVID is the Message-ID, which exists already; it comes back in delivery reports as Original-Envelope-Id
    (RFC 3461 section 4.4, RFC 3464 section 2.2.1). A token costs two hashes, so it is made only for a bounce
    address that has a place for it (VERP).
    """
    sender, recipient = rendered.sender, rendered.recipient
    if login.bounce_address and not rendered.own_return_path:
        sender = login.bounce_address
        if login.bounce_token is not None:
            sender = sender.replace(TOKEN_FIELD, login.bounce_token(rendered.delivery_id))
    about = f" SIZE={rendered.size}" if login.size else ""
    notify = ""
    if login.notify:
        name = rendered.message_id[1:-1]
        about += f" RET=HDRS ENVID={name}" if 0 < len(name) <= _LONGEST_ENVID else " RET=HDRS"
        original = recipient.translate(_XTEXT) if "+" in recipient or "=" in recipient else recipient
        notify = f" NOTIFY={login.notify} ORCPT=rfc822;{original}"
    lines = f"MAIL FROM:<{sender}>{about}\r\nRCPT TO:<{recipient}>{notify}\r\nDATA\r\n"
    return lines.encode("ascii")


def body_pieces(rendered: RenderedMessage) -> list[bytes]:
    """The body on the wire, in pieces: a dot before every line that begins with one, the last line ends it.

    What many messages share is not copied, except for its last piece. A transport keeps what it cannot write
    yet, so write each piece only when the connection is ready for it.
    """
    body = rendered.payload if rendered.wire_ready else stuffed(rendered.payload)
    pieces = [body]
    if len(body) > ONE_WRITE:
        pieces = [body[start : start + ONE_WRITE] for start in range(0, len(body), ONE_WRITE)]
    pieces += rendered.shared.stuffed
    last = pieces.pop()
    end = b".\r\n" if rendered.shared.size or not body or body.endswith(b"\r\n") else b"\r\n.\r\n"
    return [*pieces, last + end]


def unfit(rendered: RenderedMessage) -> Answer | None:
    """Refuse what no server should be shown: an address or a body that could be read as SMTP commands."""
    if not _PATH.fullmatch(rendered.recipient):
        text = "the recipient is not a plain ASCII address; nothing was sent"
        return Answer(stage=Stage.RCPT, code=553, enhanced="5.1.3", text=text, own=True)
    if rendered.sender and not _PATH.fullmatch(rendered.sender):
        text = "the sender is not a plain ASCII address; nothing was sent"
        return Answer(stage=Stage.MAIL, code=553, enhanced="5.1.7", text=text, own=True)
    if rendered.shared.bare or (not rendered.wire_ready and has_bare_line_end(rendered.payload)):
        # RFC 5321 section 2.3.8. Servers differ in what they take for a line, which allows SMTP smuggling.
        text = "the message contains a bare CR or LF; nothing was sent"
        return Answer(stage=Stage.DATA, code=554, enhanced="5.6.0", text=text, own=True)
    return None


def too_large(rendered: RenderedMessage, login: Login) -> Answer | None:
    """Refuse what the server announced it would refuse (RFC 1870 section 6.1)."""
    if not login.max_size or rendered.size <= login.max_size:
        return None
    text = f"the message has {rendered.size} bytes and the server accepts {login.max_size}; nothing was sent"
    return Answer(stage=Stage.MAIL, code=552, enhanced="5.3.4", text=text, own=True)


def same_envelope(begun: RenderedMessage, rendered: RenderedMessage) -> bool:
    """Whether an envelope that was begun for one message is the other's."""
    return begun is rendered or (
        begun.delivery_id == rendered.delivery_id
        and begun.sender == rendered.sender
        and begun.recipient == rendered.recipient
        and begun.size == rendered.size
    )
