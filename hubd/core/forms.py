"""The fields of a form that was posted, in both encodings that browsers and mail programs use."""

from __future__ import annotations

from urllib.parse import parse_qsl

from hubd.core.mail_parts import read_mail

_MOST_FIELDS = 500


def form_fields(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields in their order; none for what is no form."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":  # RFC 7578
        head = content_type.encode("latin-1", "replace").replace(b"\n", b" ")
        parts = read_mail(b"Content-Type: " + head + b"\r\n\r\n" + body).parts
        return [(_name(part.header("content-disposition")), part.text().strip("\n")) for part in parts]
    if kind not in ("application/x-www-form-urlencoded", ""):
        return []
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:  # more of them
        return []


def _name(disposition: str) -> str:
    for part in disposition.split(";"):
        key, _, value = part.strip().partition("=")
        if key.lower() == "name":
            return value.strip('"')
    return ""
