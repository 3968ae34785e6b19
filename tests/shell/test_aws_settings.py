"""SES and SNS in hubd.toml and in `hubctl provider add`: what can be said of them, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hubctl.app import App
from hubctl.exits import Refused
from hubctl.provider_questions import Given, ask
from hubd.config.file import HubConfig, load_config
from hubd.errors import BadConfig
from hubd.providers.aws.connection import Service
from hubd.providers.aws.credentials import ChainKeys
from hubd.providers.aws.opening import open_service
from hubd.providers.kind import Opening
from hubd.providers.registry import kind_of
from hubd.providers.ses.settings import SesConfig
from hubd.providers.sns.settings import SnsConfig

KEYS = 'region = "eu-west-1"\naccess_key_id = "AKIA1"\nsecret_access_key = { file = "s" }\n'


def load(tmp_path: Path, *lines: str, type_: str = "ses") -> HubConfig:
    path = tmp_path / "hubd.toml"
    path.write_text("\n".join([f'[providers.x]\ntype = "{type_}"', *lines]))
    path.chmod(0o600)
    return load_config(path)


def faults(tmp_path: Path, *lines: str, type_: str = "ses") -> dict[str, str]:
    with pytest.raises(BadConfig) as caught:
        load(tmp_path, *lines, type_=type_)
    errors: Any = caught.value.data["errors"]
    return {error["path"].removeprefix("providers.x."): error["problem"] for error in errors}


def test_the_file_of_the_documentation_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "aws.md").read_text(encoding="utf-8")
    path = tmp_path / "hubd.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    path.chmod(0o600)
    config = load_config(path)
    ses, sns = config.providers["ses"], config.providers["aws-text"]
    assert isinstance(ses, SesConfig)
    assert isinstance(sns, SnsConfig)
    assert (ses.region, ses.configuration_set) == ("eu-west-1", "hub")
    assert (sns.sms_type, sns.sender_id, sns.max_price) == ("transactional", "ACME", "0.50")


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        (['region = "Ireland"'], "region", "eu-west-1"),
        ([], "region", "is missing"),
        (['region = "eu-west-1"', 'access_key_id = "AKIA1"'], "secret_access_key", "is missing"),
        (['region = "eu-west-1"', 'secret_access_key = { file = "s" }'], "access_key_id", "is missing"),
        (
            ['region = "eu-west-1"', 'secret_access_key = "SECRET"'],
            "secret_access_key",
            "is not allowed here",
        ),
        ([KEYS, 'access_key_id2 = "x"'], "access_key_id2", "access_key_id"),
        ([KEYS, 'endpoint_url = "http://ses.example"'], "endpoint_url", "https://"),
        ([KEYS, 'events = "https://sqs.eu-west-1.amazonaws.com/hub"'], "events", "a queue"),
        ([KEYS, 'events = "arn:aws:sqs:eu-west-1:1:hub"'], "events", "https://"),
        ([KEYS, 'sqs_endpoint_url = "http://127.0.0.1:1"'], "sqs_endpoint_url", "needs events"),
        ([KEYS, 'configuration_set = "a b"'], "configuration_set", "letters"),
        ([KEYS, "concurrency = 0"], "concurrency", "from 1 to 100"),
    ],
)
def test_each_fault_of_ses_is_named(tmp_path: Path, lines: list[str], key: str, words: str) -> None:
    found = faults(tmp_path, *lines)
    assert words in found[key]
    assert "SECRET" not in str(found)


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('sender_id = "AC"', "sender_id", "3 to 11"),
        ('sender_id = "12345"', "sender_id", "letter"),
        ('origination_number = "0151"', "origination_number", ""),
        ('origination_number = "ACME"', "origination_number", "+12065550100"),
        ('max_price = "cheap"', "max_price", "dollars"),
        ('max_price = "0"', "max_price", "dollars"),
        ('sms_type = "Transactional"', "sms_type", "transactional"),
        ('domain_rates = { "x.example" = "1/s" }', "domain_rates", "no domain"),
        ('events = "https://sqs.eu-west-1.amazonaws.com/1/hub"', "events", ""),
    ],
)
def test_each_fault_of_sns_is_named(tmp_path: Path, line: str, key: str, words: str) -> None:
    if line == 'origination_number = "0151"':  # a short code
        assert load(tmp_path, KEYS, line, type_="sns").providers["x"]
    else:
        assert words in faults(tmp_path, KEYS, line, type_="sns")[key]


def opened(tmp_path: Path, *lines: str, name: str = "ses", host: str = "email") -> Service:
    config = load(tmp_path, *lines).providers["x"]
    assert isinstance(config, SesConfig)
    opening: Any = Opening(name="x", bridge=None, state_dir=tmp_path, secrets={})  # type: ignore[arg-type]
    return open_service(config, opening, name, host=host, endpoint_url=config.endpoint_url)


def test_the_address_follows_from_the_region(tmp_path: Path) -> None:
    service = opened(tmp_path, 'region = "eu-west-1"')
    assert service.endpoint.authority == "email.eu-west-1.amazonaws.com:443"
    assert isinstance(service.keys, ChainKeys)
    china = opened(tmp_path, 'region = "cn-north-1"', name="sns", host="")
    assert china.endpoint.authority == "sns.cn-north-1.amazonaws.com.cn:443"
    local = opened(tmp_path, 'region = "eu-west-1"', 'endpoint_url = "http://127.0.0.1:5999"')
    assert local.endpoint.authority == "127.0.0.1:5999"


def test_only_ses_with_a_queue_and_each_sns_have_a_source(tmp_path: Path) -> None:
    opening: Any = Opening(name="x", bridge=None, state_dir=tmp_path, secrets={})  # type: ignore[arg-type]
    region = 'region = "eu-west-1"'
    queue = 'events = "https://sqs.us-east-2.amazonaws.com/123456789012/hub"'
    without, with_queue = (load(tmp_path, *lines).providers["x"] for lines in ([region], [region, queue]))
    assert kind_of("ses").receipts(without, opening) is None
    source = kind_of("ses").receipts(with_queue, opening)
    assert source is not None
    assert source.name == "provider x"
    assert kind_of("sns").receipts(load(tmp_path, region, type_="sns").providers["x"], opening) is not None


def test_what_is_asked_becomes_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"name": "x", "type": "ses", "region": "eu-west-1", "configuration_set": "hub"}
    wanted = ask(App(), Given(options), taken=[])
    assert wanted.settings == {"type": "ses", "region": "eu-west-1", "configuration_set": "hub"}
    assert wanted.secrets == {}
    with pytest.raises(Refused, match="--password-stdin"):
        ask(App(), Given({**options, "access_key_id": "AKIA1"}), taken=[])
    with pytest.raises(Refused, match=r"--sender-id does not apply to ses"):
        ask(App(), Given({**options, "sender_id": "ACME"}), taken=[])
    with pytest.raises(Refused, match=r"--region: it looks like eu-west-1"):
        ask(App(), Given({**options, "region": "Ireland"}), taken=[])
    text = ask(App(), Given({"name": "x", "region": "eu-west-1", "sender_id": "ACME"}), taken=[])
    assert text.settings == {"type": "sns", "region": "eu-west-1", "sender_id": "ACME"}
