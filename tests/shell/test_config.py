"""hubd.toml: what it becomes, and how its faults are named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubd.config.file import (
    HubConfig,
    SecretRef,
    is_loopback,
    load_config,
    missing_secrets,
    secrets_of,
)
from hubd.config.oauth2 import OAuth2Config
from hubd.core.warmup import Warmup
from hubd.errors import BadConfig
from hubd.providers.outbox.settings import OutboxConfig
from hubd.providers.smtp.settings import SmtpConfig
from hubd.providers.twilio.settings import TwilioConfig
from hubd.secrets import Place

CANARY = "s3cr3t-canary-7f"
Load = Callable[[str], HubConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a config file and reads it."""

    def load_text(text: str) -> HubConfig:
        path = tmp_path / "hubd.toml"
        path.write_bytes(text.encode())
        return load_config(path)

    return load_text


def faults(load: Load, text: str) -> dict[str, tuple[int | None, str]]:
    with pytest.raises(BadConfig) as caught:
        load(text)
    assert CANARY not in str(caught.value) + repr(caught.value.data) + caught.value.hint
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    return {fault["path"]: (fault["line"], fault["problem"]) for fault in listed}


def test_without_a_file_there_is_an_outbox() -> None:
    config = load_config(None)
    assert config == HubConfig()
    assert config.log_level == "info"
    assert config.providers == {"outbox": OutboxConfig()}


def test_a_whole_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    config = load(
        """
        [hub]
        log_level = "debug"

        [providers.office]
        type = "smtp"
        host = "smtp.office365.com"
        port = 587
        security = "starttls"
        username = "news@acme.example"
        password = { file = "office.pass" }
        connections = 4
        rate = ["30/minute", "10000/day"]
        ca_file = "ca.pem"

        [providers.text]
        type = "twilio"
        account_sid = "AC123"
        auth_token = { credential = "twilio" }
        from = "+15005550006"
        concurrency = 5
        base_url = "http://127.0.0.1:9000/"
        """
    )
    assert config.log_level == "debug"
    assert config.folder == tmp_path
    assert config.providers == {
        "outbox": OutboxConfig(),
        "office": SmtpConfig(
            host="smtp.office365.com",
            port=587,
            security="starttls",
            username="news@acme.example",
            password=SecretRef(Place.FILE, "office.pass"),
            connections=4,
            rate=("30/minute", "10000/day"),
            ca_file=tmp_path / "ca.pem",
        ),
        "text": TwilioConfig(
            account_sid="AC123",
            auth_token=SecretRef(Place.CREDENTIAL, "twilio"),
            from_="+15005550006",
            concurrency=5,
            base_url="http://127.0.0.1:9000",
        ),
    }


def test_a_provider_with_all_its_limits(load: Load) -> None:
    smtp = load(
        f"""
        [providers.a]
        {SMTP}
        rate = ["30/minute", "10000/day"]
        warmup = {{ start = "200/day", double_every = "2 days" }}
        sender_rates = {{ "News@ACME.example" = ["500/day", "1/s"], "*" = "2000/day" }}
        [providers.a.domain_rates]
        "GMail.com" = ["10/s", "5000/day"]
        "bücher.example" = "1/s"
        "*" = "20/s"
        """
    ).providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert smtp.rate == ("30/minute", "10000/day")
    assert smtp.warmup == Warmup(start=200, double_every=2 * 86_400.0)
    assert smtp.sender_rates == {"news@acme.example": ("500/day", "1/s"), "*": ("2000/day",)}
    assert smtp.domain_rates == {
        "gmail.com": ("10/s", "5000/day"), "xn--bcher-kva.example": ("1/s",), "*": ("20/s",)
    }  # fmt: skip
    with pytest.raises(TypeError):
        smtp.domain_rates["gmail.com"] = ()  # type: ignore[index]


