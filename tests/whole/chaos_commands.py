"""What the chaos test asks of the daemon: commands as people give them.

An operation takes the chaos and a `Random` of its own, so that the n-th operation of a seed is always the
same. It may find the daemon dead at any moment, and leaves it alive.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace

from hubd.errors import BadConfig, Conflict, CreditsShort, HubError, NotFound
from tests.whole.chaos import MAIL, TEXT, Chaos, Deleted, Sent, Single

Operation = Callable[[Chaos, random.Random], None]

OFF = frozenset(os.environ.get("CHAOS_OFF", "").split())  #: operations to leave out, for looking into a fault
UNDER_WAY = 5  #: campaigns that have more than a few recipients left, at most
FEW = 50
PEOPLE = 250  #: in a list
PAGE = 250
PAYS = "team"  #: the account that pays for text messages


def launch(chaos: Chaos, chance: random.Random) -> None:
    """Import a list, apply a campaign to it, and start it."""
    found = chaos.call("campaign.list", all=True)["campaigns"]
    if sum(each["counts"]["pending"] > FEW for each in found) >= UNDER_WAY:
        return
    number, chaos.launched = chaos.launched, chaos.launched + 1
    name = f"c{number}"
    if number > len(MAIL) + len(TEXT) and chance.random() < 0.3:
        launch_clone(chaos, name, chance)
        return
    # The first ones make sure that everybody is there; then it is as chance has it.
    provider = [*MAIL, *TEXT][number] if number < 4 else chance.choice([*MAIL, *TEXT])
    policy = ("hold", "retry")[number % 2] if provider in MAIL else "hold"
    people = PEOPLE if provider in MAIL else PEOPLE // 5
    column = "phone" if provider in TEXT else "email"
    listed = f"list {name}"
    addresses = [address(provider, number, n) for n in range(people)]
    bring(chaos, listed, column, addresses)
    apply(chaos, name, provider, policy, listed, chance)
    chaos.campaigns[name] = Sent(name, provider, policy, listed, set(chaos.imported[listed]))
    chaos.note(f"  {name}: {policy}, {provider}, {people} recipients")
    chaos.call("provider.enable", name=provider)
    while isinstance(answer := chaos.settle("campaign.start", name=name), CreditsShort):
        grant(chaos, chance)
    assert not isinstance(answer, HubError), answer


def launch_clone(chaos: Chaos, name: str, chance: random.Random) -> None:
    """Start a copy of another campaign, for the same list."""
    others = [each for each in chaos.campaigns.values() if each.provider in MAIL]
    sent = chance.choice(others)
    chaos.note(f"  {name}: a clone of {sent.name}")
    answer = chaos.settle("campaign.clone", name=sent.name, new=name)
    assert not isinstance(answer, HubError) or isinstance(answer, Conflict), answer  # an earlier one did it
    audience = set(chaos.imported[sent.listed])
    chaos.campaigns[name] = replace(sent, name=name, audience=audience, quiet=[])
    chaos.call("provider.enable", name=sent.provider)
    chaos.call("campaign.start", name=name)


def address(provider: str, number: int, n: int) -> str:
    """The n-th address of the list of a campaign."""
    if provider in TEXT:
        return f"+1415{2_000_000 + number * 1000 + n}"
    return f"p{n}@c{number}.example"


def bring(chaos: Chaos, listed: str, column: str, addresses: list[str]) -> None:
    """Import addresses; they are members when this returns."""
    have = chaos.imported.setdefault(listed, set())
    key = f"{listed} {len(have)}"
    for start in range(0, len(addresses), PAGE):
        rows = [
            {"line": start + n + 2, "values": {column: each, "first_name": f"Zoë {start + n}"}}
            for n, each in enumerate(addresses[start : start + PAGE])
        ]
        answer = chaos.call("contacts.import", list=listed, rows=rows, import_id=key)
        assert not answer["errors"], answer
    have |= set(addresses)


def apply(chaos: Chaos, name: str, provider: str, policy: str, listed: str, chance: random.Random) -> None:
    """Make or change a draft."""
    spec: dict[str, object] = {
        "name": name, "provider": provider, "lists": [listed], "in_doubt": policy,
        "rate": f"{chance.randint(5, 40)}/s", "text": f"{name} to {{{{ first_name }}}}\n",
        "kind": chance.choice(["transactional", "marketing"]),
    }  # fmt: skip
    if provider in TEXT:
        spec |= {"channel": "sms", "credits": PAYS}
    else:
        others = [name for name in chaos.servers if name != provider]
        spec |= {
            "provider": [provider, *others[: chance.randint(0, 1)]],
            "channel": "email",
            "sender": "Acme <news@acme.example>",
            "subject": f"{name} {chance.random()}",
        }
        spec |= {"unsubscribe": "https://acme.example/u/{{ contact_id }}", "postal_address": "1 Main St"}
    chaos.call("campaign.apply", spec=spec)


def state_of(chaos: Chaos, sent: Sent) -> str:
    return str(chaos.call("campaign.get", name=sent.name)["campaign"]["state"])


def pick(chaos: Chaos, chance: random.Random) -> Sent:
    """One of the latest campaigns."""
    return chance.choice(list(chaos.campaigns.values())[-UNDER_WAY - 1 :])


def pause(chaos: Chaos, chance: random.Random) -> None:
    """Pause or stop a campaign; nothing of it may leave afterwards."""
    sent = pick(chaos, chance)
    verb = chance.choice(["pause", "pause", "stop"])
    chaos.note(f"  {verb} {sent.name}")
    if chance.random() < 0.3:
        if chaos.hubctl(verb, sent.name, codes=(0, 5)) == 0:
            chaos.quieten(sent, {})
    else:
        chaos.quieten(sent, chaos.settle(f"campaign.{verb}", name=sent.name))


def resume(chaos: Chaos, chance: random.Random) -> None:
    """Let campaigns go on: most of those that rest, so that there is always something to break."""
    for sent in list(chaos.campaigns.values())[-UNDER_WAY - 1 :]:
        verb = {"paused": "resume", "stopped": "start", "failed": "start"}.get(state_of(chaos, sent))
        if verb is not None and chance.random() < 0.7:
            chaos.note(f"  {verb} {sent.name}")
            chaos.wake(sent)
            chaos.settle(f"campaign.{verb}", name=sent.name)


def pause_and_resume(chaos: Chaos, chance: random.Random) -> None:
    """The same at once, also while its provider's name does not resolve."""
    sent = pick(chaos, chance)
    chaos.note(f"  pause and resume {sent.name}")
    chaos.quieten(sent, chaos.settle("campaign.pause", name=sent.name))
    chaos.wake(sent)
    chaos.settle("campaign.resume", name=sent.name)


