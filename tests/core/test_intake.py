"""Contacts as people hand them in: what is taken, in which form, and what is refused with which words."""

from __future__ import annotations

import email_validator
import msgspec
import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.core import addresses
from hubd.core.columns import plan_columns
from hubd.core.intake import (
    AddressRow,
    ContactRow,
    RowProblem,
    email_address,
    phone_number,
    read_addresses,
    read_row,
)
from hubd.errors import BadInput


def refusal(error: BadInput) -> str:
    listed = error.data["errors"]
    assert isinstance(listed, list)
    assert len(listed) == 1
    return f"{listed[0]['path']}: {listed[0]['problem']}"


# --- email ---


@pytest.mark.parametrize(
    ("written", "sent_to", "key"),
    [
        ("user@example.com", "user@example.com", "user@example.com"),
        ("User@EXAMPLE.com", "User@example.com", "user@example.com"),  # sent as written, compared folded
        ("  ann@example.com\t", "ann@example.com", "ann@example.com"),
        (
            "ann@example.com\u00a0",
            "ann@example.com",
            "ann@example.com",
        ),  # a no-break space from a spreadsheet
        ("x@exämple.com", "x@xn--exmple-cua.com", "x@xn--exmple-cua.com"),
        ("x@XN--EXMPLE-CUA.com", "x@xn--exmple-cua.com", "x@xn--exmple-cua.com"),  # the same person
        ("x@EXÄMPLE.com", "x@xn--exmple-cua.com", "x@xn--exmple-cua.com"),
        ("x@example\u3002com", "x@example.com", "x@example.com"),  # an ideographic full stop
        ("Info@example.com", "Info@example.com", "info@example.com"),
        ("o'neil+tag@mail.example.co.uk", "o'neil+tag@mail.example.co.uk", "o'neil+tag@mail.example.co.uk"),
        ("a@x.test", "a@x.test", "a@x.test"),
        ("a@bücher.test", "a@xn--bcher-kva.test", "a@xn--bcher-kva.test"),
        ("a@x.invalid", "a@x.invalid", "a@x.invalid"),
        ("a@x.example", "a@x.example", "a@x.example"),
        ("a@office.local", "a@office.local", "a@office.local"),
        ("l" * 64 + "@example.com", "l" * 64 + "@example.com", "l" * 64 + "@example.com"),
    ],
)
def test_an_address_is_kept_in_one_form(written: str, sent_to: str, key: str) -> None:
    assert email_address(written) == (sent_to, key)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "it is empty"),
        ("l" * 65 + "@example.com", "the part before the @ is longer than 64 characters"),
        ("a@b", "no dot in the domain"),
        ("user@localhost", "no dot in the domain"),
        ("user@mail.localhost", "no mail can be sent to that domain"),
        ("user@1.0.0.127.in-addr.arpa", "no mail can be sent to that domain"),
        ("user@expyuzz4wqqyqhjn.onion", "no mail can be sent to that domain"),
        ("user@[127.0.0.1]", "an IP address after the @ is not supported; a domain name is needed"),
        ("user@127.0.0.1", "an IP address after the @ is not supported; a domain name is needed"),
        ("user@example.123", "the domain has no valid ending"),
        ('"a b"@x.com', "a quoted part before the @ is not supported"),
        ("a b@x.com", "there is a space in it"),
        ("user@example.com\r\nBcc: x", "it contains an invisible or control character"),
        ("user@example.com\r\nBcc: x@y.z", "only one address per row; put a second one in a row of its own"),
        ("user@example.com\n", "it contains an invisible or control character"),
        ("us\u202eer@example.com", "it contains an invisible or control character"),
        ("us\u200ber@example.com", "it contains an invisible or control character"),
        ("user@exam\u200bple.com", "it contains an invisible or control character"),
        ("user\x00@example.com", "it contains an invisible or control character"),
        ("user\ud800@example.com", "it contains an invisible or control character"),
        (
            "üser@example.com",
            "letters before the @ that are not ASCII need SMTPUTF8, which few servers support",
        ),
        ("a@b.com,c@d.com", "only one address per row; put a second one in a row of its own"),
        ("a@b.com; c@d.com", "only one address per row; put a second one in a row of its own"),
        ("a@b.com / c@d.com", "only one address per row; put a second one in a row of its own"),
        ("a@b@c.com", "more than one @ in it"),
        ("a@@b.com", "two @ in a row"),
        ("@a@b.com", "an @ at the start"),
        ("a@b.com@", "an @ at the end"),
        ("a@b.com,", "a comma at the end"),
        (";a@b.com", "a semicolon at the start"),
        ("a@gmail,com", "a comma after the @; should it be a dot?"),
        ("a,b@c.com", "a comma before the @; should it be a dot?"),
        ("'a@b.com'", "leave out the quotation marks around it"),
        ('"a@b.com"', "leave out the quotation marks around it"),
        ("a(at)b.com", "write @ in place of (at)"),
        ("a\uff20b.com", "the @ is a full-width one; use an ordinary @"),
        ('=HYPERLINK("mailto:a@b.com")', "it is a formula; write the value that it shows"),
        ("Name <a@b.com>", "give only the part between < and >; put the name in another column"),
        ("mailto:a@b.com", 'leave out "mailto:"'),
        ("example.com", "no @ in it"),
        ("@example.com", "nothing before the @"),
        ("user@", "nothing after the @"),
        (".a@b.com", "a dot at the start"),
        ("a.@b.com", "a dot right before the @"),
        ("a..b@c.com", "two dots in a row"),
        ("a(b)@c.com", "a character before the @ that is not allowed"),
        ("a@-b.com", "a hyphen in the domain where none is allowed"),
        ("a@b.com.", "a dot at the end"),
        ("a@b.com-", "a hyphen at the end of the domain"),
        ("a@b_c.com", "a character in the domain that is not allowed"),
        ("a@xn--zz.com", "the domain is not a valid international name"),
        ("a@" + "b" * 64 + ".com", "a part of the domain is longer than 63 characters"),
        ("a@" + "b." * 130 + "com", "the domain is longer than 253 characters"),
        ("local@" + "b." * 123 + "com", "it is longer than 254 characters"),
        ("a" * 1001, "it is much too long"),
    ],
)
def test_what_is_no_address_is_refused_in_few_words(written: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        email_address(written)
    assert refusal(caught.value) == f"email: not an email address: {problem}"


address_like = st.text(st.sampled_from("aZ09.-_+@'!{}äßع") | st.characters(), max_size=30)
dotted = st.lists(st.text("abcXYZ019-äxn_", max_size=8), min_size=1, max_size=5).map(".".join)


def by_the_library(text: str) -> str | None:
    """The address in email-validator's opinion, with the local part as written; None when it refuses."""
    try:
        found = email_validator.validate_email(
            text, strict=True, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except (email_validator.EmailNotValidError, ValueError):
        return None
    return f"{text.rpartition('@')[0]}@{found.ascii_domain.lower()}"


@given(st.builds("{}@{}".format, dotted, dotted))
@example("a@b.c")
@example("a@ab--c.com")
@example("a@b-.com")
@example("a@x.c0m")
def test_the_short_way_agrees_with_the_library(text: str) -> None:
    """Most addresses take a regular expression instead of email-validator; the answer must be the same."""
    local, _, domain = text.rpartition("@")
    plain = addresses._LOCAL.fullmatch(local) and addresses._plain_domain(domain)
    library = by_the_library(text)
    try:
        ours = email_address(text)[0]
    except BadInput:
        ours = None
    if library is None and text.lower().endswith((".local", ".invalid")):
        return  # let through on purpose
    assert ours == library
    if plain and len(local) <= 64:
        assert ours is not None


@given(address_like)
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    try:
        address, key = email_address(text)
    except BadInput as error:
        quoted = len(text) > 5 and "@" in text and text in str(error)  # a shorter one may be in its words
        assert not quoted
        return
    assert address.isascii()
    assert address.isprintable()
    assert len(address) <= 254
    assert email_address(address) == (address, key)
    assert email_address(key) == (key, key)


# --- phone ---


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+14155552671", None, "+14155552671"),
        (" +1 (415) 555-2671 ", None, "+14155552671"),
        ("+1\u00a0415\u2011555\u20112671", None, "+14155552671"),
        ("4155552671", "US", "+14155552671"),
        ("0151/23456789", "de", "+4915123456789"),
        ("+49 (0)151 23456789", None, "+4915123456789"),
        ("+18765550123", None, "+18765550123"),  # Jamaica shares +1
        ("+15005550006", None, "+15005550006"),  # the number Twilio gives for tests
        ("+447911123456", "US", "+447911123456"),  # a country code wins over the region
        ("1701234567.0", "DE", "+491701234567"),  # as it comes out of a float
        ("+491721234568.00", None, "+491721234568"),
        ("1701234567,0", "DE", "+491701234567"),
        ("1701234567.000000", "DE", "+491701234567"),
        ("+49 170 1234567.0", None, "+491701234567"),
        ("415.555.2671", "US", "+14155552671"),
        ("4915123456789", "DE", "+4915123456789"),  # only the plus sign is missing
        ("4915123456789.0", "DE", "+4915123456789"),
        ("393123456789", "IT", "+393123456789"),
        ("3912345678", "IT", "+393912345678"),  # a mobile number that begins as the country code does
        ("'0151 23456789", "DE", "+4915123456789"),  # marked as text
        ('="0151 23456789"', "DE", "+4915123456789"),
        ("06.12.34.56.78", "FR", "+33612345678"),
    ],
)
def test_a_number_is_kept_as_e164(written: str, region: str | None, number: str) -> None:
    assert phone_number(written, region) == number