def test_texts_have_senders_and_no_domains_and_the_outbox_has_both(load: Load) -> None:
    config = load(
        f"""[providers.text]\n{TWILIO}warmup = {{ start = "50/day", double_every = "1 day" }}
        sender_rates = {{ "+15005550006" = "1/s", "ACME" = "2/s" }}
        [providers.outbox]
        type = "outbox"
        sender_rates = {{ "+15005550006" = "1/s", "news@acme.example" = "1/s" }}
        domain_rates = {{ "*" = "1/s" }}
        """
    )
    text, outbox = config.providers["text"], config.providers["outbox"]
    assert text.warmup == Warmup(start=50, double_every=86_400.0)
    assert text.sender_rates == {"+15005550006": ("1/s",), "acme": ("2/s",)}
    assert text.domain_rates == {}
    assert outbox.sender_rates == {"+15005550006": ("1/s",), "news@acme.example": ("1/s",)}
    assert outbox.domain_rates == {"*": ("1/s",)}


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ('warmup = "200/day"', "warmup", "must be a table such as"),
        ("warmup = {}", "warmup.start", "is missing"),
        ('warmup = { start = "200/day" }', "warmup.double_every", "is missing"),
        ('warmup = { start = "200/h", double_every = "2 days" }', "warmup.start", '"200/day"'),
        ('warmup = { start = "200/day", double_every = "5m" }', "warmup.double_every", '"2 days"'),
        ('warmup = { start = 200, double_every = "2 days" }', "warmup.start", "must be text"),
        ('warmup = { start = "1/day", double_every = "2d", stop = 1 }', "warmup.stop", "unknown key"),
        (
            'warmup = { start = "1/day", doubleevery = "2d" }',
            "warmup.doubleevery",
            "did you mean double_every?",
        ),
        ('warm_up = { start = "1/day" }', "warm_up", "did you mean warmup?"),
        ('sender_rates = ["1/s"]', "sender_rates", "must be a table such as"),
        ('sender_rates = { "news" = "1/s" }', "sender_rates.news", "not an email address"),
        ('sender_rates = { "a@b.example" = "fast" }', "sender_rates.a@b.example", "not a rate"),
        ('sender_rates = { "a@b.example" = [] }', "sender_rates.a@b.example", "has no rate"),
        ('sender_rates = { "a@b.example" = "" }', "sender_rates.a@b.example", "has no rate"),
        ('sender_rates = { "a@b.example" = 5 }', "sender_rates.a@b.example", "must be text or a list"),
        (
            'sender_rates = { "a@b.example" = "1/s", "A@B.example" = "2/s" }',
            "sender_rates.A@B.example",
            "twice in the table, in different spellings",
        ),
        ('sender_rate = { "*" = "1/s" }', "sender_rate", "did you mean sender_rates?"),
        ('domain_rates = "1/s"', "domain_rates", "must be a table such as"),
        ('domain_rates = { "gmail" = "1/s" }', "domain_rates.gmail", "must be a domain"),
        ('domain_rates = { "a@gmail.com" = "1/s" }', "domain_rates.a@gmail.com", "must be a domain"),
        ('domain_rates = { "*.com" = "1/s" }', "domain_rates.*.com", "must be a domain"),
        ('domain_rates = { "" = "1/s" }', 'domain_rates.""', "must be a domain"),
        ('domain_rates = { "\\u001b.com" = "1/s" }', 'domain_rates."\\u001b.com"', "must be a domain"),
        ('domain_rates = { "*" = "1/40days" }', "domain_rates.*", "at most 31 days"),
        ('domain_rates = { "*" = ["1/s", "1/s"] }', "domain_rates.*[1]", "occurs twice in the list"),
    ],
)
def test_a_limit_that_cannot_be_used_is_refused_with_its_place(
    load: Load, lines: str, key: str, words: str
) -> None:
    found = faults(load, f"[providers.a]\n{SMTP}{lines}\n")
    line, problem = found[f"providers.a.{key}"]
    assert line in (1, 4)
    assert words in problem


def test_texts_have_no_domain_rates(load: Load) -> None:
    found = faults(load, f'[providers.a]\n{TWILIO}domain_rates = {{ "*" = "1/s" }}\n')
    assert found == {"providers.a.domain_rates": (6, "is for email only; text messages have no domain")}


def test_there_is_a_bound_to_how_many_have_rates_of_their_own(load: Load) -> None:
    rows = "".join(f'"d{n}.example" = "1/s"\n' for n in range(1001))
    found = faults(load, f"[providers.a]\n{SMTP}[providers.a.domain_rates]\n{rows}")
    assert list(found) == ["providers.a.domain_rates"]


