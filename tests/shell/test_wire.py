"""JSON-RPC 2.0 envelopes and parameters: the specification's own examples, and what others get wrong."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd import errors
from hubd.control.methods import METHODS
from hubd.errors import BadConfig, BadInput, BadTemplate, Conflict, HubError, InvalidTransition, NotFound
from hubd.wire import MAX_BATCH, MAX_DEPTH, Batch, Rejected, Request, dump, error_object, parse, to_exception
from hubd.wire.campaign_params import CampaignAttach, CampaignRetry, CampaignStart
from hubd.wire.contact_params import ContactsImport, ImportRow
from hubd.wire.event_params import EventsSubscribe
from hubd.wire.message_params import DeliveryId
from hubd.wire.params import Params
from hubd.wire.reading import SHORT, read_message, read_params
from hubd.wire.registry import CLASS_NUMBERS
from hubd.wire.shapes import shape_faults


def code_of(parsed: object) -> tuple[int, object]:
    assert isinstance(parsed, Rejected), parsed
    error: Any = parsed.response["error"]
    assert parsed.response["jsonrpc"] == "2.0"
    return error["code"], parsed.response["id"]


# -- the specification's own examples ----------------------------------------------------------------------


def test_call_by_position_and_by_name() -> None:
    assert parse('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}') == Request(
        method="subtract", params=[42, 23], id=1
    )
    named = parse('{"jsonrpc": "2.0", "method": "subtract", "params": {"a": 1}, "id": "3"}')
    assert named == Request(method="subtract", params={"a": 1}, id="3")


def test_without_id_member_is_a_notification() -> None:
    parsed = parse('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}')
    assert isinstance(parsed, Request)
    assert parsed.notification


def test_null_id_is_a_request() -> None:
    parsed = parse('{"jsonrpc": "2.0", "method": "update", "id": null}')
    assert parsed == Request(method="update", id=None)
    assert not parsed.notification


def test_invalid_json_is_a_parse_error_with_null_id() -> None:
    assert code_of(parse('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')) == (-32700, None)
    assert code_of(parse('[{"jsonrpc": "2.0", "method": "sum", "id": "1"}, {"jsonrpc"')) == (-32700, None)


def test_invalid_request_object() -> None:
    assert code_of(parse('{"jsonrpc": "2.0", "method": 1, "params": "bar"}')) == (-32600, None)


def test_empty_array_is_one_invalid_request() -> None:
    assert code_of(parse("[]")) == (-32600, None)


def test_invalid_batch_members_are_each_answered() -> None:
    parsed = parse("[1,2,3]")
    assert isinstance(parsed, Batch)
    assert [code_of(member) for member in parsed.members] == [(-32600, None)] * 3


def test_mixed_batch() -> None:
    parsed = parse(
        '[{"jsonrpc":"2.0","method":"sum","params":[1],"id":"1"},{"jsonrpc":"2.0","method":"note","params":[7]},'
        '{"foo":"boo"},{"jsonrpc":"2.0","method":"get_data","id":"9"}]'
    )
    assert isinstance(parsed, Batch)
    kinds = [type(member) for member in parsed.members]
    assert kinds == [Request, Request, Rejected, Request]


# -- the corners -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 1.5, "1", "", -7, 2**70])
def test_id_is_echoed_with_its_type(number: object) -> None:
    parsed = parse(json.dumps({"jsonrpc": "2.0", "method": "x", "id": number}))
    assert isinstance(parsed, Request)
    assert type(parsed.id) is type(number)
    assert parsed.id == number


@pytest.mark.parametrize("text", ["true", "[1]", '{"a":1}', "1e999", "-1e999"])
def test_id_of_a_wrong_type_is_refused(text: str) -> None:
    assert code_of(parse('{"jsonrpc":"2.0","method":"x","id":' + text + "}")) == (-32600, None)


def test_invalid_request_keeps_an_id_that_can_be_read() -> None:
    assert code_of(parse('{"jsonrpc":"1.0","method":"x","id":5}')) == (-32600, 5)
    assert code_of(parse('{"jsonrpc":"2.0","method":null,"id":"a"}')) == (-32600, "a")


def test_unknown_members_are_ignored() -> None:
    assert parse('{"jsonrpc":"2.0","method":"x","id":1,"trace":true}') == Request(method="x", id=1)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_literals_that_are_not_json(text: str) -> None:
    assert code_of(parse('{"jsonrpc":"2.0","method":"x","id":1,"params":[' + text + "]}")) == (-32700, None)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\ufeff{}", "", "\x00"])
def test_text_that_breaks_naive_parsers(text: str) -> None:
    assert code_of(parse(text)) == (-32700, None)


def test_same_key_twice_is_refused() -> None:
    assert code_of(parse('{"jsonrpc":"2.0","method":"a","method":"b","id":1}')) == (-32600, None)
    assert code_of(parse('{"jsonrpc":"2.0","method":"a","params":{"x":1,"x":2},"id":1}')) == (-32600, None)


def test_depth_is_bounded() -> None:
    assert isinstance(parse("[" * MAX_DEPTH + "]" * MAX_DEPTH), Batch)
    deep = MAX_DEPTH + 1
    assert code_of(parse("[" * deep + "]" * deep)) == (-32700, None)


def test_batch_over_the_limit_is_refused_whole() -> None:
    member = '{"jsonrpc":"2.0","method":"x","id":1}'
    assert isinstance(parse(f"[{','.join([member] * MAX_BATCH)}]"), Batch)
    assert code_of(parse(f"[{','.join([member] * (MAX_BATCH + 1))}]")) == (-32600, None)


@given(st.text())
def test_any_text_gives_a_value(text: str) -> None:
    assert isinstance(parse(text), Request | Batch | Rejected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | JSON,
            "method": st.sampled_from(["hub.status", "x"]) | JSON,
            "params": JSON,
            "id": JSON,
        },
    )
)
def test_any_object_gives_a_request_or_a_sendable_answer(value: dict[str, object]) -> None:
    parsed = parse(json.dumps(value))
    if isinstance(parsed, Rejected):
        assert json.loads(dump(parsed.response))["error"]["code"] == -32600
    else:
        assert isinstance(parsed, Request)
        assert parsed.notification is ("id" not in value)


def test_dump_is_ascii_and_refuses_what_json_cannot_hold() -> None:
    assert dump({"a": "é\ud800"}) == '{"a":"\\u00e9\\ud800"}'
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            dump(value)


# -- parameters --------------------------------------------------------------------------------------------


def faults(kind: type[Params], value: object) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        read_params(kind, value)
    listed: Any = caught.value.data["errors"]
    return {fault["path"]: fault["problem"] for fault in listed}


def test_by_name_and_by_position_are_the_same() -> None:
    named = read_params(CampaignRetry, {"name": "x", "class": "all"})
    assert named == read_params(CampaignRetry, ["x", "all"])
    assert named.class_ == "all"


def test_unknown_and_missing_are_told_at_once_with_the_nearest_name() -> None:
    found = faults(CampaignStart, {"nam": "x", "limits": 3})
    assert found["name"] == "missing"
    assert "did you mean name?" in found["nam"]
    assert "did you mean limit?" in found["limits"]


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        ContactsImport,
        {"list": "", "rows": [{"line": -1, "values": {"email": 5}}, 7], "nam": 1, "dry_run": "no"},
    )
    assert found == {
        "list": "must not be empty",
        "rows[0].line": "must be at least 0",
        "rows[0].values.email": "must be text, not a whole number",
        "rows[1]": "must be an object, not a whole number",
        "import_id": "missing",
        "nam": "unknown parameter",
        "dry_run": "must be true or false, not text",
    }


KINDS = sorted({method.params for method in METHODS.values()}, key=lambda kind: kind.__name__)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "all", "email", "x" * 70, "x" * 600, "0" * 64]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["line", "values", "name", "version", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(KINDS), st.data())
def test_a_fault_is_told_exactly_if_the_converter_refuses(kind: type[Params], data: st.DataObject) -> None:
    names = st.sampled_from([*kind.__struct_encode_fields__, "odd"])
    value = data.draw(st.dictionaries(names, values, max_size=6))
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        assert list(shape_faults(kind, value))
    else:
        assert not list(shape_faults(kind, value))


def test_wrong_type_has_a_path() -> None:
    rows = [{"line": 2, "values": {"email": "a@b.example"}}, {"line": "3", "values": {}}]
    found = faults(ContactsImport, {"list": "l", "import_id": "i", "rows": rows})
    assert found == {"rows[1].line": "must be a whole number, not text"}


@pytest.mark.parametrize("value", ["x", 1, None, True])
def test_params_that_are_no_structure(value: object) -> None:
    assert "params" in faults(Params, value)


def test_too_many_positions() -> None:
    assert faults(DeliveryId, [1, 2]) == {"[1]": "takes at most 1 parameters, not 2"}


@pytest.mark.parametrize("number", [2**63, -(2**63), 2**53 + 1, 10**400])
def test_integers_no_reader_keeps(number: int) -> None:
    assert faults(DeliveryId, {"id": number}) == {"id": "is too large a number"}


@pytest.mark.parametrize("value", [True, 1.0, "1", None, math.inf])
def test_a_number_is_a_number(value: object) -> None:
    assert set(faults(DeliveryId, {"id": value})) == {"id"}


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff x"])
def test_strings_that_no_database_holds(text: str) -> None:
    assert set(faults(CampaignStart, {"name": text})) == {"name"}
    assert set(faults(CampaignStart, {"name": "x", "accept_risk": ["ok", text]})) == {"accept_risk[1]"}
    rows = [{"line": 2, "values": {text: "x"}}]
    assert faults(ContactsImport, {"list": "l", "import_id": "i", "rows": rows})


@pytest.mark.parametrize(
    ("kind", "value", "path", "words"),
    [
        (CampaignStart, {"name": ""}, "name", "must not be empty"),
        (CampaignStart, {"name": "x" * 65}, "name", "has more than 64 characters"),
        (CampaignStart, {"name": 5}, "name", "must be text, not a whole number"),
        (CampaignStart, {"name": "x", "at": 5}, "at", "must be text or null, not a whole number"),
        (CampaignStart, {"name": "x", "limit": 0}, "limit", "must be at least 1"),
        (CampaignStart, {"name": "x\ud800"}, "name", "contains an invalid character"),
        (CampaignRetry, {"name": "x", "class": "odd"}, "class", "must be one of all, permanent, transient"),
        (EventsSubscribe, {"topics": []}, "topics", "must not be empty"),
        (EventsSubscribe, {"topics": ["x"] * 65}, "topics", "has more than 64 entries"),
        (EventsSubscribe, {"topics": ["*"], "gauge_hz": 21}, "gauge_hz", "must be at most 20"),
        (
            EventsSubscribe,
            {"topics": ["*"], "after": 1},
            "after",
            "must be an object or null, not a whole number",
        ),
        (
            CampaignAttach,
            {"sha256": "no", "offset": 0, "data": "", "size": 1},
            "sha256",
            "does not have the required form",
        ),
    ],
)
def test_faults_are_told_in_peoples_words(
    kind: type[Params], value: dict[str, object], path: str, words: str
) -> None:
    assert faults(kind, value) == {path: words}


def test_rates_and_lengths_are_bounded() -> None:
    assert "topics" in faults(EventsSubscribe, {"topics": []})
    assert "gauge_hz" in faults(EventsSubscribe, {"topics": ["*"], "gauge_hz": 1e6})


@given(JSON)
def test_any_json_is_params_or_bad_input(value: object) -> None:
    for kind in (CampaignStart, ContactsImport, EventsSubscribe, DeliveryId):
        try:
            read_params(kind, value)
        except BadInput as error:
            dump(error_object(error))


# -- the short way for the rows of an import ---------------------------------------------------------------

CELL = st.sampled_from(["a@b.example", "Zoë", "", "\0", "\ud800", '":', " :", "[]", "\u2028", "10:30", "\\"])
ROW = st.fixed_dictionaries(
    {
        "line": st.sampled_from([2, 3, 2**53, 2**53 + 1, -1, 2.0, 2.5, "2", None, True]) | st.just(4),
        "values": st.dictionaries(CELL | st.just("email"), CELL | st.just("x") | st.just(5), max_size=3),
    },
    optional={"odd": st.just(1)},
)
#: What is replaced in the text of a request that is right otherwise, and by what.
DAMAGE = st.sampled_from(
    [
        ("", ""),
        ('"line"', '"values":{},"line"'),
        ('"line"', '"line" :2,"line"'),
        ('"line"', '"\\u006cine"\t'),
        ('"email"', '"email"\n:"x","email"\r'),
        ('"rows"', '"rows":[],"rows"'),
        ('"params"', '"params":{"rows":[{"line":2,"values":{}}]},"params"'),
        ('"id"', '"trace":[{"line":2,"values":{}}],"id"'),
        ('"id"', '"deep":' + "[" * 40 + "]" * 40 + ',"id"'),
        ('"id"', '"deep":' + "[" * 100_000 + ',"id"'),
        ("contacts.import", "campaign.start"),
        ('{"jsonrpc"', '[{"jsonrpc"'),
        ("}}]", "}},]"),
    ]
)


def all_of_it(request: Request | Batch | Rejected) -> object:
    """What comes of a message that should be an import: its parameters, or every fault."""
    if not isinstance(request, Request):
        return request
    try:
        params: object = read_params(ContactsImport, request.params)
    except BadInput as error:
        params = error.data["errors"]
    return request.method, request.id, request.notification, params


@given(st.lists(ROW, max_size=3), DAMAGE, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_the_short_way_reads_what_the_long_way_reads(
    rows: list[dict[str, object]], damage: tuple[str, str], separators: tuple[str, str], ascii_only: bool
) -> None:
    params = {"list": "l", "rows": rows, "import_id": "i"}
    request = {"jsonrpc": "2.0", "id": 7, "method": "contacts.import", "params": params}
    text = json.dumps(request, separators=separators, ensure_ascii=ascii_only).replace(*damage, 1)
    text += " " * SHORT
    assert all_of_it(read_message(text)) == all_of_it(parse(text))


def test_the_short_way_is_taken_for_a_page_of_an_import() -> None:
    rows: list[Any] = [
        {"line": line, "values": {"email": f"{line}@b.example", "at": "10:30"}} for line in range(500)
    ]
    params = {"list": "l", "rows": rows, "import_id": "i"}
    request = read_message(dump({"jsonrpc": "2.0", "id": 7, "method": "contacts.import", "params": params}))
    assert isinstance(request, Request)
    assert isinstance(request.params, dict)
    assert request.params["rows"] == [ImportRow(**row) for row in rows]


# -- errors ------------------------------------------------------------------------------------------------


def every_error() -> list[type[HubError]]:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    return [cls for cls in classes if issubclass(cls, HubError)]


@pytest.mark.parametrize("cls", every_error())
def test_every_error_comes_back_as_its_class(cls: type[HubError]) -> None:
    error = cls("what happened", hint="what to do")
    back = to_exception(json.loads(dump(error_object(error))))
    if cls in (*CLASS_NUMBERS, BadTemplate, BadConfig):
        assert type(back) is cls
    assert (str(back), back.code, back.hint) == ("what happened", cls.code, "what to do")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (BadInput.at("a", "b"), -32602),
        (BadTemplate("x", code="missing_field"), -32602),
        (NotFound("x", code="list_not_found"), 1001),
        (InvalidTransition("x"), 1002),
        (Conflict("x"), 1003),
        (HubError("x", code="overloaded"), -32005),
        (HubError("x", code="method_not_found"), -32601),
        (HubError("x"), 1000),
    ],
)
def test_numbers(error: HubError, number: int) -> None:
    made: Any = error_object(error)
    assert made["code"] == number
    assert {"code", "retryable", "hint"} <= set(made["data"])


def test_particulars_travel() -> None:
    error = InvalidTransition("no", data={"from": "draft", "requested": "pause", "allowed": ["start"]})
    back = to_exception(json.loads(dump(error_object(error))))
    assert back.data["from"] == "draft"


@given(st.dictionaries(st.sampled_from(["code", "message", "data"]), JSON))
def test_an_odd_error_object_is_still_an_error(value: dict[str, object]) -> None:
    assert isinstance(to_exception(value), HubError)