@pytest.mark.parametrize(
    ("written", "region", "words"),
    [
        ("", None, "it is empty"),
        ("+14155552671\n", None, "control character"),
        ("\u202a+14155552671", None, "invisible"),
        ("+1415555267\u0967", None, "only digits"),  # a Devanagari digit
        ("\uff0b14155552671", None, "only digits"),  # a fullwidth plus
        ("++14155552671", None, "only digits"),
        ("4155552671", None, "no country code"),
        ("+15555555555", None, "has no such number"),
        ("911", "US", "it is too short for that country"),
        ("+1911", None, "it is too short for that country"),
        ("+19005551234", None, "a premium-rate number cannot receive text messages"),
        ("+18005551234", None, "a toll-free number cannot receive text messages"),
        ("+493012345678", None, "a landline cannot receive text messages"),
        ("+14155552671;ext=5", None, "extensions"),
        ("1701234567.5", "DE", "decimals"),
        ("170123456.07", "DE", "decimals"),
        ("4.4E+11", None, "rounded"),
        ("4,91701E+12", "DE", "rounded"),
        ("4.915112345678e12", "DE", "rounded"),
        ("1-800-FLOWERS", "US", "letters"),
        ("+999999999999999", None, "no country has that country code"),
        ("-", None, "no digit in it"),
        ("call me", "DE", "no digit in it"),
        ("0", "DE", "it is too short"),
        ("+1415555", None, "it is too short for that country"),
        ("+141555526711", None, "it is too long for that country"),
        ("0049 151 23456789", None, r"write \+ in place of 00"),
        ("tel:+14155552671", None, 'leave out "tel:"'),
        ("+14155552671 / +14155552672", None, "one number per row"),
        ("0151 23456789, 0152 3456789", "DE", "one number per row"),
        ("0151 23456789 oder 0152 3456789", "DE", "one number per row"),
        ("+" + "1" * 60, None, "too long"),
    ],
)
def test_a_number_that_cannot_get_a_text_is_refused(written: str, region: str | None, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        phone_number(written, region)
    assert refusal(caught.value).startswith("phone: ")


def test_a_region_that_is_no_country_is_named() -> None:
    with pytest.raises(BadInput, match="two-letter country code") as caught:
        phone_number("4155552671", "XX")
    assert refusal(caught.value).startswith("region: ")


@given(
    st.text(st.sampled_from("+0123456789 ()-./") | st.characters(), max_size=25),
    st.sampled_from([None, "US", "DE"]),
)
def test_any_text_is_a_number_or_bad_input(text: str, region: str | None) -> None:
    try:
        number = phone_number(text, region)
    except BadInput:
        return
    assert number.startswith("+")
    assert number[1:].isascii()
    assert number[1:].isdigit()
    assert phone_number(number) == number


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.text("0123456789", min_size=4))
def test_a_number_without_a_kind_is_one_that_the_library_calls_invalid(region: str, digits: str) -> None:
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return
    has_kind = phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.UNKNOWN
    assert has_kind == phonenumbers.is_valid_number(number)