@pytest.mark.parametrize(
    ("lines", "host", "port", "security"),
    [
        ('preset = "gmail"', "smtp.gmail.com", 587, "starttls"),
        ('preset = "outlook"', "smtp.office365.com", 587, "starttls"),
        ('preset = "gmail"\nport = 465\nsecurity = "tls"', "smtp.gmail.com", 465, "tls"),
        ('preset = "gmail"\nhost = "relay.acme.example"', "relay.acme.example", 587, "starttls"),
        ('host = "mail.acme.example"', "mail.acme.example", 587, "starttls"),
        ('host = "mail.acme.example"\nport = 465', "mail.acme.example", 465, "tls"),
        ('host = "mail.acme.example"\nsecurity = "tls"', "mail.acme.example", 465, "tls"),
        ('host = "mail.acme.example"\nsecurity = "none"', "mail.acme.example", 25, "none"),
        ('host = "[::1]"\nport = 2525\nsecurity = "none"', "::1", 2525, "none"),
    ],
)
def test_a_preset_and_the_security_fill_in_the_rest(
    load: Load, lines: str, host: str, port: int, security: str
) -> None:
    smtp = load(f'[providers.a]\ntype = "smtp"\n{lines}\n').providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert (smtp.host, smtp.port, smtp.security) == (host, port, security)


OAUTH2 = """auth = "xoauth2"
username = "news@acme.example"
[providers.a.oauth2]
token_url = "https://oauth2.googleapis.com/token"
client_id = "hub-app"
client_secret = { file = "app.secret" }
refresh_token = { file = "office.token" }
"""


def test_how_a_mail_server_is_spoken_to(load: Load) -> None:
    smtp = load(
        f"""
        [providers.a]
        {SMTP}
        ehlo_name = "mail.acme.example"
        pipelining = false
        bounce_address = "Bounces@B\u00fccher.example"
        """
    ).providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert (smtp.ehlo_name, smtp.pipelining) == ("mail.acme.example", False)
    assert smtp.bounce_address == "Bounces@xn--bcher-kva.example"
    assert SmtpConfig(host="x").pipelining


@pytest.mark.parametrize("name", ["mail.acme.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a-b.example."])
def test_a_greeting_is_a_full_name_or_an_address(load: Load, name: str) -> None:
    smtp = load(f'[providers.a]\n{SMTP}ehlo_name = "{name}"\n').providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert smtp.ehlo_name == name


@pytest.mark.parametrize(
    "name",
    ["localhost", "pc", "a b.example", "[192.0.2]", "[IPv6:192.0.2.1]", "[2001:db8::1]", "a..b"],
)
def test_a_greeting_that_servers_refuse_is_refused(load: Load, name: str) -> None:
    found = faults(load, f'[providers.a]\n{SMTP}ehlo_name = "{name}"\n')
    problem = "must be a full name such as mail.acme.example, or an address such as [192.0.2.1]"
    assert [fault for _, fault in found.values()] == [problem]


def test_what_reports_of_delivery_are_asked_for_and_where_they_go(load: Load) -> None:
    lines = 'bounce_address = "b+{token}@B\u00fccher.example"\ndsn = "success"\n'
    smtp = load(f"[providers.a]\n{SMTP}{lines}").providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert smtp.bounce_address == "b+{token}@xn--bcher-kva.example"
    assert smtp.dsn == "success"
    for word, dsn in (("true", True), ("false", False)):
        smtp = load(f"[providers.a]\n{SMTP}dsn = {word}\n").providers["a"]
        assert isinstance(smtp, SmtpConfig)
        assert smtp.dsn is dsn


@pytest.mark.parametrize(
    ("line", "key", "problem"),
    [
        (
            'bounce_address = "b-{token}@acme.example"',
            "bounce_address",
            "must have {token} between a + and the @",
        ),
        ('bounce_address = "b+{token}"', "bounce_address", "must have {token} between a + and the @"),
        ('bounce_address = "b+{token}@{token}.example"', "bounce_address", "can contain {token} once"),
        ('bounce_address = "{name}@acme.example"', "bounce_address", "can contain {token} once"),
        (f'bounce_address = "{"b" * 50}+{{token}}@acme.example"', "bounce_address", "not an email address"),
        ('dsn = "failure"', "dsn", 'must be true, false or "success"'),
        ("dsn = 1", "dsn", 'must be true, false or "success", not a whole number'),
    ],
)
def test_reports_of_delivery_that_cannot_be_asked_for(load: Load, line: str, key: str, problem: str) -> None:
    ((at, (_, found)),) = faults(load, f"[providers.a]\n{SMTP}{line}\n").items()
    assert at == f"providers.a.{key}"
    assert found.startswith(problem)


