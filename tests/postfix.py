"""A real mail system, Postfix, that relays what hubd sends and returns reports of delivery.

It needs root, has its own directories and no part in the mail system of the machine. What happens to a
recipient follows from the domain:

    ok.example      delivered into one folder of Dovecot, also with a receipt
    gone.example    accepted, then bounced: there is no such user
    full.example    accepted, then bounced: the mailbox is full
    slow.example    deferred; a report says so at once, and after some seconds it expires
    acme.example    our own: bounces@ with any extension, a folder of Dovecot
"""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from tests.dovecot import Dovecot
from tests.ports import own_port

_PROGRAM = "/usr/sbin/postfix"
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
myhostname = relay.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = no
smtpd_client_connection_count_limit = 0
recipient_delimiter = +
virtual_mailbox_domains = acme.example, ok.example
virtual_mailbox_base = {mails}
virtual_mailbox_maps = regexp:{folder}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = regexp:{folder}/transport
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
delay_warning_time = 1s
maximal_queue_lifetime = 3s
bounce_queue_lifetime = 3s
biff = no
alias_maps =
alias_database =
"""
_MAILBOXES = """\
/^bounces(\\+.*)?@acme\\.example$/ bounces/Maildir/
/@ok\\.example$/ ok/Maildir/
"""
_TRANSPORT = """\
/@gone\\.example$/ error:5.1.1 there is no such user
/@full\\.example$/ error:5.2.2 the mailbox is full
/@slow\\.example$/ retry:4.2.2 the mailbox is over its quota at the moment
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postfix:
    """A mail system that runs."""

    folder: Path
    port: int

    def send(self, sender: str, recipient: str, mail: Message) -> None:
        """Hand a mail over, as somebody else's mail system would."""
        with smtplib.SMTP("127.0.0.1", self.port) as smtp:
            smtp.sendmail(sender, [recipient], mail.as_bytes())

    def log(self) -> str:
        """What it did."""
        path = self.folder / "postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def running(dovecot: Dovecot) -> Iterator[Postfix]:
    """Run it, with the mailboxes of this Dovecot, in a folder of its own."""
    assert os.geteuid() == 0, "Postfix needs root"
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    try:
        folder.chmod(0o755)
        port = own_port()
        owner = pwd.getpwnam("postfix")
        for name in ("queue", "data", "etc"):
            (folder / name).mkdir(mode=0o755)
        os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
        for user in ("bounces", "ok"):
            dovecot.maildir(user)
        values = {"folder": folder, "mails": dovecot.folder / "mail", "uid": dovecot.uid, "gid": dovecot.gid}
        (folder / "etc" / "main.cf").write_text(_MAIN.format(**values))
        (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port))
        (folder / "mailboxes").write_text(_MAILBOXES)
        (folder / "transport").write_text(_TRANSPORT)
        _run(folder, "start")
        try:
            yield Postfix(folder=folder, port=port)
        finally:
            _run(folder, "abort")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, command: str) -> None:
    done = subprocess.run([_PROGRAM, "-c", str(folder / "etc"), command], capture_output=True, text=True)
    log = folder / "postfix.log"
    words = log.read_text() if log.exists() else ""
    assert done.returncode == 0, f"postfix {command}: {done.stdout}{done.stderr}{words}"
