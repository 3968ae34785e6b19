"""The mailboxes in hubd.toml that bounces and replies arrive in: what can be said of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from hubd.config.ca_files import read_ca_file
from hubd.config.hosts import host_name, is_loopback
from hubd.config.oauth2 import OAuth2Config, read_oauth2
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.tables import Table
from hubd.secrets import SecretRef

Security = Literal["tls", "starttls", "none"]
Auth = Literal["password", "xoauth2"]

_PORTS: Mapping[Security, int] = {"tls": 993, "starttls": 143, "none": 143}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxConfig:
    """A mailbox that hubd reads over IMAP: bounces, receipts, complaints, replies and unsubscribe mails."""

    host: Annotated[str, Meta(description="The IMAP server's name or address, without the port.")]
    port: Annotated[
        int, Meta(description="The default follows `security`: 993 for tls, 143 for starttls and none.")
    ] = 993
    security: Annotated[
        Security,
        Meta(
            description="How the connection is encrypted. `starttls` is required, never opportunistic; "
            "`none` is accepted for a loopback address only."
        ),
    ] = "tls"
    username: Annotated[str, Meta(description="The login name.")]
    password: Annotated[
        SecretRef | None, Meta(description='Where to find the password. Required unless `auth = "xoauth2"`.')
    ] = None
    auth: Annotated[
        Auth,
        Meta(description="`xoauth2` logs in with access tokens, as Microsoft requires. Needs `oauth2`."),
    ] = "password"
    oauth2: Annotated[
        OAuth2Config | None,
        Meta(
            description="What access tokens are requested with: `token_url`, `client_id`, `client_secret`, "
            "`refresh_token`."
        ),
    ] = None
    folder: Annotated[str, Meta(description="The folder that is read.")] = "INBOX"
    processed_folder: Annotated[
        str,
        Meta(
            description="The folder to which mails are moved once their effects are recorded; "
            "created if needed. Without "
            "it they are marked as seen. hubd deletes no mail."
        ),
    ] = ""
    ca_file: Annotated[
        Path | None,
        Meta(description="Certificate authorities to trust instead of the system's, as a PEM file."),
    ] = None

    @property
    def secrets(self) -> dict[str, SecretRef]:
        """Where its secrets are, by key; the one that the login needs most comes first."""
        found = {"password": self.password}
        if self.oauth2 is not None:
            found = {f"oauth2.{key}": getattr(self.oauth2, key) for key in ("refresh_token", "client_secret")}
        return {key: reference for key, reference in found.items() if reference is not None}


def read_mailbox(table: Table, folder: Path) -> MailboxConfig:
    """What a table says; every fault is noted. File names are relative to `folder`."""
    host = table.checked("host", host_name, "", example="imap.acme.example")
    security: Security = table.choice(
        "security", get_args(Security), "starttls" if table.raw.get("port") == 143 else "tls"
    )
    auth: Auth = table.choice("auth", get_args(Auth), "password")
    mailbox = MailboxConfig(
        host=host,
        port=table.whole("port", _PORTS[security], 1, 65535),
        security=security,
        username=table.text("username"),
        password=read_secret(table, "password"),
        auth=auth,
        oauth2=read_oauth2(table.sub("oauth2")) if table.take("oauth2") is not None else None,
        folder=table.text("folder", "INBOX") or "INBOX",
        processed_folder=table.text("processed_folder"),
        ca_file=read_ca_file(table, folder),
    )
    for key, what in (("host", "the IMAP server"), ("username", "the mailbox")):
        if not table.raw.get(key):
            table.fault(key, f"is missing; give the name of {what}")
    given, other = ("oauth2", "password") if auth == "xoauth2" else ("password", "oauth2")
    if table.raw.get(given) is None:
        table.fault(
            given, "is missing; " + (how_to(given) if given == "password" else f'auth = "{auth}" needs it')
        )
    if table.raw.get(other) is not None:
        table.fault(other, f'is not allowed with auth = "{auth}"')
    if security == "none" and host and not is_loopback(host):
        table.fault(
            "security", 'must be "tls" or "starttls": with "none" the login would be sent unencrypted'
        )
    if mailbox.processed_folder and mailbox.processed_folder == mailbox.folder:
        table.fault("processed_folder", "must be a different folder from folder")
    table.close()
    return mailbox
