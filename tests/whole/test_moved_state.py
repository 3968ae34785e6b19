"""Files of the state directory that somebody removes or moves while the daemon runs, against a witness."""

from __future__ import annotations

import shutil

import pytest

from tests.whole.conftest import TIMEOUT, Hub, Witness, reconcile, sink_config, until

N = 150  #: recipients
CONNECTIONS = 2


def start(hub: Hub, witness: Witness) -> None:
    """Let a campaign run that takes a while."""
    hub.config = sink_config(witness.port, connections=CONNECTIONS)
    hub.boot()
    hub.contacts(N)
    hub.apply("big", rate="40/s")
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 20, "the first messages")


def test_of_two_hubds_that_lost_their_lock_file_only_the_second_one_sends(hub: Hub, witness: Witness) -> None:
    """The first one ends: what it has on the wire is in doubt for the second one, which goes on."""
    start(hub, witness)
    first = hub.daemon
    assert first is not None
    (hub.state / "hubd.lock").unlink()
    hub.launch("--socket", str(hub.folder / "second.sock"))
    assert first.wait(TIMEOUT) == 74
    assert "another hubd is using the database" in hub.log()
    assert "never remove hubd.lock" in hub.log()
    assert hub.end() == 0
    hub.boot()
    until(lambda: hub.campaign("big")["state"] == "completed", "the end of the campaign")
    reconcile(hub, witness, "big", N, "retry")
    assert sum(witness.accepted().values()) <= N + CONNECTIONS


@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "replaced"])
def test_while_the_database_has_lost_its_name_nothing_begins_and_outcomes_are_written(
    hub: Hub, witness: Witness, replaced: bool
) -> None:
    start(hub, witness)
    database, away = hub.state / "hub.db", hub.state / "away.db"
    if replaced:
        copy = hub.state / "copy.db"
        shutil.copy(database, copy)
        away.hardlink_to(database)
        copy.replace(database)
    else:
        database.rename(away)
    until(lambda: "was moved, removed or replaced" in hub.log(), "the loss to be noticed")
    until(lambda: "put it back" in hub.log(), "what to do about it")
    begun = len(witness.lines()) + CONNECTIONS
    for _ in range(3):
        hub.ask("daemon", "status")  # meanwhile some forty messages would go
    assert len(witness.lines()) <= begun < N
    away.replace(database)
    until(lambda: hub.campaign("big")["state"] == "completed", "the end of the campaign")
    assert reconcile(hub, witness, "big", N)["sent"] == N
