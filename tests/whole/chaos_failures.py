"""What the chaos test does to everything around the daemon, and how it ends the daemon.

Operations as in `chaos_commands`.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from contextlib import suppress

from tests.shell.raw_client import HELLO, frame, head
from tests.whole.chaos import Chaos
from tests.whole.chaos_commands import COMMANDS, Operation, command, do_one_of
from tests.whole.conftest import until

ACTS = {
    "mail": ("drop", "450 4.2.0 later", "421 4.3.2 go away"),
    "rcpt": ("rst", "450 4.2.0 later", "550 5.1.1 no such user", "550 No such user here", "late 0.3"),
    "data": ("drop", "451 4.3.0 later", "garbage", "554 5.7.1 no"),
    "dot": ("drop", "keep+drop", "keep+rst", "451 4.3.0 later", "554 5.7.1 no", "late 0.5", "keep+garbage"),
}
SURPLUS = ("drop", "421 4.7.0 too many connections", "554 5.7.0 too many connections")
POINTS = (
    "after_open", "after_dot", "after_reply", "mid_commit", "after_commit",
    "in_recovery", "in_freeze", "in_import",
)  # fmt: skip
LOGIN = ("421 4.3.2 later", "554 5.3.2 no", "drop", "rst")


def behave(chaos: Chaos, chance: random.Random) -> None:
    """Let a mail server refuse connections or recipients, break off, be slow; or behave well again."""
    name = chance.choice(sorted(chaos.servers))
    server = chaos.servers[name]
    how = chance.choice(["well", "well", "surplus", "recipients", "recipients", "logins", "refuse"])
    chaos.note(f"  {name}: {how}")
    match how:
        case "well":
            chaos.behave(server)
        case "surplus":
            chaos.behave(server, surplus=(chance.randint(0, 3), chance.choice(SURPLUS)))
        case "logins":
            refused = [chance.choice(LOGIN) for _ in range(chance.randint(1, 10))]
            chaos.behave(server, first={"banner": refused})
        case "refuse":
            chaos.behave(server, always={chance.choice(["rcpt", "data", "dot"]): chance.choice(ACTS["dot"])})
        case "recipients":
            people = sorted(r for sent in chaos.campaigns.values() for r in sent.audience)
            to: dict[str, dict[str, list[str]]] = {}
            for recipient in chance.sample(people, min(len(people), 100)):
                stage = chance.choice(sorted(ACTS))
                to[recipient] = {stage: [chance.choice(ACTS[stage])]}
            chaos.behave(server, to=to)


def crash_server(chaos: Chaos, chance: random.Random) -> None:
    """Kill a mail server and start it again a little later."""
    server = chaos.servers[chance.choice(sorted(chaos.servers))]
    server.end()
    time.sleep(chance.uniform(0.0, 0.5))  # connections are refused meanwhile
    server.begin()


def stop_server(chaos: Chaos, chance: random.Random) -> None:
    """Let a mail server be silent for a while, with a command meanwhile."""
    server = chaos.servers[chance.choice(sorted(chaos.servers))]
    server.process.send_signal(signal.SIGSTOP)
    try:
        command(chaos, chance)
    finally:
        server.process.send_signal(signal.SIGCONT)


def lose_names(chaos: Chaos, chance: random.Random) -> None:
    """Let names not resolve, after some seconds; or resolve again."""
    if chance.random() < 0.7:
        seconds = chance.choice([0.5, 3, 10])
        chaos.note(f"  for {seconds} s")
        chaos.hub.failures.resolver.write_text(str(seconds))
    else:
        chaos.hub.failures.resolver.unlink(missing_ok=True)


def slow_disk(chaos: Chaos, chance: random.Random) -> None:
    """Let each flush to the disk take longer, for the length of a command or two."""
    chaos.hub.failures.fsync.write_text(str(chance.uniform(0.005, 0.05)))
    for _ in range(2):
        command(chaos, chance)
    chaos.hub.failures.fsync.unlink()


def viewers(chaos: Chaos, chance: random.Random) -> None:
    """Come as viewers that ask for a lot and read nothing; those before hang up."""
    for each in chaos.deaf:
        each.close()
    chaos.deaf.clear()
    batch = [{"jsonrpc": "2.0", "id": n, "method": "rpc.discover"} for n in range(50)]
    ask = frame(json.dumps(batch).encode())
    for _ in range(chance.randint(1, 3)):
        viewer = socket.socket(socket.AF_UNIX)
        viewer.settimeout(0.2)
        chaos.deaf.append(viewer)
        with suppress(OSError):  # it is not read from any more, or cut off, or hubd is just ending
            viewer.connect(str(chaos.hub.observe))
            viewer.sendall(head())
            viewer.recv(4096)
            viewer.sendall(frame(json.dumps(HELLO).encode()))
            for _ in range(32):
                viewer.sendall(ask)
    before = 0
    while (now := chaos.memory.now()) > before + 2**20:  # it still answers what nobody reads
        before = now
        time.sleep(1.0)  # between two looks
    chaos.note(f"  {now / 2**20:.0f} MiB")


# -- ends of the daemon ------------------------------------------------------------------------------


def kill(chaos: Chaos, chance: random.Random) -> None:
    """SIGKILL in the middle of commands."""
    with chaos.ending(signal.SIGKILL, chance.uniform(0.0, 0.4)):
        for _ in range(chance.randint(1, 3)):
            command(chaos, chance)


def terminate(chaos: Chaos, chance: random.Random) -> None:
    """SIGTERM in the middle of commands; it ends with 0."""
    with chaos.ending(signal.SIGTERM, chance.uniform(0.0, 0.4)):
        command(chaos, chance)


def kill_at_a_point(chaos: Chaos, chance: random.Random) -> None:
    """Start it again so that it kills itself at a point of a message's way, an import or its recovery."""
    fail = f"{chance.choice(POINTS)}:{chance.randint(1, 40)}"
    chaos.note(f"  {fail}")
    with chaos.ending(signal.SIGKILL, 0.0):
        chaos.after_the_end()
        chaos.start(fail)
    for _ in range(2):
        command(chaos, chance)