# --- rows ---


def test_a_row_becomes_a_contact_with_its_other_columns_as_fields() -> None:
    values = {
        "E-Mail": "Ann@Example.com",
        "phone": "+1 415 555 2671",
        "First Name": "Ann",
        "timezone": "europe/berlin",
        "city": "",
        "note": "   ",
        "plan": "pro\nplus",
    }
    assert read_row(7, values) == ContactRow(
        line=7,
        email="Ann@example.com",
        email_key="ann@example.com",
        phone="+14155552671",
        fields={
            "e_mail": "Ann@Example.com",
            "first_name": "Ann",
            "timezone": "Europe/Berlin",
            "plan": "pro\nplus",
        },
    )


def test_a_row_may_have_only_a_number() -> None:
    assert read_row(2, {"phone": "4155552671"}, region="us") == ContactRow(line=2, phone="+14155552671")


def test_a_cell_is_kept_as_it_is_whatever_a_spreadsheet_would_make_of_it() -> None:
    formula = "=cmd|' /C calc'!A0"
    row = read_row(1, {"email": "a@b.com", "x": formula, "y": "'" + formula, "z": " padded "})
    assert isinstance(row, ContactRow)
    assert row.fields == {"x": formula, "y": "'" + formula, "z": "padded"}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"first_name": "Ann"}, "email", "neither an email address nor a phone number"),
        ({"email": " ", "phone": ""}, "email", "neither an email address nor a phone number"),
        ({"email": "a@b"}, "email", "no dot in the domain"),
        ({"email": "a@b", "phone": "12"}, "email", "no dot in the domain"),
        ({"email": "", "phone": "12"}, "phone", "no country code"),
        ({"email": "a@b\0.com"}, "email", "NUL"),
        ({"email": "a@b.com", "Status": "unsubscribed"}, "status", "opted out"),
    ],
)
def test_a_row_without_a_usable_address_says_what_is_wrong_and_where(
    values: dict[str, str], field: str, words: str
) -> None:
    problem = read_row(9, values)
    assert isinstance(problem, RowProblem)
    assert (problem.line, problem.field) == (9, field)
    assert words in problem.problem


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"phone": "12"}, "phone", "no country code"),
        ({"phone": "n/a"}, "phone", "no digit in it"),
        ({"phone": "+49 30 901820"}, "phone", "a landline cannot receive text messages"),
        ({"phone": "+1 800 555 0100"}, "phone", "a toll-free number"),
        ({"timezone": "Mars/Olympus"}, "timezone", "not a time zone"),
        ({"timezone": "-"}, "timezone", "not a time zone"),
        ({"timezone": "Europe/Berln"}, "timezone", "did you mean Europe/Berlin?"),
        ({"timezone": "Berlin"}, "timezone", "did you mean Europe/Berlin?"),
        ({"birthday": "0/0/00"}, "birthday", "not a date"),
        ({"birthday": "31.31.1980"}, "birthday", "not a date"),
        ({"birthday": "31.02.1999"}, "birthday", "not a date"),
        ({"birthday": "1980-04-31"}, "birthday", "not a date"),
        ({"birthday": "1980"}, "birthday", "not a date"),
        ({"birthday": "44927.0"}, "birthday", "a spreadsheet's number for a date"),
        ({"birthday": "-"}, "birthday", "not a date"),
        ({"x": "a\0b"}, "x", "NUL"),
        ({"x": "a\ud800b"}, "x", "surrogate"),
        ({"x": "x" * 65_537}, "x", "64 KiB"),
        ({"x": "ü" * 32_769}, "x", "64 KiB"),
        ({"名": "x"}, "名", "only a-z"),
        ({"x": 5}, "x", "must be text"),
    ],
)
def test_a_cell_that_cannot_be_used_never_takes_the_address_with_it(
    values: dict[str, str], field: str, words: str
) -> None:
    row = read_row(9, {"email": "a@b.com", "first_name": "Ann", **values})
    assert isinstance(row, ContactRow)
    assert (row.email, row.phone, row.fields) == ("a@b.com", None, {"first_name": "Ann"})
    (dropped,) = row.dropped
    assert (dropped.line, dropped.field) == (9, field)
    assert words in dropped.problem
    assert dropped.problem.endswith("; left out")


