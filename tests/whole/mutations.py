"""What holds the promises up, taken away one at a time. Each has a test that fails without it.

A mutation is a change of the program's text: `old` is there exactly once in all of hubd, or the mutation is
stale and says so. README.md has the same list in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LEDGER = "tests/shell/test_ledger.py::"
LOST_UPDATE = "tests/shell/test_lost_update.py::"
RUNNER = "tests/shell/test_runner.py::"
HELD = "tests/shell/test_held.py::test_a_lost_answer_is_followed_by_a_second_try_only_if_the_policy_says_so"
DATABASE = "tests/shell/test_database.py::"
CONTRACT = "tests/shell/test_store_contract.py::"
FAILPOINTS = "tests/whole/test_failpoints.py::"
CHAOS = (
    "tests/whole/test_chaos.py::"
    "test_after_every_failure_at_once_the_records_equal_the_outside_record[one minute]"
)
POINT = f"{FAILPOINTS}test_an_end_at_any_point_of_a_messages_way_leaves_exact_records"


class Stale(Exception):
    """The program has changed: the text of a mutation is not in it once; `str()` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One safeguard off."""

    name: str
    changes: tuple[tuple[str, str], ...]  #: (old, new)
    caught_by: tuple[str, ...]  #: node ids; each of them fails

    def apply(self, tree: Path) -> None:
        """Change the program under `tree`. Raises `Stale`."""
        for path, text in self.changed(texts_of(tree)).items():
            path.write_text(text)

    def changed(self, texts: Mapping[Path, str]) -> dict[Path, str]:
        """What the files become that are changed. Raises `Stale`."""
        new: dict[Path, str] = {}
        for old, instead in self.changes:
            now = {**texts, **new}
            found = [(path, n) for path, text in now.items() if (n := text.count(old))]
            if [n for _, n in found] != [1]:
                raise Stale(f"{self.name}: {old!r} is {sum(n for _, n in found)} times in hubd, not once")
            new[found[0][0]] = now[found[0][0]].replace(old, instead)
        return new


def texts_of(tree: Path) -> dict[Path, str]:
    """The program's files under `tree`, and what is in each."""
    return {path: path.read_text() for kind in ("*.py", "*.sql") for path in (tree / "hubd").rglob(kind)}


ITS_ID = "delivery.id = entry.delivery_id"
ITS_STATE = f"{ITS_ID} AND delivery.state ="

