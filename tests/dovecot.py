"""A real IMAP server, Dovecot, with a folder of mails for each user.

It runs as an ordinary user without any setting of the system. Every user exists and has the same password.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.ports import own_port

PASSWORD = "correct-horse"
_PROGRAM = "/usr/sbin/dovecot"
#: What 2.3 and 2.4 name alike, and ...
_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
mailbox_list_index = no
maildir_very_dirty_syncs = no
auth_failure_delay = 0
ssl = yes
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
#: ... what they do not (https://doc.dovecot.org/latest/installation/upgrade/2.3-to-2.4.html).
_UNTIL_2_3 = """\
mail_location = maildir:~/Maildir
disable_plaintext_auth = no
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
"""
_SINCE_2_4 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
mail_driver = maildir
mail_path = ~/Maildir
auth_allow_cleartext = yes
ssl_server_cert_file = {folder}/cert.pem
ssl_server_key_file = {folder}/key.pem
passdb static {{
  password = {password}
}}
userdb static {{
  fields {{
    uid = {user}
    gid = {group}
    home = {folder}/mail/%{{user}}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dovecot:
    """A server that runs."""

    folder: Path
    port: int  #: without TLS, and with STARTTLS
    tls_port: int
    ca_file: Path
    uid: int  #: who owns the mails
    gid: int

    def context(self) -> ssl.SSLContext:
        """What accepts its certificate, which is for "localhost"."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def maildir(self, user: str) -> Path:
        """The mails of a user; made if need be."""
        made = self.folder / "mail" / user / "Maildir"
        for name in ("tmp", "new", "cur"):
            (made / name).mkdir(parents=True, exist_ok=True)
        for path in (made.parent, made, *made.iterdir()):
            os.chown(path, self.uid, self.gid)
        return made

    def put(self, user: str, name: str, mail: bytes, *, at: float | None = None) -> None:
        """Deliver a mail, as a mail server on this machine would; or did, `at` seconds since the epoch."""
        maildir = self.maildir(user)
        written = maildir / "tmp" / name
        written.write_bytes(mail)
        os.chown(written, self.uid, self.gid)
        if at is not None:
            os.utime(written, (at, at))
        written.rename(maildir / "new" / name)

    def names(self, user: str, folder: str = "") -> set[str]:
        """The mails of a folder, by the names that they were delivered with."""
        place = self.maildir(user) / f".{folder}" if folder else self.maildir(user)
        return {path.name.partition(":")[0] for kind in ("new", "cur") for path in place.glob(f"{kind}/*")}


@contextmanager
def running() -> Iterator[Dovecot]:
    """Run it in a folder of its own; as root, as the user "nobody"."""
    # Not below the folder of a test: others may not look into that.
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    server: subprocess.Popen[bytes] | None = None
    try:
        ca = trustme.CA()
        certificate = ca.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(folder / "cert.pem", append=True)
        ca.cert_pem.write_to_path(folder / "ca.pem")
        for name in ("run", "state", "mail"):
            (folder / name).mkdir()
        port, tls_port = own_port(), own_port()
        group = subprocess.run(
            ["id", "-gn", owner.pw_name], check=True, capture_output=True, text=True
        ).stdout
        config = folder / "dovecot.conf"
        version = subprocess.run([_PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
        own = _UNTIL_2_3 if version.startswith("2.3") else _SINCE_2_4
        config.write_text(
            (own + _CONFIG).format(  # its version has to be the first that 2.4 reads
                folder=folder,
                user=owner.pw_name,
                group=group.strip(),
                password=PASSWORD,
                port=port,
                tls_port=tls_port,
            )
        )
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        account = (
            {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        server = subprocess.Popen([_PROGRAM, "-F", "-c", str(config)], **account)  # type: ignore[call-overload]
        _wait_for(port, server, folder)
        yield Dovecot(
            folder=folder,
            port=port,
            tls_port=tls_port,
            ca_file=folder / "ca.pem",
            uid=owner.pw_uid,
            gid=owner.pw_gid,
        )
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    """Until it greets."""
    end = time.monotonic() + 60.0
    while server.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                if connection.recv(4) == b"* OK":
                    return
        except OSError:
            time.sleep(0.01)  # another process: there is no event to wait on
    log = folder / "dovecot.log"
    raise AssertionError(f"Dovecot does not greet: {log.read_text() if log.exists() else 'it wrote no log'}")
