"""Promise: a condition chooses whom people expect, and what it cannot decide is said and not guessed."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.changes import changed_keys, check_applicable
from hubd.core.condition import CannotCompare, Matching, compile_condition
from hubd.core.model import Campaign, CampaignState, Channel, Content
from hubd.core.preflight import Found, assess
from hubd.core.spec import CampaignSpec
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput, BadTemplate, Conflict

ANN = {
    "city": "Koeln",
    "orders": "10",
    "tags": "vip, gold",
    "since": "2026-02-03",
    "zip": "01234",
    "vip": "true",
}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("city == 'Koeln' and orders > 3", True),
        ('city == "Koeln" and orders > 30', False),
        ("city == 'Bonn' or orders >= 10", True),
        ("not (city == 'Bonn')", True),
        ("orders > 9", True),  # as text "10" would be less
        ("orders == 10", True),
        ("orders == 10.0", True),
        ("orders != 10", False),
        ("3 < orders <= 10", True),
        ("3 < orders < 10", False),
        ("30 < orders < city", False),  # the second is not asked
        ("(1 < orders < 20) == true", True),
        ("orders > '9'", True),  # both look like numbers
        ("orders in [1, 10]", True),
        ("orders is gt 3", True),
        ("orders is eq 10", True),
        ("-1 < orders", True),
        ("city in ['Bonn', 'Koeln']", True),
        ("city not in ['Bonn', 'Koeln']", False),
        ("'gold' in tags", True),
        ("'silver' not in tags", True),
        ("city | lower == 'koeln'", True),
        ("city | length == 5", True),
        ("since >= '2026-01-01'", True),
        ("since < '2026-01-01'", False),
        ("zip == '1234'", False),  # two texts are compared as texts
        ("zip == '01234'", True),
        ("city == 'koeln'", False),
        ("vip == true", True),
        ("vip != false", True),
        ("city == 10", False),
        ("city", True),
        ("country", False),
        ("country == ''", True),
        ("country != 'DE'", True),
        ("country == 'DE'", False),
        ("returns > 3", False),
        ("returns < 3", False),
        ("not (returns > 3)", True),
        ("country in tags", False),
        ("country not in tags", True),
        ("country | upper | default('DE') == ''", True),
        ("(country | upper) is defined", True),
        ("country | default(default_value=state) == ''", True),
        ("country is defined", False),
        ("country is undefined and city is defined", True),
        ("country | default('DE') == 'DE'", True),
        ("'yes' if city == 'Koeln' else ''", True),
        ("city == 'Koeln'\n and\n orders > 3", True),
    ],
)
def test_a_condition_means_what_people_expect(condition: str, holds: bool) -> None:
    assert compile_condition(condition).holds(ANN) is holds


@pytest.mark.parametrize("value", ["n/a", "1,5", "1.204,00", "10 000", "many", "0x10", "1e3", "--1", "1-2"])
def test_a_text_that_is_no_number_is_not_compared_with_one(value: str) -> None:
    condition = compile_condition("city == 'Koeln' and orders > 3")
    with pytest.raises(CannotCompare) as caught:
        condition.holds({"city": "Koeln", "orders": value})
    assert caught.value.fields == "orders"
    assert not condition.holds({"city": "Bonn", "orders": value}), "it need not be compared"
    assert not compile_condition("orders == 3").holds({"orders": value})


@given(left=st.decimals(-(10**9), 10**9, places=3), right=st.integers(-(10**9), 10**9))
def test_texts_of_numbers_are_ordered_as_numbers(left: Any, right: int) -> None:
    fields = {"a": str(left), "b": str(right)}
    assert compile_condition("a < b").holds(fields) is (float(left) < right)
    assert compile_condition(f"a >= {right}").holds(fields) is (float(left) >= right)
    assert compile_condition("a == b").holds(fields) is (str(left) == str(right))


@given(a=st.text(max_size=20), b=st.text(max_size=20))
def test_any_text_equals_itself_alone_and_is_compared_or_not(a: str, b: str) -> None:
    fields = {"a": a, "b": b}
    assert compile_condition("a == b").holds(fields) is (a == b)
    assert compile_condition("a != b").holds(fields) is (a != b)
    assert compile_condition("b in a").holds(fields) is (b != "" and b in a)
    for source in ("a < 3", "a | int > 3", "a > b"):
        with suppress(CannotCompare):
            assert compile_condition(source).holds(fields) in (True, False)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("city = 'Koeln'", "write == instead of ="),
        ("city == 'a' && x", "write and"),
        ("city == 'a' || x", "write or"),
        ("city == 'a' AND x", "lower case"),
        ("!city", "write not"),
        ("city <> 'a'", "write !="),
        ("{{ city }} == 'a'", "leave out the braces"),
        ("city like 'a'", "'part' in field"),
        ("city == 'a", "same quote that it begins with"),
        ("city ==", "ends too early"),
        ("city == 'a' orders", "'orders' is not expected there"),
        ("  ", "is empty"),
        ("'Koeln' == 'Koeln'", "names no field"),
        ("true", "names no field"),
        ("city.name == 'a'", "attribute 'name'"),
        ("city.upper() == 'A'", "calling upper()"),
        ("orders + 1 > 3", "arithmetic"),
        ("''.__class__", "attribute"),
        ("city | attr('x')", "the filter 'attr'"),
        ("_x == 'a'", "the name '_x'"),
        ("city == 'a'" + " or city == 'a'" * 200, "longer than"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_write(condition: str, words: str) -> None:
    with pytest.raises(BadTemplate, match=re.escape(words)):
        compile_condition(condition)
    with pytest.raises(BadInput) as caught:
        parse_spec({**FILE, "where": condition})
    assert caught.value.data["errors"][0]["path"] == "where"  # type: ignore[index]


@given(st.text(st.sampled_from("abc '\"=<>!()[]|&{}%.,+-*/~ 0123") | st.characters(), max_size=40))
def test_any_text_is_a_condition_or_is_refused(source: str) -> None:
    try:
        condition = compile_condition(source)
    except BadTemplate:
        return
    none: dict[str, str] = {}
    for fields in (none, {"a": "1", "b": "x", "c": ""}):
        with suppress(CannotCompare):
            assert condition.holds(fields) in (True, False)


NAMES = st.sampled_from(["a", "b", "missing"])
VALUES = st.one_of(
    NAMES,
    st.sampled_from(["'x'", "''", "'3'", "3", "-0.5", "true", "none", "['x', 3]"]),
    st.tuples(
        NAMES, st.sampled_from(["lower", "int", "float", "length", "trim", "default('x')", "round"])
    ).map(" | ".join),
)
COMPARISONS = st.one_of(
    VALUES.filter(lambda value: "[" not in value),
    st.tuples(
        VALUES.filter(lambda value: "[" not in value),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in", "is eq", "is gt"]),
        VALUES,
    ).map(" ".join),
    st.tuples(NAMES, st.sampled_from(["is defined", "is number", "is not none", "is upper"])).map(" ".join),
)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda each: "({} {} {})".format(*each)),
        inner.map("(not ({}))".format),
        st.tuples(inner, inner, inner).map(lambda each: "({} if {} else {})".format(*each)),
    ),
    max_leaves=6,
)
FIELD = st.sampled_from(["", "x", "3", "-0.5", "nan", "inf", "1e400", "9" * 400, "true"]) | st.text(
    max_size=8
)


@given(EXPRESSIONS, FIELD, FIELD)
def test_every_expression_has_a_result_or_none_and_its_negation_the_opposite(
    source: str, a: str, b: str
) -> None:
    try:
        condition, negated = compile_condition(source), compile_condition(f"not ({source})")
    except BadTemplate:
        return
    try:
        holds = condition.holds({"a": a, "b": b})
    except CannotCompare:
        with pytest.raises(CannotCompare):
            negated.holds({"a": a, "b": b})
        return
    assert negated.holds({"a": a, "b": b}) is not holds


def test_chains_within_chains_do_not_multiply() -> None:
    def size(depth: int) -> int:
        source = "a"
        for _ in range(depth):
            source = f"1 < ({source}) < 3"
        return len(compile_condition(source)._jinja.root_render_func.__code__.co_code)

    assert size(8) < 3 * size(4)


def test_a_field_too_long_for_a_condition_that_multiplies_it_is_said() -> None:
    condition = compile_condition("city | upper | upper | upper == 'A'")
    assert condition.holds({"city": "a"})
    with pytest.raises(CannotCompare, match="city"):
        condition.holds({"city": "a" * 500_000})


FILE: dict[str, Any] = {"name": "spring", "channel": "sms", "text": "Hi", "lists": ["customers"]}


def test_the_key_is_kept_and_cannot_change_once_the_audience_is_fixed() -> None:
    before, after = parse_spec(FILE), parse_spec({**FILE, "where": "city == 'Koeln'"})
    assert changed_keys(before, after) == ["where"]
    paused = Campaign(
        id=1,
        name="spring",
        channel=Channel.SMS,
        provider="outbox",
        state=CampaignState.PAUSED,
        reason="",
        revision=1,
        spec="",
        content_id=1,
        in_doubt=None,
        started_at=1.0,
    )
    with pytest.raises(Conflict, match="so where cannot change"):
        check_applicable(paused, before, after)
    check_applicable(paused, after, after)


SMS = Content(channel=Channel.SMS, text="Hi")


def found(**changes: Any) -> Found:
    matching = {"contacts": 5_000, "matched": 1_204, "not_comparable": {}, "absent": (), **changes}
    return Found(content=SMS, recipients=min(int(matching["matched"]), 1_204), matching=Matching(**matching))


def test_a_field_that_nobody_has_keeps_a_campaign_from_starting() -> None:
    (problem,) = assess(found(absent=("Koeln",))).problems
    assert problem.risk == "missing-fields"
    assert "no contact on its lists has" in problem.problem
    assert "'Koeln'" in problem.problem, "the quotes may be missing"
    (problem,) = assess(found(absent=("frist_name",), known=("email", "first_name"), matched=0)).problems
    assert "did you mean first_name?" in problem.problem


def test_contacts_that_cannot_be_compared_are_warned_of() -> None:
    warnings = assess(found(not_comparable={"orders": 12, "age": 1})).warnings
    assert [line for line in warnings if "12 contacts are skipped" in line and "(orders)" in line]
    assert [line for line in warnings if "1 contact is skipped" in line and "(age)" in line]


def test_a_condition_that_holds_for_nobody_says_so() -> None:
    (problem,) = assess(found(matched=0)).problems
    assert problem.problem == "where is true for none of the 5,000 contacts on its lists"


def test_without_the_key_a_spec_has_no_condition() -> None:
    assert parse_spec(FILE).where == CampaignSpec(name="a", channel=Channel.SMS).where == ""
