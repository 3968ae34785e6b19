"""hubd.toml with files beside it: what counts, where it comes from, and how its faults are placed."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from hubd.config.file import HubConfig, load_config, parse_tcp
from hubd.config.layers import Layers, read_layers
from hubd.config.show import Option, Setting, settings
from hubd.core.warmup import Warmup
from hubd.errors import BadConfig, BadInput
from hubd.providers.outbox.settings import OutboxConfig
from hubd.providers.smtp.settings import SmtpConfig
from hubd.secrets import Place, SecretRef

CANARY = "s3cr3t-canary-7f"
OFFICE = """\
[providers.office]
type = "smtp"
preset = "gmail"
username = "me@acme.example"
password = { file = "office.pass" }
rate = ["30/minute", "10000/day"]
warmup = { start = "200/day", double_every = "2 days" }
"""


def write(folder: Path, **files: str) -> Path:
    """hubd.toml from `main`, and each other one beside it."""
    (folder / "hubd.toml.d").mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / "hubd.toml" if name == "main" else folder / "hubd.toml.d" / f"{name}.toml"
        path.write_text(text)
    return folder / "hubd.toml"


def refused(path: Path) -> list[tuple[str, str, int | None]]:
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    assert CANARY not in str(caught.value) + repr(caught.value.data)
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    return [(fault["path"], Path(fault["file"]).name, fault["line"]) for fault in listed]


def shown(config: HubConfig, options: dict[str, Option] | None = None) -> dict[str, Setting]:
    return {each.key: each for each in settings(config, options or {})}


def test_a_later_file_changes_single_keys_in_the_order_of_names(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        b20='[providers.office]\nrate = "2/s"\n',
        b10='[hub]\nlog_level = "error"\n[providers.office]\nrate = "1/s"\nconnections = 2\n',
        main='[hub]\nlog_level = "debug"\n' + OFFICE,
        new='[providers.more]\ntype = "outbox"\n',
    )
    config = load_config(path)
    assert config.log_level == "error"
    assert config.providers["more"] == OutboxConfig()
    assert config.providers["office"] == SmtpConfig(
        host="smtp.gmail.com",
        username="me@acme.example",
        password=SecretRef(Place.FILE, "office.pass"),
        connections=2,
        rate=("2/s",),
        warmup=Warmup(start=200, double_every=172_800.0),
    )
    assert config.folder == tmp_path
    assert [file.name for file in config.layers.files] == ["hubd.toml", "b10.toml", "b20.toml", "new.toml"]


def test_what_is_under_a_key_is_taken_whole(tmp_path: Path) -> None:
    path = write(tmp_path, main=OFFICE, a='[providers.office]\npassword = { env = "P" }\n')
    office = load_config(path).providers["office"]
    assert isinstance(office, SmtpConfig)
    assert office.password == SecretRef(Place.ENV, "P")


def test_other_names_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, main="")
    for name in (".hidden.toml", "a.toml.bak", "a.toml~", "README"):
        (tmp_path / "hubd.toml.d" / name).write_text("[no such")
    assert load_config(path) == HubConfig(folder=tmp_path)


def test_each_fault_is_placed_in_the_file_that_it_is_in(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main="[hub]\nloglevel = 1\n[providers.office]\ntype = 'smtp'\n",
        a="# a\n[providers.office]\nprot = 25\n",
        b=f"[providers.office]\n\npassword = '{CANARY}'\n[providers.text]\naccount_sid = 5\n",
    )
    assert refused(path) == [
        ("hub.loglevel", "hubd.toml", 2),
        ("providers.office.prot", "a.toml", 3),
        ("providers.office.password", "b.toml", 3),
        ("providers.office.host", "hubd.toml", 3),
        ("providers.text.type", "b.toml", 4),
    ]
    with pytest.raises(BadConfig, match=r"hubd\.toml, line 2: hub\.loglevel: unknown key"):
        load_config(path)


@pytest.mark.parametrize(
    ("main", "above", "key"),
    [
        ("hub = 5\n", '[hub]\nlog_level = "info"\n', "hub"),
        ('[hub]\nlog_level = "info"\n', "hub = 5\n", "hub"),
        ("providers = 5\n", OFFICE, "providers"),
        ("[providers]\noffice = 5\n", OFFICE, "providers.office"),
        (OFFICE, "[providers]\noffice = 5\n", "providers.office"),
    ],
)
def test_what_should_be_a_table_and_is_none_does_not_hide_behind_one(
    tmp_path: Path, main: str, above: str, key: str
) -> None:
    assert key in [fault[0] for fault in refused(write(tmp_path, main=main, a=above))]


def test_a_file_beside_it_that_cannot_be_read_refuses_all(tmp_path: Path) -> None:
    path = write(tmp_path, main=OFFICE, a="[hub\n")
    assert refused(path) == [("", "a.toml", 1)]
    write(tmp_path, a="")
    os.mkfifo(tmp_path / "hubd.toml.d" / "b.toml")
    assert refused(path) == [("", "b.toml", None)]
    (tmp_path / "hubd.toml.d" / "b.toml").unlink()
    (tmp_path / "hubd.toml.d" / "a.toml").unlink()
    (tmp_path / "hubd.toml.d").rmdir()
    (tmp_path / "hubd.toml.d").touch()
    assert refused(path) == [("", "hubd.toml.d", None)]


# -- where it comes from -----------------------------------------------------------------------------------


def test_every_value_knows_its_source(tmp_path: Path) -> None:
    path = write(tmp_path, main=OFFICE, a="[providers.office]\nport = 2525\n")
    found = shown(
        load_config(path),
        {
            "hub.log_level": Option(flag="--log-level", value="debug"),
            "hub.tcp": Option(flag="--tcp", value="127.0.0.1:0"),
        },
    )
    assert (found["hub.log_level"].value, found["hub.log_level"].flag) == ("debug", "--log-level")
    assert (found["hub.tcp"].value, found["hub.tcp"].source) == ("127.0.0.1:0", "option")
    placed = {
        key: (each.value, each.source, each.at.file.name if each.at else "", each.at.line if each.at else 0)
        for key, each in found.items()
        if key.startswith("providers.")
    }
    assert placed == {
        "providers.outbox.type": ("outbox", "default", "", 0),
        "providers.office.type": ("smtp", "file", "hubd.toml", 2),
        "providers.office.preset": ("gmail", "file", "hubd.toml", 3),
        "providers.office.host": ("smtp.gmail.com", "preset", "hubd.toml", 3),
        "providers.office.port": (2525, "file", "a.toml", 2),
        "providers.office.security": ("starttls", "default", "", 0),
        "providers.office.username": ("me@acme.example", "file", "hubd.toml", 4),
        "providers.office.password": ({"file": "office.pass"}, "file", "hubd.toml", 5),
        "providers.office.auth": ("password", "default", "", 0),
        "providers.office.pipelining": (True, "default", "", 0),
        "providers.office.dsn": (True, "default", "", 0),
        "providers.office.connections": (8, "default", "", 0),
        "providers.office.rate": (["30/minute", "10000/day"], "file", "hubd.toml", 6),
        "providers.office.warmup": ({"start": "200/day", "double_every": "2 days"}, "file", "hubd.toml", 7),
    }


def test_without_a_file_all_are_defaults() -> None:
    found = settings(HubConfig(), {})
    assert [(each.key, each.value, each.source) for each in found] == [
        ("hub.log_level", "info", "default"),
        ("providers.outbox.type", "outbox", "default"),
        ("bounces.soft_limit", 3, "default"),
        ("bounces.soft_days", 30, "default"),
    ]


names = st.sampled_from(["hub", "providers", "office", "rate", "log_level", "a.b", 'q"', ""])
leaves = st.integers(-9, 9) | st.sampled_from(["", "a", '"', "\n", "é"]) | st.booleans()
tables = st.dictionaries(names, leaves | st.lists(leaves, max_size=2), max_size=2)
values = leaves | tables | st.dictionaries(names, tables, max_size=2)


@settings_of_hypothesis(deadline=None)
@given(st.lists(st.dictionaries(names, values, max_size=4), min_size=1, max_size=3))
def test_any_layers_make_one_table_in_which_the_last_word_counts(
    tmp_path_factory: pytest.TempPathFactory, layers: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    texts = [toml(layer) for layer in layers]
    named = {"main" if not n else f"f{n}": text for n, text in enumerate(texts)}
    found: Layers = read_layers(write(folder, **named))
    for layer in layers:
        for key in layer:
            assert found.value(key) is not None
            assert found.origin(key) is not None
    last = layers[-1]
    for key, value in last.items():
        if key not in ("hub", "providers"):
            assert found.value(key) == value


def toml(layer: dict[str, object]) -> str:
    import tomlkit

    text = tomlkit.dumps(layer)
    assert tomllib.loads(text) == layer
    return text


# -- tcp ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("127.8.8.8:8025", ("127.8.8.8", 8025)),
        ("[::1]:8025", ("::1", 8025)),
        ("[0:0:0:0:0:0:0:1]:8025", ("::1", 8025)),
    ],
)
def test_tcp_is_an_address_of_this_machine(tmp_path: Path, text: str, place: tuple[str, int]) -> None:
    assert parse_tcp(text) == place
    config = load_config(write(tmp_path, main=f'[hub]\ntcp = "{text}"\n'))
    assert config.tcp == place
    assert parse_tcp(str(shown(config)["hub.tcp"].value)) == place


@pytest.mark.parametrize(
    "text",
    [
        '"0.0.0.0:8025"', '"[::]:8025"', '"10.0.0.1:8025"', '"localhost:8025"', '":8025"', '"8025"', "8025",
        '"127.0.0.1"', '"127.0.0.1:65536"', '"127.0.0.1:-1"', '"127.0.0.1:٣"', '"::1:8025"',
        '"[::ffff:127.0.0.1]:8025"', '"127.1:8025"', '"127.0.0.1:0\\n"', '" 127.0.0.1:0"', "true", "[]",
        '"127.0.0.1.nip.io:80"', '"[1]:80"', '"[::1%lo]:8025"',
    ],
)  # fmt: skip
def test_tcp_that_others_could_reach_or_that_is_no_address_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(write(tmp_path, main=f"[hub]\ntcp = {text}\n")) == [("hub.tcp", "hubd.toml", 2)]


@given(st.text(st.sampled_from("0123456789abf.:[]%x"), max_size=24))
def test_any_text_is_a_loopback_address_or_refused(text: str) -> None:
    try:
        host, port = parse_tcp(text)
    except BadInput:
        return
    assert host.startswith("127.") or host == "::1"
    assert 0 <= port <= 65535