IMAP = 'host = "imap.acme.example"\nusername = "bounces"\n'


def test_a_mailbox(load: Load) -> None:
    config = load(f"""
        [mailboxes.bounces]
        {IMAP}
        password = {{ file = "imap.pass" }}
        processed_folder = "Processed"
        [mailboxes.office]
        {IMAP}
        port = 143
        {OAUTH2.replace("providers.a", "mailboxes.office").replace('username = "news@acme.example"', "")}
        """)
    bounces, office = config.mailboxes.values()
    assert (bounces.port, bounces.security, bounces.folder) == (993, "tls", "INBOX")
    assert bounces.processed_folder == "Processed"
    assert (office.port, office.security) == (143, "starttls")
    assert list(office.secrets) == ["oauth2.refresh_token", "oauth2.client_secret"]
    assert len(missing_secrets(config)) == 3


@pytest.mark.parametrize(
    ("lines", "key", "problem"),
    [
        ('username = "b"\n{}', "host", "is missing; give the name of the IMAP server"),
        ('host = "imap.acme.example"\n{}', "username", "is missing; give the name of the mailbox"),
        (IMAP, "password", "is missing; put it in a file"),
        (f'{IMAP}auth = "xoauth2"', "oauth2", 'is missing; auth = "xoauth2" needs it'),
        (f'{IMAP}security = "none"\n{{}}', "security", 'must be "tls" or "starttls"'),
        (f'{IMAP}security = "ssl"\n{{}}', "security", 'must be "tls" or "starttls" or "none"'),
        (f'{IMAP}processed_folder = "INBOX"\n{{}}', "processed_folder", "must be a different folder"),
        (f'{IMAP}ca_file = "no.pem"\n{{}}', "ca_file", "there is no such file"),
        (f"{IMAP}delete = true\n{{}}", "delete", "unknown key"),
    ],
)
def test_a_mailbox_that_cannot_work(load: Load, lines: str, key: str, problem: str) -> None:
    password = 'password = { file = "imap.pass" }'
    ((at, (_, found)),) = faults(load, f"[mailboxes.m]\n{lines.replace('{}', password)}\n").items()
    assert at == f"mailboxes.m.{key}"
    assert found.startswith(problem)


def test_a_login_by_access_token(load: Load) -> None:
    config = load(f'[providers.a]\ntype = "smtp"\npreset = "gmail"\n{OAUTH2}')
    smtp = config.providers["a"]
    assert isinstance(smtp, SmtpConfig)
    assert smtp.auth == "xoauth2"
    assert smtp.oauth2 == OAuth2Config(
        token_url="https://oauth2.googleapis.com/token",
        client_id="hub-app",
        client_secret=SecretRef(Place.FILE, "app.secret"),
        refresh_token=SecretRef(Place.FILE, "office.token"),
    )
    assert list(secrets_of(smtp)) == ["oauth2.refresh_token", "oauth2.client_secret"]
    assert len(missing_secrets(config)) == 2


@pytest.mark.parametrize(
    ("lines", "key", "problem"),
    [
        ('auth = "xoauth2"', "oauth2", "is missing"),
        ('auth = "xoauth2"', "username", "is missing"),
        ('password = { file = "x" }\n' + OAUTH2, "password", "is not allowed with"),
        (OAUTH2.replace('"xoauth2"', '"password"'), "oauth2", 'needs auth = "xoauth2"'),
        (OAUTH2.replace("https://", "http://"), "oauth2.token_url", "must be https://"),
        (
            OAUTH2.replace('{ file = "office.token" }', f'"{CANARY}"'),
            "oauth2.refresh_token",
            "is not allowed here",
        ),
        (
            OAUTH2.replace('{ file = "app.secret" }', f'"{CANARY}"'),
            "oauth2.client_secret",
            "is not allowed here",
        ),
        (OAUTH2.replace("client_id", "client"), "oauth2.client", "did you mean client_id?"),
        (OAUTH2.replace("client_id", "client"), "oauth2.client_id", "is missing"),
        ('security = "none"\n' + OAUTH2, "security", "the login would be sent unencrypted"),
        ('auth = "oauth"', "auth", 'must be "password" or "xoauth2"'),
        ("pipelining = 0", "pipelining", "must be true or false, not a whole number"),
    ],
)
def test_a_login_that_cannot_work_is_refused(load: Load, lines: str, key: str, problem: str) -> None:
    found = faults(load, f"[providers.a]\n{SMTP}{lines}\n")
    assert problem in found[f"providers.a.{key}"][1]


