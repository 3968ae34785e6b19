"""`mailbox.*`: the mailboxes that bounces and replies are read from."""

from __future__ import annotations

from hubd.control.hub import Hub
from hubd.errors import SourceUnavailable
from hubd.wire import inbox_params as p
from hubd.wire import inbox_results as r


async def test(hub: Hub, params: p.MailboxTest) -> r.MailboxTestResult:
    """Log in on a connection of its own."""
    try:
        found = await hub.probe_mailbox(params.name)
    except SourceUnavailable as problem:
        text = f"{problem}; {problem.hint}" if problem.hint else str(problem)
        person = problem.data.get("person") is True
        return {"ok": False, "text": text, "person": person, "mails": 0, "idle": False, "move": False}
    return {
        "ok": True,
        "text": "",
        "person": False,
        "mails": found.mails,
        "idle": found.idles,
        "move": found.moves,
    }
