"""`hubctl config show`, and a reload that is told: with a real daemon."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub

CANARY = "s3cr3t-canary-7f"
OFFICE = """\
[providers.office]
type = "smtp"
preset = "gmail"
username = "me@acme.example"
password = { env = "OFFICE_PASS" }
domain_rates = { "gmail.com" = "5/s" }
"""


def configure(hub: Hub, text: str) -> Path:
    path = hub.folder / "hubd.toml"
    path.write_text(text)
    return path


def events(hub: Hub) -> list[dict[str, object]]:
    found = [json.loads(line) for line in hub.ok("events", "--since", "0", "--json").splitlines()]
    return [each for each in found if str(each.get("type", "")).startswith("config.")]


def test_config_show_says_what_is_in_effect_and_where_it_comes_from(hub: Hub) -> None:
    hub.environ["OFFICE_PASS"] = CANARY
    path = configure(hub, OFFICE)
    (hub.folder / "hubd.toml.d").mkdir()
    above = hub.folder / "hubd.toml.d" / "10.toml"
    above.write_text("[providers.office]\nport = 2525\n")
    hub.ok("daemon", "reload")
    told = hub.run("config", "show", "--show-source")
    lines = {line.split()[0]: line.split(None, 1)[1] for line in told.stdout.splitlines()}
    assert lines["hub.log_level"].split() == ["default", '"info"']
    password = lines["providers.office.password"].split()
    assert password == ["hubd.toml:5", "{", "env", "=", '"OFFICE_PASS"', "}"]
    assert lines["providers.office.port"].split() == ["hubd.toml.d/10.toml:2", "2525"]
    assert lines["providers.office.host"].split() == ["preset,", "hubd.toml:3", '"smtp.gmail.com"']
    assert '{ "gmail.com" = ["5/s"] }' in lines["providers.office.domain_rates"]
    assert f"read: {path}\nread: {above}\n" in told.stderr
    plain = hub.ok("config", "show")
    assert "default" not in plain
    found = hub.json("config", "show")
    assert next(iter(found)) == "schema"
    assert found["schema"] == "hubctl.config.show/1"
    assert (found["file"], found["files"]) == (str(path), [str(path), str(above)])
    assert CANARY not in told.stdout + told.stderr + plain + json.dumps(found)


def test_at_80_columns_no_key_no_value_and_no_place_is_cut(hub: Hub) -> None:
    lists = "".join(f'"a-long-domain-{n}.example" = "5/s", ' for n in range(6))
    configure(hub, OFFICE.replace('"gmail.com" = "5/s"', lists.rstrip(", ")))
    hub.environ |= {"OFFICE_PASS": CANARY, "HUBCTL_FORCE_TTY": "80", "NO_COLOR": "1"}
    hub.end()
    hub.boot()
    told = hub.ok("config", "show", "--show-source")
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "…" not in told
    assert "providers.office.domain_rates  hubd.toml:6" in told
    assert '"a-long-domain-5.example"' in told


def test_without_a_file_it_says_where_one_would_be_read(hub: Hub) -> None:
    hub.end()
    hub.boot()
    (hub.folder / "hubd.toml").unlink()
    assert 'hub.log_level          "info"\n' in hub.ok("config", "show")
    assert hub.json("config", "show")["file"] == str(hub.folder / "hubd.toml")


def test_a_bad_reload_keeps_the_old_configuration_and_both_are_told_as_events(hub: Hub) -> None:
    path = configure(hub, OFFICE)
    hub.ok("daemon", "reload")
    before = hub.json("config", "show")
    configure(hub, OFFICE.replace("username", "usrname") + '[hub]\nlog_level = "debug"\n')
    done = hub.run("daemon", "reload")
    assert done.returncode == 1
    assert f"{path}, line 4: providers.office.usrname: unknown key; did you mean username?" in done.stderr
    assert hub.json("config", "show") == before
    configure(hub, OFFICE + '[hub]\nlog_level = "debug"\ntcp = "127.0.0.1:0"\n')
    found = hub.json("daemon", "reload")
    assert (found["applied"], found["needs_restart"]) == (["hub.log_level"], ["hub.tcp"])
    told = hub.run("config", "show")
    assert "hub.tcp" not in told.stdout, "it is not in effect"
    assert "takes effect after a restart of hubd: hub.tcp" in told.stderr
    first, failed, last = events(hub)
    assert (first["type"], first["data"]) == (
        "config.reloaded",
        {"applied": ["providers.office"], "needs_restart": []},
    )
    assert failed["type"] == "config.reload_failed"
    data = failed["data"]
    assert isinstance(data, dict)
    assert data["errors"][0] == {
        "path": "providers.office.usrname",
        "problem": "unknown key; did you mean username?",
        "line": 4,
        "file": str(path),
    }
    assert last["type"] == "config.reloaded"


def test_bad_input_78_a_secret_in_the_file_is_refused_at_the_start_and_not_printed(hub: Hub) -> None:
    hub.end()
    path = configure(hub, f'[providers.office]\ntype = "smtp"\nusername = "u"\npassword = "{CANARY}"\n')
    for more in ([], ["--check"]):
        done = launcher.run(
            [sys.executable, "-m", "hubd", "--config", str(path), "--state-dir", f"{hub.folder}/new", *more],
            timeout=TIMEOUT,
            cwd=ROOT,
            env=hub.environ,
        )
        assert done.returncode == 78
        assert f"{path}, line 4: providers.office.password: a secret is not allowed here" in done.stderr
        assert CANARY not in done.stdout + done.stderr


def test_bad_input_78_faults_in_a_file_beside_it_are_placed_there(hub: Hub) -> None:
    path = configure(hub, "[hub]\nloglevel = 1\n")
    (hub.folder / "hubd.toml.d").mkdir()
    above = hub.folder / "hubd.toml.d" / "10.toml"
    above.write_text(f'[providers.text]\nauth_token = "{CANARY}"\n')
    done = launcher.run(
        [sys.executable, "-m", "hubd", "--config", str(path), "--check"],
        timeout=TIMEOUT,
        cwd=ROOT,
        env=hub.environ,
    )
    assert done.returncode == 78
    assert f"{path}, line 2: hub.loglevel" in done.stderr
    assert f"{above}, line 1: providers.text.type" in done.stderr
    assert CANARY not in done.stderr
