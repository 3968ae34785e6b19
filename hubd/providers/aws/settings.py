"""What the accounts at Amazon Web Services have in common in hubd.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypedDict

from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.tables import Table
from hubd.errors import BadInput
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef

REGION = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,16}){1,3}-[0-9]{1,2}")
_KEY_ID = re.compile(r"[A-Za-z0-9_]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsConfig(ProviderSettings):
    """An account at Amazon Web Services, in one region."""

    region: Annotated[str, Meta(description="The AWS region, such as `eu-west-1`.")]
    access_key_id: Annotated[
        str,
        Meta(
            description="The ID of the access key, with `secret_access_key`. Without both, the keys "
            "come from "
            "the standard AWS chain, which needs `messagehubd[aws]`."
        ),
    ] = ""
    secret_access_key: Annotated[
        SecretRef | None, Meta(description="Where to find the secret of the access key.")
    ] = None
    endpoint_url: Annotated[
        str,
        Meta(
            description="Another server with the service's interface; `http://` on loopback addresses only."
        ),
    ] = ""
    concurrency: Annotated[int, Meta(description="How many connections are used at most, 1 to 100.")] = 10


class Account(TypedDict):
    """The fields of `AwsConfig` except the type and the rates."""

    region: str
    access_key_id: str
    secret_access_key: SecretRef | None
    endpoint_url: str
    concurrency: int


def read_account(table: Table) -> Account:
    """What a table says of the account."""
    region = table.checked("region", _region, "", example="eu-west-1")
    key_id = table.checked("access_key_id", _key_id, "", example="AKIA...")
    secret = read_secret(table, "secret_access_key")
    example = "https://email.eu-west-1.amazonaws.com"
    url = table.checked("endpoint_url", base_url(example), "", example=example)
    concurrency = table.whole("concurrency", 10, 1, 100)
    if not table.raw.get("region"):
        table.fault("region", "is missing; such as eu-west-1")
    if table.raw.get("access_key_id") and table.raw.get("secret_access_key") is None:
        table.fault("secret_access_key", "is missing; " + how_to("secret_access_key"))
    if table.raw.get("secret_access_key") is not None and not table.raw.get("access_key_id"):
        table.fault("access_key_id", "is missing; it belongs to secret_access_key")
    return Account(
        region=region,
        access_key_id=key_id,
        secret_access_key=secret,
        endpoint_url=url,
        concurrency=concurrency,
    )


def secrets_of(config: AwsConfig) -> Mapping[str, SecretRef | None]:
    """Where the secret is, by its key."""
    return {"secret_access_key": config.secret_access_key}


def _region(text: str) -> str:
    if REGION.fullmatch(text) is None:
        raise BadInput("must be the name of a region such as eu-west-1")
    return text


def _key_id(text: str) -> str:
    if _KEY_ID.fullmatch(text) is None:
        raise BadInput("must be letters and digits, such as AKIA...")
    return text