def decide(chaos: Chaos, chance: random.Random) -> None:
    """Try failures again; under the policy retry also what is in doubt."""
    sent = pick(chaos, chance)
    params: dict[str, object] = {"class": chance.choice(["transient", "permanent", "all"])}
    if sent.policy == "retry" and chance.random() < 0.5:
        params = {"in_doubt": "resend"}
    chaos.note(f"  retry {sent.name} {params}")
    chaos.wake(sent)
    chaos.settle("campaign.retry", name=sent.name, **params)


def suppress_people(chaos: Chaos, chance: random.Random) -> None:
    """Suppress a recipient who may not have been sent anything yet; nothing may be sent there afterwards."""
    sent = pick(chaos, chance)
    for recipient in chance.sample(sorted(sent.audience), 3):
        chaos.call("suppression.add", channel=sent.channel, address=recipient, reason="asked")
        chaos.suppressed.setdefault(recipient, time.time())


def add_members(chaos: Chaos, chance: random.Random) -> None:
    """Put more people on the list of a campaign that has its audience already."""
    sent = pick(chaos, chance)
    have, number = len(chaos.imported[sent.listed]), int(sent.listed.removeprefix("list c"))
    column = "phone" if sent.provider in TEXT else "email"
    bring(chaos, sent.listed, column, [address(sent.provider, number, have + n) for n in range(20)])


def edit_drafts(chaos: Chaos, chance: random.Random) -> None:
    """Make a draft, change it, clone it, delete the clone; drafts are never started."""
    sent = pick(chaos, chance)
    draft, clone = f"draft-{chance.randrange(3)}", f"clone-{chance.randrange(3)}"
    for _ in range(2):
        apply(chaos, draft, sent.provider, sent.policy, sent.listed, chance)
    chaos.settle("campaign.clone", name=chance.choice([draft, sent.name]), new=clone)
    if chance.random() < 0.7:
        chaos.settle("campaign.delete", name=clone)
    chaos.settle("campaign.archive", name=sent.name)  # refused unless it has ended


def delete_ended(chaos: Chaos, chance: random.Random) -> None:
    """Delete an older campaign that has completed; what it sent stays on the providers' record."""
    older = [each for each in list(chaos.campaigns.values())[: -UNDER_WAY - 1] if each.provider in MAIL]
    if not older:
        return
    sent = chance.choice(older)
    if state_of(chaos, sent) != "completed":
        return
    rows, after = [], 0
    while after is not None:
        page = chaos.call("delivery.list", campaign=sent.name, after=after)
        rows += page["deliveries"]
        after = page["next"]
    chaos.note(f"  {sent.name}")
    answer = chaos.settle("campaign.delete", name=sent.name)
    assert not isinstance(answer, HubError) or isinstance(answer, NotFound), answer  # an earlier one did it
    chaos.deleted.append(Deleted(chaos.campaigns.pop(sent.name), rows, chaos.recorded()))