def kill_at_start(chaos: Chaos, chance: random.Random) -> None:
    """Kill it, and kill it again while it starts."""
    with chaos.ending(signal.SIGKILL, 0.0):
        chaos.after_the_end()
        for _ in range(chance.randint(1, 2)):
            daemon = chaos.hub.launch()
            time.sleep(chance.uniform(0.1, 1.5))  # the moment of the kill
            chaos.arranged = {-signal.SIGKILL}
            daemon.send_signal(signal.SIGKILL)
            chaos.after_the_end()
        chaos.start()


def interrupt_a_checkpoint(chaos: Chaos, chance: random.Random) -> None:
    """Kill it at some write of a checkpoint: in commands, or when it stops, or when it starts."""
    writes = chance.choice([0, 0, 1, 2, chance.randint(3, 30)])
    chaos.note(f"  at write {writes}")
    chaos.arm(writes)
    command(chaos, chance)
    if not chaos.ended():
        with chaos.ending(signal.SIGTERM, 0.0):
            until(chaos.ended, "the end in a checkpoint or by the signal")
    elif chaos.ended():
        chaos.again()
    chaos.disarm()


def freeze(chaos: Chaos, chance: random.Random) -> None:
    """Stop it for a while (SIGSTOP)."""
    daemon = chaos.hub.daemon
    assert daemon is not None
    daemon.send_signal(signal.SIGSTOP)
    time.sleep(chance.uniform(0.05, 0.6))  # how long it is stopped
    daemon.send_signal(signal.SIGCONT)


#: Failures, and how often each is chosen beside the others.
FAILURES: dict[Operation, int] = {
    behave: 6, crash_server: 2, stop_server: 2, lose_names: 2, slow_disk: 1, viewers: 2,
    kill: 4, terminate: 2, kill_at_a_point: 2, kill_at_start: 1, interrupt_a_checkpoint: 3, freeze: 1,
}  # fmt: skip


def operate(chaos: Chaos, chance: random.Random) -> None:
    """A command or a failure."""
    do_one_of(chance.choice([COMMANDS, FAILURES]), chaos, chance)