MUTATIONS = (
    Mutation(
        name="the open row is written after the message was delivered",
        changes=(
            (
                "refusals = await self._ledger.record([entry for _, entry in items])",
                "late = vars(_tell)\n"
                "                late.update({e.delivery_id: e for _, e in items if isinstance(e, Open)})\n"
                "                closes = [e for _, e in items if not isinstance(e, Open)]\n"
                "                both = [(late.pop(e.delivery_id, None), e) for e in closes]\n"
                "                await self._ledger.record([e for pair in both for e in pair if e])\n"
                "                refusals = [None] * len(items)",
            ),
        ),
        caught_by=(
            f"{RUNNER}test_an_attempt_is_open_in_the_ledger_before_each_delivery",
            f"{POINT}[email-after_dot-hold-20]",
        ),
    ),
    Mutation(
        name="a pause answers before what is on the wire is settled",
        changes=(("while source.busy:", "while False:"),),
        caught_by=(f"{RUNNER}test_nothing_leaves_after_pause_has_answered",),
    ),
    Mutation(
        name="two attempts of one delivery may be open",
        changes=(("CREATE UNIQUE INDEX attempt_one_open", "CREATE INDEX attempt_one_open"),),
        caught_by=(f"{LEDGER}test_two_open_attempts_break_a_constraint",),
    ),
    Mutation(
        name="an entry is written whatever state the delivery is in by then",
        changes=(
            *(
                (f"{entry}\nWHERE {ITS_STATE} entry.source", f"{entry}\nWHERE {ITS_ID}")
                for entry in (
                    "message_id) AS ({rows}) SELECT * FROM entry) AS entry",
                    "withdrawn) AS ({rows}) SELECT * FROM entry) AS entry",
                )
            ),
            (f"{ITS_STATE} 'sending'", ITS_ID),
        ),
        caught_by=(
            f"{LOST_UPDATE}test_an_entry_about_a_delivery_that_has_changed_is_not_made[None]",
            f"{LOST_UPDATE}test_an_entry_about_a_delivery_that_has_changed_is_not_made[sent]",
            f"{LOST_UPDATE}test_an_entry_about_a_delivery_that_has_changed_is_not_made[failed]",
        ),
    ),
    Mutation(
        name="a delivery that is being tried, or is sent, may be tried",
        changes=(("if at.state not in _UNTRIED:", "if False:"),),
        caught_by=(
            f"{LEDGER}test_a_second_open_is_refused",
            f"{CONTRACT}test_a_second_open_of_one_delivery_is_refused[sqlite]",
        ),
    ),
    Mutation(
        name="suppression is not looked at again when an attempt is opened",
        changes=(("if at.suppressed is not None:", "if False:"),),
        caught_by=(f"{LEDGER}test_an_address_suppressed_meanwhile_is_skipped_at_the_last_moment", CHAOS),
    ),
    Mutation(
        name="an attempt is opened in a campaign that does not run",
        changes=(("if at.campaign_state != CampaignState.RUNNING:", "if False:"),),
        caught_by=(f"{LEDGER}test_nothing_opens_in_a_campaign_that_does_not_run",),
    ),
    Mutation(
        name="the moves of the counters are not written",
        changes=(("if any(moves.values()):", "if False:"),),
        caught_by=(
            f"{LEDGER}test_a_second_open_is_refused",
            f"{CONTRACT}test_counters_follow_every_entry[sqlite]",
        ),
    ),
    Mutation(
        name="recovery leaves the attempts of the last run open",
        changes=(("AND attempt.epoch <> ?", "AND attempt.epoch > ?"),),
        caught_by=(f"{LEDGER}test_attempts_open_at_a_crash_are_in_doubt_after_it_and_only_those",),
    ),
    Mutation(
        name="those who wait are woken before COMMIT",
        changes=(
            (
                'unit = Unit(db, moment)\n    db.execute("BEGIN IMMEDIATE")',
                'unit = Unit(db, moment)\n    if db.in_transaction:\n        db.execute("COMMIT")\n'
                '    db.execute("BEGIN IMMEDIATE")',
            ),
            ('db.execute("COMMIT")\n        reach("after_commit")', 'reach("after_commit")'),
        ),
        caught_by=(
            f"{DATABASE}test_nobody_is_woken_before_the_commit",
            f"{DATABASE}test_a_kill_loses_nothing_that_was_acknowledged",
        ),
    ),
    Mutation(
        name="COMMIT does not wait for the disk",
        changes=(("PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),),
        caught_by=(f"{DATABASE}test_a_new_file_is_private_and_has_all_settings",),
    ),
    Mutation(
        name="what is in doubt is tried again under the policy hold",
        changes=(("if self._in_doubt is not InDoubt.RETRY:", "if False:"),),
        caught_by=(f"{HELD}[hold]",),
    ),
    Mutation(
        name="what a crash put in doubt is tried again under the policy hold",
        changes=(("if in_doubt is InDoubt.RETRY and await", "if await"),),
        caught_by=(f"{POINT}[email-after_dot-hold-20]", CHAOS),
    ),
    Mutation(
        name="a copy gets a Message-ID of its own",
        changes=(("self.message_id(row.id)", "self.message_id(row.id + 1_000_000 * row.attempts)"),),
        caught_by=(
            f"{RUNNER}test_under_the_retry_policy_a_lost_answer_is_tried_again_with_the_same_message_id",
        ),
    ),
    Mutation(
        name="a row of the audit trail is not tied to the one before it",
        changes=(("SELECT hash FROM audit ORDER BY seq DESC", "SELECT hash FROM audit ORDER BY seq ASC"),),
        caught_by=(f"{FAILPOINTS}test_an_end_in_the_middle_of_recovery_is_recovered_from[hold]",),
    ),
    Mutation(
        name="an environment variable arms the failpoints of hubd itself",
        changes=(
            (
                "_armed: Callable[[str], None] | None = None",
                "import os\n\n_armed: Callable[[str], None] | None = (\n"
                '    (lambda point: os._exit(1)) if "HUBD_FAIL" in os.environ else None\n)',
            ),
        ),
        caught_by=(f"{FAILPOINTS}test_the_daemon_itself_has_no_failpoints",),
    ),
)
