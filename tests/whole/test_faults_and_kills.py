"""A mail server with faults of every kind, and kills of the daemon: the ledger says what the server accepted.

The same for the other kinds of providers is in test_sms, test_aws and test_sendgrid.
"""

from __future__ import annotations

import signal
from collections import defaultdict

import pytest

from tests.whole.conftest import Hub, reconcile, until
from tests.whole.invariants import check_accepted, check_crash, read_records
from tests.whole.world import hostile, provider

CONNECTIONS = 4
#: What the server does to some recipients, and what becomes of them. They are so far apart that they are not
#: taken for one fault of the account.
FAULTS: dict[str, tuple[dict[str, list[str]], str]] = {
    "p10": ({"dot": ["keep+drop"]}, "in_doubt"),
    "p40": ({"dot": ["drop"]}, "in_doubt"),
    "p70": ({"rcpt": ["550 5.1.1 no such user"]}, "failed"),
    "p100": ({"rcpt": ["450 4.2.0 the mailbox is busy"]}, "deferred"),
    "p130": ({"dot": ["554 5.6.0 this message is refused"]}, "failed"),
    "p160": ({"dot": ["451 4.3.0 not now"]}, "deferred"),
    "p190": ({"data": ["drop"]}, "sent"),
    "p220": ({"dot": ["keep+garbage"]}, "in_doubt"),
    "p250": ({"dot": ["keep+rst"]}, "in_doubt"),
}


@pytest.mark.parametrize(
    ("count", "kills"),
    [pytest.param(300, 2, id="300"), pytest.param(2_000, 8, id="2000", marks=pytest.mark.soak)],
)
def test_after_faults_and_kills_the_ledger_says_what_the_mail_server_accepted(
    hub: Hub, count: int, kills: int
) -> None:
    with hostile(hub.folder) as server:
        to = {f"{name}@example.com": acts for name, (acts, _) in FAULTS.items()}
        server.mood(always={"dot": "late 0.01"}, to=to)
        hub.config = provider("sink", server.port, connections=CONNECTIONS)
        hub.boot()
        hub.contacts(count)
        hub.apply("spring", in_doubt="hold")
        hub.hubctl("start", "spring")
        for kill in range(1, kills + 1):
            goal = kill * count // (kills + 1)
            until(lambda goal=goal: len(server.lines()) >= goal, "messages", hub.log)
            assert hub.end(signal.SIGKILL) == -signal.SIGKILL
            check_crash(read_records(hub.state), CONNECTIONS)
            hub.boot()
        until(lambda: all_tried(hub), "everybody to be tried", hub.log)
        counts = reconcile(hub, server, "spring", count)
        assert counts["in_doubt"] <= kills * CONNECTIONS + len(FAULTS)
        # Whoever was on the wire at a kill is in doubt, too, whatever the server would have said.
        states = {row["recipient"].partition("@")[0]: row["state"] for row in hub.deliveries("spring")}
        for name, (_, state) in FAULTS.items():
            assert states[name] in (state, "in_doubt"), name
        assert hub.end() == 0
        copies = defaultdict(list)
        for recipient, message_id in map(str.split, server.lines()):
            copies[recipient].append(message_id)
        audience = {f"p{n}@example.com" for n in range(count)}
        check_accepted(read_records(hub.state), copies, "hold", audience)


def all_tried(hub: Hub) -> bool:
    """Whether nobody waits for a first try."""
    counts = hub.campaign("spring")["counts"]
    return bool(counts["pending"] + counts["sending"] == 0)
