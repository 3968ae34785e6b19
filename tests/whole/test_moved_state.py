"""Files of the state directory that somebody removes or moves while the daemon runs, against a witness."""

from __future__ import annotations

from tests.whole.conftest import PATIENCE, Hub, Witness, reconcile, sink_config, until

N = 300  #: recipients
CONNECTIONS = 2


def start(hub: Hub, witness: Witness) -> None:
    """Let a campaign run that takes a while."""
    hub.config = sink_config(witness.port, connections=CONNECTIONS)
    hub.boot()
    hub.contacts(N)
    hub.apply("spring", rate="40/s")
    hub.hubctl("start", "spring")
    until(lambda: len(witness.lines()) > 20, "the first messages")


def test_of_two_hubds_that_lost_their_lock_file_only_the_second_one_sends(hub: Hub, witness: Witness) -> None:
    """The first one ends: what it has on the wire is in doubt for the second one, which goes on."""
    start(hub, witness)
    first = hub.daemon
    assert first is not None
    (hub.state / "hubd.lock").unlink()
    hub.launch("--socket", str(hub.folder / "second.sock"))
    assert first.wait(PATIENCE) == 74
    assert "another hubd has begun to use the database" in hub.log()
    assert "never remove hubd.lock" in hub.log()
    assert hub.end() == 0
    hub.boot()
    until(lambda: hub.campaign("spring")["state"] == "completed", "the end of the campaign")
    reconcile(hub, witness, "spring", N, "retry")
    assert sum(witness.accepted().values()) <= N + CONNECTIONS
