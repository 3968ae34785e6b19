"""Whether two requests with the same key ask for the same."""

from __future__ import annotations

import hashlib

import msgspec

from hubd.wire.campaign_params import CampaignApply, CampaignClone, CampaignStart, CampaignTest
from hubd.wire.contact_params import ContactRemove, ContactsImport, SuppressionAdd, SuppressionRemove
from hubd.wire.message_params import MessageSend
from hubd.wire.params import Params

#: Parameters that version 0.1 did not have. It kept fingerprints without them, which are still compared.
_LATER = {"dry_run"}
_LATER_OF: dict[type[Params], set[str]] = {
    CampaignApply: {"timezone"},
    CampaignStart: {"timezone"},
    CampaignTest: {"as", "dry_run"},
    CampaignClone: {"changes", "dry_run", "timezone"},
    MessageSend: {"dry_run", "reply_to", "attachments", "credits"},
    ContactsImport: {"replace"},
    ContactRemove: {"dry_run", "list"},
    SuppressionAdd: {"dry_run", "region"},
    SuppressionRemove: {"dry_run", "region"},
}


def fingerprint(params: Params) -> bytes:
    """A hash of what was asked for, without the key."""
    later = _LATER_OF.get(type(params), _LATER)
    asked = []
    for field in msgspec.structs.fields(params):
        value = None if field.name == "idempotency_key" else getattr(params, field.name)
        if field.encode_name not in later or value != _default(field):
            asked.append(_encoded(field.encode_name) + b":" + _encoded(value))
    return hashlib.sha256(b"{" + b",".join(asked) + b"}").digest()


def _default(field: msgspec.structs.FieldInfo) -> object:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