def set_rate(chaos: Chaos, chance: random.Random) -> None:
    """Another rate while it runs."""
    chaos.settle("campaign.rate", name=pick(chaos, chance).name, rate=f"{chance.randint(5, 60)}/s")


def send(chaos: Chaos, chance: random.Random) -> None:
    """Send one message, however often that has to be said."""
    for _ in range(chance.randint(1, 3)):
        number = len(chaos.transactional)
        provider, key = chance.choice([*MAIL, *TEXT]), f"order-{number}"
        recipient = address(provider, 5000, number) if provider in TEXT else f"p{number}@single.example"
        params = {"provider": provider, "to": recipient, "text": f"single {number}", "idempotency_key": key}
        if provider in MAIL:
            params |= {"sender": "shop@acme.example", "subject": f"Order {number}"}
        chaos.call("provider.enable", name=provider)
        made = chaos.call("message.send", **params)["delivery_id"]
        chaos.transactional[key] = Single(recipient, provider, made)
        if chance.random() < 0.5:
            chaos.call("provider.disable", name=provider)  # no reason to refuse what was queued before
            again = chaos.call("message.send", **params)["delivery_id"]
            chaos.call("provider.enable", name=provider)
            assert again == made, f"{key} made {made} and {again}"


def reload(chaos: Chaos, chance: random.Random) -> None:
    """Change connections and rates, by a command or a signal; or offer a configuration that is wrong."""
    if chance.random() < 0.2:
        chaos.hub.write_config('[providers.first]\ntype = "pigeon"\n')
        ends, answer = chaos.ends, chaos.settle("hub.reload")
        if chaos.ends == ends:  # else it was started again, with a configuration that is right
            assert isinstance(answer, BadConfig), "a configuration with a fault was taken over"
        return
    for name, most in {**MAIL, **TEXT}.items():
        chaos.limits[name] = chance.randint(1, most)
    chaos.rates = {name: f"{chance.randint(20, 200)}/s" for name in [*MAIL, *TEXT] if chance.random() < 0.3}
    chaos.hub.write_config(chaos.config())
    if chance.random() < 0.5:
        chaos.call("hub.reload")
    elif not chaos.ended() and chaos.hub.daemon is not None:
        chaos.call("hub.status")  # it listens to signals
        chaos.hub.daemon.send_signal(signal.SIGHUP)


def switch_provider(chaos: Chaos, chance: random.Random) -> None:
    """Disable a provider, or enable all."""
    names = [*MAIL, *TEXT]
    if chance.random() < 0.5:
        chaos.call("provider.disable", name=chance.choice(names))
    for name in names if chance.random() < 0.7 else ():
        chaos.call("provider.enable", name=name)


def back_up(chaos: Chaos, chance: random.Random) -> None:
    """Copy the database; the copy is sound."""
    path = chaos.hub.folder / f"backup-{chance.getrandbits(32):x}.db"
    answer = chaos.settle("hub.backup", path=str(path))
    if not isinstance(answer, HubError):
        with closing(sqlite3.connect(path)) as copy:
            assert copy.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    path.unlink(missing_ok=True)


def look(chaos: Chaos, chance: random.Random) -> None:
    """Ask how everything is, as people do."""
    command = chance.choice([["status", "--json"], ["list"], ["provider", "list"], ["daemon", "status"]])
    chaos.hubctl(*command)


def grant(chaos: Chaos, chance: random.Random) -> None:
    """Give credits to the account that pays, once, however often that has to be said."""
    credits = chance.choice([5, 20, 100])
    chaos.call("credits.grant", account=PAYS, credits=credits, idempotency_key=f"grant-{chaos.grants}")
    chaos.grants, chaos.granted = chaos.grants + 1, chaos.granted + credits


#: Commands, and how often each is chosen beside the others.
COMMANDS: dict[Operation, int] = {
    launch: 8, pause: 4, resume: 4, pause_and_resume: 3, decide: 2, suppress_people: 3, add_members: 2,
    edit_drafts: 2, delete_ended: 2, set_rate: 1, send: 4, reload: 3, switch_provider: 2, back_up: 1, look: 1,
    grant: 2,
}  # fmt: skip


def command(chaos: Chaos, chance: random.Random) -> None:
    """Any command."""
    do_one_of(COMMANDS, chaos, chance)


def do_one_of(operations: Mapping[Operation, int], chaos: Chaos, chance: random.Random) -> None:
    """Choose an operation and do it."""
    (chosen,) = chance.choices(list(operations), list(operations.values()))
    name = getattr(chosen, "__name__", "")
    if name not in OFF:
        chaos.note(f" {name}")
        chosen(chaos, chance)
