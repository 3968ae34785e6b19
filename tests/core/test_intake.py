"""Contacts as people hand them in: what is taken, in which form, and what is refused with which words."""

from __future__ import annotations

import email_validator
import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubd.core import addresses
from hubd.core.intake import (
    ContactRow,
    RowProblem,
    check_columns,
    email_address,
    phone_number,
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
        ("user@127.0.0.1", "the domain has no valid ending"),
        ('"a b"@x.com', "a quoted part before the @ is not supported"),
        ("a b@x.com", "there is a space in it"),
        ("user@example.com\r\nBcc: x@y.z", "it contains an invisible or control character"),
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
        ("a@b.com,c@d.com", "one address per row; put a second one in its own row"),
        ("a@b.com; c@d.com", "one address per row; put a second one in its own row"),
        ("a@b@c.com", "one address per row; put a second one in its own row"),
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
        ("a@b.com.", "the domain ends in a dot or a hyphen"),
        ("a@b_c.com", "a character in the domain that is not allowed"),
        ("a@xn--zz.com", "the domain is not a valid international name"),
        ("a@" + "b" * 64 + ".com", "a part of the domain is longer than 63 characters"),
        ("a@" + "b." * 130 + "com", "the domain is longer than 253 characters"),
        ("local@" + "b." * 123 + "com", "it is longer than 254 characters"),
        ("a" * 1001, "it is far too long"),
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
        quoted = len(text) > 2 and text in str(error)
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
    ],
)
def test_a_number_is_kept_as_e164(written: str, region: str | None, number: str) -> None:
    assert phone_number(written, region) == number


@pytest.mark.parametrize(
    ("written", "region", "words"),
    [
        ("", None, "it is empty"),
        ("+14155552671\n", None, "only digits"),
        ("\u202a+14155552671", None, "only digits"),
        ("+1415555267\u0967", None, "only digits"),  # a Devanagari digit
        ("\uff0b14155552671", None, "only digits"),  # a fullwidth plus
        ("++14155552671", None, "only digits"),
        ("4155552671", None, "no country code"),
        ("+15555555555", None, "has no such number"),
        ("911", "US", "has no such number"),
        ("+1911", None, "has no such number"),
        ("+19005551234", None, "a premium-rate number cannot receive text messages"),
        ("+18005551234", None, "a toll-free number cannot receive text messages"),
        ("+493012345678", None, "a landline cannot receive text messages"),
        ("+14155552671;ext=5", None, "extensions"),
        ("1-800-FLOWERS", "US", "letters"),
        ("+999999999999999", None, "no country uses such numbers"),
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


# --- columns ---


def test_columns_are_known_by_their_usual_names() -> None:
    columns = [
        "\ufeffE-Mail",
        "First Name",
        "Nachname",
        "Téléphone",
        "Time Zone",
        "Straße",
        "Order-No",
        "plan",
    ]
    assert check_columns(columns) == {
        "\ufeffE-Mail": "email",
        "First Name": "first_name",
        "Nachname": "last_name",
        "Téléphone": "phone",
        "Time Zone": "timezone",
        "Straße": "strasse",
        "Order-No": "order_no",
        "plan": "plan",
    }


@pytest.mark.parametrize(
    ("columns", "path", "words"),
    [
        (["email", "email"], "email", "means email"),
        (["Mail", "E-Mail"], "E-Mail", "means email like Mail"),
        (["email", "Phone", "Mobile"], "Mobile", "means phone like Phone"),
        (["name", "city"], "columns", "neither an email nor a phone column"),
        (["emial"], "columns", "is it emial?"),
        ([], "columns", "neither an email nor a phone column"),
        (["email", ""], "column 2", "no name"),
        (["email", "__class__"], "__class__", "underscore"),
        (["email", "_x"], "_x", "underscore"),
        (["email", "self"], "self", "reserved"),
        (["email", "loop"], "loop", "reserved"),
        (["email", "Contact ID"], "Contact ID", "reserved"),
        (["email", "unsubscribe_url"], "unsubscribe_url", "reserved"),
        (["email", "1st"], "1st", "starts with a letter"),
        (["email", "имя"], "имя", "only a-z"),
        (["email", "x" * 65], "x" * 64 + "...", "longer than 64"),
        (["email", "a\x1b[2J"], '"a\\u001b[2J"', "only a-z"),
        ([f"c{number}" for number in range(10_000)], "columns", "10000 columns; at most 200"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(columns: list[str], path: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_columns(columns)
    assert refusal(caught.value).startswith(f"{path}: ")
    assert words in refusal(caught.value)


def test_all_bad_columns_are_named_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        check_columns(["self", "1st", "email"])
    assert [fault["path"] for fault in caught.value.data["errors"]] == ["self", "1st"]  # type: ignore[attr-defined]


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
        fields={"first_name": "Ann", "timezone": "Europe/Berlin", "plan": "pro\nplus"},
    )


def test_a_row_may_have_only_a_number() -> None:
    assert read_row(2, {"phone": "4155552671"}, region="us") == ContactRow(line=2, phone="+14155552671")


def test_a_cell_is_kept_as_it_is_whatever_a_spreadsheet_would_make_of_it() -> None:
    formula = "=cmd|' /C calc'!A0"
    row = read_row(1, {"email": "a@b.com", "x": formula, "y": "'" + formula, "z": " padded "})
    assert isinstance(row, ContactRow)
    assert row.fields == {"x": formula, "y": "'" + formula, "z": " padded "}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"first_name": "Ann"}, "email", "neither an email address nor a phone number"),
        ({"email": " ", "phone": ""}, "email", "neither an email address nor a phone number"),
        ({"email": "a@b"}, "email", "no dot in the domain"),
        ({"email": "a@b.com", "phone": "12"}, "phone", "no country code"),
        ({"email": "a@b.com", "timezone": "Mars/Olympus"}, "timezone", "not a time zone"),
        ({"email": "a@b.com", "timezone": "Berlin"}, "timezone", "did you mean Europe/Berlin?"),
        ({"email": "a@b.com", "x": "a\0b"}, "x", "NUL"),
        ({"email": "a@b.com", "x": "a\ud800b"}, "x", "surrogate"),
        ({"email": "a@b.com", "x": "x" * 65_537}, "x", "64 KiB"),
        ({"email": "a@b.com", "x": "ü" * 32_769}, "x", "64 KiB"),
        ({"email": "a@b.com", "__class__": "x"}, "__class__", "underscore"),
        ({"email": "a@b.com", "mail": "b@b.com"}, "email", "two columns"),
        ({"email": "a@b.com", "x": 5}, "x", "must be text"),
        ({f"c{number}": "x" for number in range(201)}, "row", "more than 200 columns"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_where(values: dict[str, str], field: str, words: str) -> None:
    problem = read_row(9, values)
    assert isinstance(problem, RowProblem)
    assert (problem.line, problem.field) == (9, field)
    assert words in problem.problem


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
        assert read_row(1, again) == row


@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["email", "e-mail", "Vorname"]) | st.none(), max_size=8)
)
def test_any_header_is_understood_or_bad_input(columns: list[str]) -> None:
    try:
        fields = check_columns(columns)
    except BadInput:
        return
    assert len(set(fields.values())) == len(columns)
    assert check_columns(fields.values()) == {name: name for name in fields.values()}
