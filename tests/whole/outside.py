"""Providers in a process of their own that remember what they accepted, the same for email and SMS."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN
from tests.whole.conftest import HERE, TIMEOUT, Hub, Witness, sink_config, spawn

CAMPAIGN = "crash"


@dataclass
class Outside(Witness):
    """A provider that will tell what it accepted, whoever else forgets it."""

    process: subprocess.Popen[str]
    channel: str
    connections: int

    def copies(self) -> dict[str, list[str]]:
        """What each recipient was sent, by its Message-ID or its text."""
        copies = defaultdict(list)
        for line in self.lines():
            if self.channel == "sms":
                message = json.loads(line)
                copies[message["to"]].append(message["body"])
            else:
                recipient, message_id = line.split()
                copies[recipient].append(message_id)
        return dict(copies)

    def gave_up(self) -> bool:
        """Whether it has hung up on everybody, because nobody said anything for too long."""
        return self.hung_up()[-1:] == ["0"]

    def hung_up(self) -> list[str]:
        """How many clients were left, each time that it hung up on one, or (SMS) a connection ended."""
        path = self.record.with_name(f"{self.record.name}.idle")
        return path.read_text().splitlines() if path.exists() else []

    def over(self) -> None:
        """Wait until what was begun with it has ended; then it ends, too. Stop the daemon first."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(TIMEOUT) == 0

    def set_up(self, hub: Hub, n: int, policy: str) -> set[str]:
        """Boot a daemon that sends here and give it a campaign that is not started yet; its audience."""
        hub.config = self._config
        token = hub.folder / "twilio.token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        hub.boot()
        hub.hubctl("credits", "grant", "team", str(2 * n))  # each message costs one
        if self.channel == "sms":
            hub.contacts(n, column="phone")
            hub.apply(
                CAMPAIGN, channel="sms", sender=None, subject=None, html=None,
                text="Hi {{ first_name }}", in_doubt=policy, credits="team",
            )  # fmt: skip
            return {f"+1415555{2000 + i}" for i in range(n)}
        hub.contacts(n)
        hub.apply(CAMPAIGN, in_doubt=policy, credits="team")
        return {f"p{i}@example.com" for i in range(n)}

    @property
    def _config(self) -> str:
        if self.channel == "email":
            return sink_config(self.port, self.connections)
        return (
            f'[providers.sink]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\n'
            f'auth_token = {{ file = "twilio.token" }}\nfrom = "{SENDER}"\n'
            f'concurrency = {self.connections}\nbase_url = "http://127.0.0.1:{self.port}"\n'
        )


@contextmanager
def open_outside(
    folder: Path, channel: str, *, connections: int, delay: float, seed: int = 1, idle: float | None = None
) -> Iterator[Outside]:
    """A provider for the length of the block. It takes `delay` seconds for a message, more or less."""
    record = folder / "accepted"
    if channel == "sms":
        command = ["-m", "tests.whole.slow_twilio", str(record), str(delay), str(seed)]
        command += [str(idle)] if idle is not None else []
    else:
        command = [str(HERE / "witness.py"), str(record), "--delay", str(delay), "--seed", str(seed)]
        command += ["--idle", str(idle)] if idle is not None else []
    process, port = spawn([sys.executable, *command])
    try:
        yield Outside(port, record, process, channel, connections)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
