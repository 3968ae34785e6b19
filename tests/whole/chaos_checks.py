"""What must hold after the chaos: I1 to I10 for each campaign, and what was acknowledged meanwhile."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

from tests.whole.chaos import TEXT, Chaos, Deleted, Sent
from tests.whole.invariants import Records, check_accepted, check_records, read_records

SETTLED = {"sent", "in_doubt", "failed", "skipped"}


class Record:
    """What the providers accepted, by the delivery it belongs to."""

    def __init__(self, chaos: Chaos, records: Records) -> None:
        self.copies: dict[object, list[str]] = defaultdict(
            list
        )  #: delivery -> Message-ID or text of each copy
        self.places: dict[object, list[tuple[str, int]]] = defaultdict(list)  #: and its provider and line
        by_message_id = {str(row["message_id"]): row["delivery_id"] for row in records.attempts}
        for deleted in chaos.deleted:
            by_message_id |= {row["message_id"]: row["id"] for row in deleted.deliveries}
        by_address = {(row["campaign_id"], row["recipient"]): row["id"] for row in records.deliveries}
        campaigns = {str(campaign["name"]): campaign["id"] for campaign in records.campaigns}
        transactional = {each.recipient: each.delivery for each in chaos.transactional.values()}
        for provider, lines in chaos.records().items():
            for place, line in enumerate(lines):
                if provider in TEXT:
                    message = json.loads(line)
                    known, to = message["body"], message["to"]
                    campaign = campaigns.get(known.split()[0])
                    delivery = by_address.get((campaign, to)) if campaign else transactional.get(to)
                else:
                    to, known = line.split()
                    delivery = by_message_id.get(known)
                assert delivery is not None, f"{provider} accepted what the records know nothing of: {line}"
                self.copies[delivery].append(known)
                self.places[delivery].append((provider, place))


def check_all(chaos: Chaos) -> None:
    """Everything, when all campaigns have ended and the daemon has, too."""
    records = read_records(chaos.hub.state)
    check_records(records)
    assert records.waiting == 0, f"I10: {records.states}"
    assert set(records.states) <= SETTLED, f"I1: {records.states}"
    record = Record(chaos, records)
    started = {campaign["name"]: campaign for campaign in records.campaigns}
    for sent in chaos.campaigns.values():
        _check_campaign(records, record, started[sent.name]["id"], sent.policy, sent.audience)
        _check_quiet(records, record, started[sent.name]["id"], sent)
    for provider in sorted({each.provider for each in chaos.transactional.values()}):
        (campaign,) = (each for each in records.campaigns if each["single"] and each["provider"] == provider)
        recipients = {each.recipient for each in chaos.transactional.values() if each.provider == provider}
        _check_campaign(records, record, campaign["id"], str(campaign["doubt_policy"]), recipients)
    for deleted in chaos.deleted:
        _check_deleted(record, deleted)
    _check_singles(chaos, records)
    _check_account(chaos, records)
    _check_suppressed(chaos, records)
    _check_doubts(chaos, records)


def _check_campaign(
    records: Records, record: Record, campaign_id: object, policy: str, audience: set[str]
) -> None:
    """I1 to I6 for one campaign."""
    deliveries = [row for row in records.deliveries if row["campaign_id"] == campaign_id]
    ids = {row["id"]: str(row["recipient"]) for row in deliveries}
    own = replace(
        records,
        campaigns=[campaign for campaign in records.campaigns if campaign["id"] == campaign_id],
        deliveries=deliveries,
        attempts=[row for row in records.attempts if row["delivery_id"] in ids],
        audit=[],
        accounts=[],
    )
    accepted = {recipient: record.copies[id_] for id_, recipient in ids.items() if id_ in record.copies}
    check_accepted(own, accepted, policy, audience)


def _check_quiet(records: Records, record: Record, campaign_id: object, sent: Sent) -> None:
    """Between the acknowledgement of a pause or stop and the next order to go on nothing left.

    What had left before may be accepted later, by a server that was slow; it is in doubt then.
    """
    deliveries = {row["id"]: row for row in records.deliveries if row["campaign_id"] == campaign_id}
    attempts = defaultdict(list)
    for row in records.attempts:
        if row["delivery_id"] in deliveries:
            attempts[row["delivery_id"]].append(row)
    for quiet in sent.quiet:
        for delivery, rows in attempts.items():
            for row in rows:
                opened = row["opened_at"]
                assert isinstance(opened, float)
                assert not quiet.since < opened < quiet.until, f"{sent.name}: {row} after {quiet.since}"
            for provider, place in record.places[delivery]:
                if quiet.lines[provider] <= place < quiet.until_lines.get(provider, place + 1):
                    assert any(row["outcome"] == "in_doubt" for row in rows), (
                        f"{sent.name}: {rows} in {quiet}"
                    )


def _check_deleted(record: Record, deleted: Deleted) -> None:
    """I4 and I5 as it was when it was deleted; and nothing was accepted afterwards."""
    recipients = {row["recipient"] for row in deleted.deliveries}
    assert recipients == deleted.sent.audience, "I1: everybody has a delivery"
    for row in deleted.deliveries:
        n = len(record.copies[row["id"]])
        assert n >= (row["state"] == "sent"), f"I4: {row} was not accepted by anybody"
        assert n <= 1 or deleted.sent.policy == "retry", f"I5: {row} was accepted {n} times"
        for provider, place in record.places[row["id"]]:
            assert place < deleted.lines[provider], (
                f"{row} was accepted after {deleted.sent.name} was deleted"
            )


def _check_singles(chaos: Chaos, records: Records) -> None:
    """Each idempotency key made one message, the one that was acknowledged."""
    rows = {row["id"]: row for row in records.deliveries if row["single"]}
    assert len(rows) == len(chaos.transactional), "one message for each key"
    for key, message in chaos.transactional.items():
        assert rows[message.delivery]["recipient"] == message.recipient, key


def _check_account(chaos: Chaos, records: Records) -> None:
    """Each grant counts once; what was accepted is paid for, and what is in doubt is held."""
    (account,) = records.accounts
    states = [row["state"] for row in records.paid_by(account)]
    assert account["granted"] == chaos.granted
    assert (account["spent"], account["held"]) == (states.count("sent"), states.count("in_doubt"))


def _check_suppressed(chaos: Chaos, records: Records) -> None:
    """Nothing left to anybody after the suppression was acknowledged.

    A recipient may still be refused by the server then: that is known before an attempt is opened.
    """
    recipients = {row["id"]: str(row["recipient"]) for row in records.deliveries}
    for row in records.attempts:
        since = chaos.suppressed.get(recipients[row["delivery_id"]], float("inf"))
        opened = row["opened_at"]
        assert isinstance(opened, float)
        if row["content_hash"]:  # it was opened
            assert opened <= since, f"{row} was suppressed at {since}"


def _check_doubts(chaos: Chaos, records: Records) -> None:
    """Each attempt that a kill cut off, and no other, was put in doubt by a recovery, once."""
    found = [fields for fields in records.audit if fields[3] == "doubt.found"]
    assert len(found) == len(chaos.cut_off)
    outcomes = {row["id"]: row["outcome"] for row in records.attempts}
    assert {outcomes.get(attempt, "in_doubt") for attempt in chaos.cut_off} <= {"in_doubt"}