def test_a_bad_email_never_takes_the_number_with_it() -> None:
    row = read_row(9, {"email": "ann@", "phone": "+14155552671"})
    assert isinstance(row, ContactRow)
    assert (row.email, row.email_key, row.phone) == (None, None, "+14155552671")
    assert [each.field for each in row.dropped] == ["email"]


@pytest.mark.parametrize(
    "birthday", ["1980-05-31", "31.05.1980", "5/31/1980", "05/31", "29.2.", "31 mai 1980"]
)
def test_a_birthday_is_kept_as_it_is_written(birthday: str) -> None:
    row = read_row(1, {"email": "a@b.com", "Geburtstag": birthday})
    assert isinstance(row, ContactRow)
    assert row.fields == {"geburtstag": birthday, "birthday": birthday}
    assert row.dropped == ()


def test_a_birthday_of_thousands_of_digits_is_left_out_and_stops_no_other_row() -> None:
    row = read_row(1, {"email": "a@b.com", "birthday": "1" * 5_000})
    assert isinstance(row, ContactRow)
    assert [each.field for each in row.dropped] == ["birthday"]


def test_more_fields_than_a_contact_can_have_are_left_out() -> None:
    row = read_row(1, {**{f"c{number}": "x" for number in range(1_001)}, "email": "a@b.com"})
    assert isinstance(row, ContactRow)
    assert (row.email, len(row.fields)) == ("a@b.com", 1_000)
    assert [(each.field, "1000 columns" in each.problem) for each in row.dropped] == [("c1000", True)]


