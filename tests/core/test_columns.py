"""Columns of a file: which field each fills, under which name it is kept, and that none refuses the file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.columns import MAX_FIELDS, plan_columns
from hubd.errors import BadInput


def fields(columns: list[str], **more: object) -> dict[str, tuple[str, str]]:
    """Column: the field it fills, and the one it is kept under."""
    return {use.column: (use.field, use.key) for use in plan_columns(columns, **more)}  # type: ignore[arg-type]


def test_columns_are_known_by_their_usual_names_and_keep_their_own() -> None:
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
    assert fields(columns) == {
        "\ufeffE-Mail": ("email", "e_mail"),
        "First Name": ("first_name", "first_name"),
        "Nachname": ("last_name", "nachname"),
        "Téléphone": ("phone", "telephone"),
        "Time Zone": ("timezone", "time_zone"),
        "Straße": ("strasse", "strasse"),
        "Order-No": ("order_no", "order_no"),
        "plan": ("plan", "plan"),
    }


@pytest.mark.parametrize(
    "header",
    [
        "E-mail Address,First Name,Last Name,Mobile Phone",  # Outlook
        "E-Mail-Adresse,Vorname,Nachname,Mobiltelefon",
        "Adresse de messagerie,Prénom,Nom,Tél. mobile",
        "Dirección de correo electrónico,Nombre,Apellidos,Móvil",
        "Адрес эл. почты,Имя,Фамилия,Телефон мобильный",
        "E-mail 1 - Value,Given Name,Family Name,Phone 1 - Value",  # Google
        "E-mail 1 - Value,First Name,Last Name,Phone 1 - Value",
        "Email Address,First Name,Last Name,Phone Number",  # Mailchimp
        "Adresse e-mail,Prénom,Nom,Numéro de téléphone",
        "Correo electrónico,Nombre,Apellido,Número de teléfono",
        "Адрес электронной почты,Имя,Фамилия,Номер телефона",
        "Email,First Name,Last Name,Mobile Phone Number",  # HubSpot
        "E-Mail,Vorname,Nachname,Mobiltelefonnummer",
        "Email,FirstName,LastName,MobilePhone",  # Salesforce
        "EMAIL,PRENOM,NOM,SMS",  # Brevo
        "EMAIL,FIRSTNAME,LASTNAME,SMS",
        "EMAIL,VORNAME,NACHNAME,SMS",
        "Email,First Name,Last Name,Default Address Phone",  # Shopify
        "Billing Email,Billing First Name,Billing Last Name,Billing Phone",  # WooCommerce
        "Электронная почта,Имя,Фамилия,Мобильный телефон",
        "e-mail,prénom,nom de famille,portable",
        "E-Mail,Vorname,Familienname,Handy-Nr.",
        "email,nombre,apellidos,teléfono móvil",
    ],
)
def test_headers_of_exports_are_recognised_in_five_languages(header: str) -> None:
    found = [use.field for use in plan_columns(header.split(","))]
    assert found == ["email", "first_name", "last_name", "phone"]


def test_of_several_columns_for_one_field_the_best_is_named_and_the_others_help_out() -> None:
    uses = plan_columns(["Business Phone", "E-mail 2 Address", "Mobile Phone", "E-mail Address", "Nom"])
    assert [use.field for use in uses] == [
        "business_phone",
        "e_mail_2_address",
        "phone",
        "email",
        "last_name",
    ]
    assert uses[0].note == "also phone, where Mobile Phone has none"
    assert uses[1].note == "also email, where E-mail Address has none"


@pytest.mark.parametrize(
    ("column", "key", "words"),
    [
        ("", "", "has no name"),
        ("   ", "", "has no name"),
        ("__class__", "class", "underscore"),
        ("self", "column_self", "reserved"),
        ("loop", "column_loop", "reserved"),
        ("Contact ID", "column_contact_id", "reserved"),
        ("1st", "column_1st", "starts with a letter"),
        ("Город", "gorod", ""),
        ("名前", "column_2", "only a-z"),
        ("???", "column_2", "only a-z"),
        ("What is your (real) name?", "what_is_your_real_name", "only a-z"),
        ("x" * 65, "x" * 64, "longer than 64"),
        ("y " * 4_000, "y_" * 31 + "y", "longer than 64"),
        ("a\x1b[2J", "a_2j", "only a-z"),
        ("+14155552671", "column_14155552671", "only a-z"),
        ("import_problem", "", "an earlier import added it"),
        ("EMAIL", "email_2", "another column email"),
    ],
)
def test_a_column_that_nobody_asked_for_is_renamed_or_left_out_and_that_is_said(
    column: str, key: str, words: str
) -> None:
    use = plan_columns(["email", column])[1]
    assert use.key == key
    assert words in use.note
    assert bool(use.note) == bool(words)


def test_columns_of_one_name_are_counted() -> None:
    found = [use.key for use in plan_columns(["email", "notes", "Notes", "notes", "notes_2"])]
    assert found == ["email", "notes", "notes_2", "notes_3", "notes_2_2"]


def test_columns_beyond_the_fields_of_a_contact_are_left_out_but_for_the_address() -> None:
    uses = plan_columns([*(f"c{number}" for number in range(2_000)), "Vorname", "email"])
    assert sum(use.key != "" for use in uses) == MAX_FIELDS + 2
    assert uses[-1].field == "email"
    assert "at most 1000" in uses[1_500].note


def test_maps_and_skips_win_over_names() -> None:
    columns = ["email", "Kontakt", "Telefon", "phone", "Vorname", "geheim"]
    uses = plan_columns(columns, maps={"Kontakt": "email", "Telefon": "phone"}, skip=["phone", "geheim"])
    assert [(use.field, use.key) for use in uses] == [
        ("email_2", "email_2"),
        ("email", "email"),
        ("phone", "phone"),
        ("", ""),
        ("first_name", "vorname"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ({"a": "self"}, "reserved"),
        ({"a": "__x"}, "underscore"),
        ({"a": "phone", "b": "Phone"}, "already mapped to phone"),
    ],
)
def test_a_map_to_what_is_no_field_is_refused(maps: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        plan_columns(["email", "a", "b"], maps=maps)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["name", "city"], "neither an email nor a phone column"),
        (["emial"], "is it emial?"),
        ([], "neither an email nor a phone column"),
        (["ann@example.com", "Ann"], "looks like a contact"),
        (["Ann", "+1 415 555 2671"], "looks like a contact"),
        (["a@" + "." * 60_000 + "@"], "neither an email nor a phone column"),  # a minute, if not linear
    ],
)
def test_a_header_without_an_address_is_refused(columns: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)):
        plan_columns(columns)


def test_addresses_to_suppress_may_be_in_a_column_of_that_name() -> None:
    assert plan_columns(["Address"], addresses=True)[0].field == "address"
    with pytest.raises(BadInput):
        plan_columns(["Address"])


def test_a_file_of_addresses_to_suppress_is_told_of_no_opt_out_that_is_heeded() -> None:
    assert plan_columns(["email", "Status"])[1].note == "respected: contacts that opted out are left out"
    assert plan_columns(["email", "Status"], addresses=True)[1].note == ""


@given(st.lists(st.text(max_size=12) | st.sampled_from(["email", "e-mail", "Vorname", "self"]), max_size=8))
def test_any_columns_are_taken_beside_an_address(columns: list[str]) -> None:
    uses = plan_columns([*columns, "phone"])
    keys = [use.key for use in uses if use.key]
    assert len(set(keys)) == len(keys)
    assert len(uses) == len(columns) + 1
    again = plan_columns(keys)
    assert [use.key for use in again] == keys
