"""The demo's people: the same every time, valid to every check, and reaching nobody."""

from __future__ import annotations

import io
import tomllib

import phonenumbers
import pytest

from hubctl.csv_file import CsvFile, GoodRow
from hubctl.samples import campaigns, people
from hubd.core.intake import ContactRow, RowProblem, read_row


def rows(count: int) -> list[ContactRow | RowProblem]:
    out = io.StringIO()
    people.write(out, count)
    reader = CsvFile(io.BytesIO(out.getvalue().encode()), "contacts.csv")
    found = []
    for row in reader.rows():
        assert isinstance(row, GoodRow)
        cells = zip(reader.header.columns, row.cells, strict=True)
        found.append(read_row(row.line, dict(cells)))
    return found


@pytest.mark.parametrize("count", [1, 3, 200, 5000])
def test_all_people_are_good_contacts_but_for_the_rows_that_are_bad_on_purpose(count: int) -> None:
    found = rows(count)
    good = [row for row in found if isinstance(row, ContactRow)]
    assert len(good) == count + 1
    assert len({row.email_key for row in good}) == count
    assert len(found) - len(good) == 3


def test_the_phone_numbers_are_valid_and_distinct() -> None:
    numbers = [phone for _, phone, *_ in people.people(20_000) if phone]
    assert len(numbers) == len(set(numbers)) > 5_000
    for number in numbers:
        assert phonenumbers.is_valid_number(phonenumbers.parse(number))


def test_nobody_can_be_reached() -> None:
    for email, phone, *_ in people.people(2_000):
        assert email.endswith(("@example.com", "@example.org", "@example.net"))
        assert not phone or phone.startswith(("+4670174", "+49171392")) or phone[5:10] == "55501"


def test_the_people_are_the_same_every_time() -> None:
    assert list(people.people(300)) == list(people.people(300))
    assert list(people.people(500))[:300] == list(people.people(300))


def test_the_campaign_files_are_toml() -> None:
    assert tomllib.loads(campaigns.welcome("outbox", 50))["rate"] == "50/s"
    assert "rate" not in tomllib.loads(campaigns.reminder(None))
    config = tomllib.loads(campaigns.SMTP_CONFIG.format(host="localhost", port=1025))
    assert config["providers"]["mail"]["port"] == 1025
    assert tomllib.loads(campaigns.OUTBOX_CONFIG) == {}