@pytest.mark.parametrize("mark", [" ", "\u00a0", "\u200b", "\ufeff", "\u202a", "\u00ad", "\t", "\n"])
def test_what_is_invisible_around_a_cell_is_no_part_of_it(mark: str) -> None:
    row = read_row(1, {"email": f"{mark}a@b.com{mark}", "phone": f"{mark}+14155552671", "x": f"ö {mark}"})
    assert row == ContactRow(
        line=1, email="a@b.com", email_key="a@b.com", phone="+14155552671", fields={"x": "ö"}
    )


def test_a_recognised_column_keeps_its_own_name_beside_the_field() -> None:
    row = read_row(1, {"E-Mail-Adresse": "a@b.com", "Vorname": "Ann", "Имя": "Аня", "first": ""})
    assert isinstance(row, ContactRow)
    assert row.fields == {
        "e_mail_adresse": "a@b.com",
        "vorname": "Ann",
        "first_name": "Ann",
        "imya": "Аня",
    }


def test_of_several_columns_for_an_address_the_first_good_one_counts() -> None:
    values = {"E-mail Address": "", "E-mail 2 Address": "a@b.com", "Business Phone": "+1 415 555 2671"}
    row = read_row(1, {**values, "Mobile Phone": "+49 151 23456789", "Primary Phone": "+49 30 901820"})
    assert isinstance(row, ContactRow)
    assert (row.email, row.phone, row.dropped) == ("a@b.com", "+4915123456789", ())
    row = read_row(1, {**values, "Mobile Phone": "?", "Primary Phone": "+49 30 901820"})
    assert isinstance(row, ContactRow)
    assert row.phone == "+14155552671"
    assert [each.field for each in row.dropped] == ["phone", "phone"]