def test_every_fault_has_its_line_and_the_key_that_was_meant(load: Load, tmp_path: Path) -> None:
    text = f"""[hub]
loglevel = "info"
[providers.office]
type = "smtp"
hots = "mail.acme.example"
port = "{CANARY}"
connections = 0
[providers.office.password]
fil = "{CANARY}"
[provider.x]
"""
    assert faults(load, text) == {
        "hub.loglevel": (2, "unknown key; did you mean log_level?"),
        "providers.office.hots": (5, "unknown key; did you mean host?"),
        "providers.office.port": (6, "must be a whole number, not text"),
        "providers.office.connections": (7, "must be from 1 to 256"),
        "providers.office.password.fil": (9, "unknown key; did you mean file?"),
        "providers.office.host": (3, "is missing; give the name of the mail server"),
        "provider": (10, "unknown key; did you mean providers?"),
    }
    with pytest.raises(BadConfig) as caught:
        load(text)
    first = "line 2: hub.loglevel: unknown key; did you mean log_level? (and 6 more)"
    assert str(caught.value) == f"{tmp_path / 'hubd.toml'}, {first}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[hub\n", 1),
        ('[hub]\nlog_level = "info', 2),
        (f"[providers.a]\npassword = {CANARY}\n", 2),
        ("[hub]\n[hub]\n", 2),
        ('a = "\x00"\n', 1),
        ("a = 1\na = 2\n", 2),
        ("a = " + "[" * 20_000, None),
    ],
)
def test_what_is_not_toml_is_refused_with_its_line(load: Load, text: str, line: int | None) -> None:
    found = faults(load, text)
    assert list(found) == [""]
    assert found[""][0] == line


def test_a_file_that_is_missing_a_directory_or_not_text_is_refused(tmp_path: Path, load: Load) -> None:
    with pytest.raises(BadConfig, match=r"none\.toml: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(BadConfig, match="directory"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[hub]\n# caf\xe9\n")
    with pytest.raises(BadConfig, match="line 2: is not UTF-8 text"):
        load_config(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * 1_048_577)
    with pytest.raises(BadConfig, match="larger than 1 MiB"):
        load_config(tmp_path / "big.toml")
    assert load("\ufeff[hub]\r\nlog_level = 'error'\r\n").log_level == "error"


SMTP = 'type = "smtp"\nhost = "mail.acme.example"\n'
TWILIO = 'type = "twilio"\naccount_sid = "AC1"\nauth_token = { env = "T" }\nfrom = "+15005550006"\n'