def test_google_writes_several_addresses_into_one_cell() -> None:
    row = read_row(1, {"E-mail 1 - Value": "a@b.com ::: c@d.com", "Phone 1 - Value": "+14155552671 ::: 12"})
    assert isinstance(row, ContactRow)
    assert (row.email, row.phone, row.dropped) == ("a@b.com", "+14155552671", ())
    row = read_row(1, {"E-mail 1 - Value": "a@ ::: c@d.com", "Phone 1 - Value": "12 ::: 3 ::: +14155552671"})
    assert isinstance(row, ContactRow)
    assert (row.email, row.phone, row.dropped) == ("c@d.com", "+14155552671", ())


def test_an_opt_out_is_heeded_in_a_second_column_of_the_name_and_beyond_the_fields_of_a_contact() -> None:
    header = ["email", "Status", *(f"c{number}" for number in range(1_000)), "status", "Unsubscribed"]
    uses = plan_columns(header)
    assert ["respected" in use.note for use in uses[-2:]] == [True, True]
    for use in uses[-2:]:
        cells = {each.key: "x" for each in uses if each.key}
        row = read_row(1, {**cells, "email": "a@b.com", "unsubscribed": "no", use.key: "unsubscribed"})
        assert isinstance(row, RowProblem)
        assert row.field == use.key
    many = {"email": "a@b.com", **{f"c{number}": "x" for number in range(1_001)}, "unsubscribed": "yes"}
    assert isinstance(read_row(1, many), RowProblem)


@pytest.mark.parametrize(
    ("column", "cell", "left"),
    [
        ("Status", "Unsubscribed", ""),
        ("Status", "cleaned", ""),
        ("Email Status", "Hard bounced", "phone"),
        ("Status", "subscribed", "email phone"),
        ("Status", "shipped", "email phone"),
        ("UNSUB_TIME", "2024-02-01 10:00:00", ""),
        ("Email Opt Out", "1", "phone"),
        ("Email Opt Out", "0", "email phone"),
        ("HasOptedOutOfEmail", "false", "email phone"),
        ("Opted out of email: Newsletter", "Yes", "phone"),
        ("Opted out of email: Newsletter", "", "email phone"),
        ("Unsubscribed from all email", "TRUE", "phone"),
        ("SMS_BLACKLISTED", "true", "email"),
        ("Abgemeldet", "ja", ""),
        ("Désinscrit", "oui", ""),
        ("Отписан", "да", ""),
        ("Отписан", "нет", "email phone"),
        ("Opted out", "0000-00-00 00:00:00", "email phone"),
        ("Unsubscribed", "subscribed", "email phone"),
        ("Unsubscribe", "https://example.com/u/1", "email phone"),
        ("Email Marketing Consent", "UNSUBSCRIBED", "phone"),
        ("Email Marketing Consent", "SUBSCRIBED", "email phone"),
        ("Marketing consent", "subscribed", "email phone"),
    ],
)
def test_who_opted_out_elsewhere_is_left_out(column: str, cell: str, left: str) -> None:
    row = read_row(1, {"email": "a@b.com", "phone": "+14155552671", column: cell})
    kept = row if isinstance(row, ContactRow) else None
    assert [kept and kept.email and "email", kept and kept.phone and "phone"] == [
        each if each in left.split() else None for each in ("email", "phone")
    ]
    if kept:
        assert bool(kept.dropped) == (left != "email phone")


def test_a_row_is_refused_for_its_opt_out_rather_than_for_its_bad_phone_number() -> None:
    row = read_row(1, {"email": "a@b.com", "phone": "12", "Abgemeldet": "ja"})
    assert isinstance(row, RowProblem)
    assert (row.field, row.problem) == (
        "abgemeldet",
        "says that the person opted out or cannot be reached",
    )
    row = read_row(1, {"email": "a@", "phone": "+14155552671", "SMS Opt Out": "yes"})
    assert isinstance(row, RowProblem)
    assert row.field == "email"


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("Accepts Email Marketing", "no"),
        ("Email Marketing: Status", "NOT_SUBSCRIBED"),
        ("Email Marketing Consent", "NEVER_SUBSCRIBED"),
    ],
)
def test_who_did_not_agree_to_marketing_is_said_and_imported(column: str, cell: str) -> None:
    row = read_row(1, {"email": "a@b.com", column: cell})
    assert isinstance(row, ContactRow)
    assert ["not agreed to marketing" in each.problem for each in row.dropped] == [True]