@pytest.mark.parametrize(
    ("provider", "key", "words"),
    [
        ("", "type", "is missing"),
        ('type = "stmp"', "type", "did you mean smtp?"),
        ('type = "pigeon"', "type", 'must be "outbox" or "'),
        ('type = "outbox"\nhost = "x"', "host", "unknown key"),
        ('type = "smtp"', "host", "is missing"),
        ('type = "smtp"\nhost = "mail.acme.example:25"', "host", "the port belongs in port"),
        ('type = "smtp"\nhost = "https://x"', "host", "host name"),
        ('type = "smtp"\nhost = "a b"', "host", "host name"),
        ('type = "smtp"\npreset = "gmial"\nhost = "x.example"', "preset", "did you mean gmail?"),
        (SMTP + "port = 0", "port", "from 1 to 65535"),
        (SMTP + 'security = "ssl"', "security", '"starttls" or "tls" or "none"'),
        (SMTP + 'username = "x"', "password", "a username needs one"),
        (SMTP + 'password = { file = "x" }', "username", "a password needs one"),
        (SMTP + 'username = "x"\npassword = "' + CANARY + '"', "password", "{ file ="),
        (SMTP + 'username = "x"\npassword = 7', "password", "{ file ="),
        (SMTP + 'username = "x"\npassword = {}', "password", "must name exactly one place"),
        (
            SMTP + 'username = "x"\npassword = { file = "a", env = "B" }',
            "password",
            "must name exactly one place",
        ),
        (SMTP + 'username = "x"\npassword = { env = "a-b" }', "password.env", "is not a valid name"),
        (
            SMTP + 'username = "x"\npassword = { credential = "../x" }',
            "password.credential",
            "not a valid name",
        ),
        (SMTP + 'username = "x"\npassword = { file = 5 }', "password.file", "not a whole number"),
        (SMTP + 'username = "x"\npassword = { env = "A" }\nsecurity = "none"', "security", "unencrypted"),
        (SMTP + 'rate = "many"', "rate", "rate"),
        (SMTP + 'ca_file = "none.pem"', "ca_file", "no such file"),
        (SMTP + "connections = true", "connections", "not true or false"),
        (TWILIO + 'auth_tokn = "' + CANARY + '"', "auth_tokn", "did you mean auth_token?"),
        (TWILIO + 'messaging_service_sid = "MG1"', "from", "give either"),
        (TWILIO + 'base_url = "http://api.twilio.com"', "base_url", "must be https://"),
        (TWILIO + 'base_url = "https://u:' + CANARY + '@api.twilio.com"', "base_url", "no user"),
        (TWILIO + 'base_url = "file:///etc"', "base_url", "must be an address"),
        (TWILIO + 'base_url = "https://x:99999"', "base_url", "must be an address"),
        (TWILIO + 'base_url = "http://localhost.evil.example"', "base_url", "must be https://"),
        (TWILIO + "concurrency = 1000", "concurrency", "from 1 to 100"),
        (TWILIO.replace("AC1", CANARY), "account_sid", "must be AC followed by"),
        (TWILIO.replace('{ env = "T" }', f'"{CANARY}"'), "auth_token", "{ file ="),
        (TWILIO.replace('auth_token = { env = "T" }', ""), "auth_token", "is missing"),
        (TWILIO.replace("+15005550006", "a@b.com"), "from", "SMS comes from"),
    ],
)
def test_a_provider_that_cannot_be_used_is_refused(load: Load, provider: str, key: str, words: str) -> None:
    found = faults(load, f"[providers.a]\n{provider}\n")
    assert list(found) == [f"providers.a.{key}"]
    line, problem = found[f"providers.a.{key}"]
    assert words in problem
    assert line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_a_password_may_go_in_the_clear_to_this_machine_only(load: Load, host: str) -> None:
    config = load(
        f'[providers.a]\ntype = "smtp"\nhost = "{host}"\nsecurity = "none"\n'
        'username = "x"\npassword = { env = "A" }\n'
    )
    assert isinstance(config.providers["a"], SmtpConfig)


def test_the_outbox_stays_an_outbox(load: Load) -> None:
    assert "another name" in faults(load, f"[providers.outbox]\n{SMTP}")["providers.outbox.type"][1]
    config = load('[providers.outbox]\ntype = "outbox"\nrate = "5/s"\n')
    assert config.providers == {"outbox": OutboxConfig(rate=("5/s",))}


@pytest.mark.parametrize("name", ['"a b"', '"../x"', '".x"', '""', '"a\\u001b"', '"ü"'])
def test_a_provider_has_a_plain_name(load: Load, name: str) -> None:
    (path,) = faults(load, f'[providers.{name}]\ntype = "outbox"\n')
    assert path.isprintable()


def test_loopback_is_an_address_or_localhost() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "::1", "LOCALHOST", "localhost."))
    assert not any(
        is_loopback(host) for host in ("", "localhost.example", "127.0.0.1.nip.io", "0.0.0.0", "10.0.0.1")
    )


toml_like = st.text(st.sampled_from("[]{}=.\"\n '#aport_1") | st.characters(codec="utf-8"), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    toml_like,
    st.sampled_from(
        [
            "",
            "[hub]\n",
            "[providers.a]\n",
            f"[providers.a]\n{SMTP}",
            f"[providers.a]\n{SMTP}[providers.a.domain_rates]\n",
            f"[providers.a]\n{SMTP}[providers.a.warmup]\n",
        ]
    ),
)
def test_any_file_is_a_config_or_a_bad_config(load: Load, text: str, head: str) -> None:
    with contextlib.suppress(BadConfig):
        assert "outbox" in load(head + text).providers