FLAWS = {
    "phone": ["", "n/a", "-", "+49 30 901820", "4.4E+11", "1701234567.5", "\u202a12"],
    "timezone": ["", "-", "Mars", "GMT+25"],
    "birthday": ["", "0/0/00", "99"],
    "E-mail 2 Address": ["", "x@", "a b@c.com"],
    "Opted out of email: News": ["", "no", "0"],
    "notes": ["", "a\0b", "a\ud800", "x" * 70_000, "\u200b"],
    "名": ["", "x"],
}


@given(st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in FLAWS.items()}))
def test_no_flaw_of_other_cells_takes_a_good_address(flaws: dict[str, str]) -> None:
    row = read_row(5, {**flaws, "email": "\u00a0Ann@B.com "}, region="DE")
    assert isinstance(row, ContactRow)
    assert (row.email, row.phone) == ("Ann@b.com", None)
    assert {each.line for each in row.dropped} <= {5}


# --- addresses to suppress ---


def test_every_address_of_a_row_is_found_whatever_kind_of_phone_it_is() -> None:
    values = {"Email Address": "Ann@B.com", "Phone Number": "030 901820", "Address": "1 Main St"}
    assert read_addresses(3, values, region="DE") == AddressRow(
        line=3, emails=("ann@b.com",), phones=("+4930901820",)
    )
    assert read_addresses(3, values, region="DE", only="email") == AddressRow(line=3, emails=("ann@b.com",))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"address": "a@b.com"}, AddressRow(line=1, emails=("a@b.com",))),
        ({"address": "+14155552671"}, AddressRow(line=1, phones=("+14155552671",))),
        ({"address": "a@b.com", "email": ""}, AddressRow(line=1, emails=("a@b.com",))),
        ({"address": "1 Main St", "email": "a@b.com"}, AddressRow(line=1, emails=("a@b.com",))),
    ],
)
def test_a_column_address_counts_by_its_look(values: dict[str, str], found: AddressRow) -> None:
    assert read_addresses(1, values) == found


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"address": "word"}, "address", "neither an email address nor a phone number"),
        ({"email": "", "address": "1 Main St"}, "email", "the row has neither"),
        ({"phone": "(415) 555-2671"}, "phone", "no country code"),
        ({"email": "a@b"}, "email", "no dot in the domain"),
    ],
)
def test_a_row_with_nothing_to_suppress_is_a_problem(values: dict[str, str], field: str, words: str) -> None:
    problem = read_addresses(1, values)
    assert isinstance(problem, RowProblem)
    assert problem.field == field
    assert words in problem.problem


def test_a_row_without_an_address_of_the_wanted_kind_says_which_kind() -> None:
    by_phone = read_addresses(1, {"email": "a@b.com"}, only="phone")
    by_email = read_addresses(1, {"phone": "+14155552671"}, only="email")
    assert by_phone == RowProblem(line=1, field="phone", problem="the row has no phone number")
    assert by_email == RowProblem(line=1, field="email", problem="the row has no email address")


def test_a_cell_of_64_kib_is_taken() -> None:
    assert isinstance(read_row(1, {"email": "a@b.com", "x": "ü" * 32_768}), ContactRow)


cells = (
    st.text(max_size=20)
    | st.none()
    | st.integers()
    | st.sampled_from(["a@b.com", "+14155552671", "UTC", "America"])
)
names = (
    st.text(max_size=10) | st.sampled_from(["email", "phone", "timezone", "E-Mail", "self"]) | st.integers()
)


@given(st.dictionaries(names, cells, max_size=6), st.none() | st.just("US"))
def test_any_row_is_a_contact_or_a_problem(values: dict[str, str], region: str | None) -> None:
    row = read_row(1, values, region=region)
    if isinstance(row, RowProblem):
        for value in values.values():
            if isinstance(value, str) and "@" in value and len(value) > 3:
                assert value not in row.problem
    else:
        assert row.email or row.phone
        assert (row.email is None) == (row.email_key is None)
        again = {**row.fields, "email": row.email or "", "phone": row.phone or ""}
        assert read_row(1, again, region=region) == msgspec.structs.replace(row, dropped=())
