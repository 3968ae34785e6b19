"""docs/tutorial.md: each file and each command in it, in its order, as a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.whole.conftest import ROOT, TIMEOUT, until

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
CUSTOMERS, SPRING, BETTER = (text for kind, text in BLOCKS if kind in {"text", "toml"})
DAEMON, *COMMANDS = (line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines())


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **home}
    tmp_path.chmod(0o700)
    state, socket = tmp_path / ".local/state/messagehub", tmp_path / "messagehub/control.sock"
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    spring = tmp_path / "spring.toml"
    spring.write_text(SPRING)
    said: dict[str, str] = {}
    assert DAEMON == "hubd"
    with subprocess.Popen([sys.executable, "-m", "hubd"], env=environ, cwd=tmp_path) as daemon:
        try:
            until(socket.exists, "hubd")
            for line in COMMANDS:
                command, _, code = line.partition("  # exit code ")
                done = subprocess.run(
                    [sys.executable, "-m", *command.split()], env=environ, cwd=tmp_path, timeout=TIMEOUT,
                    capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                )  # fmt: skip
                assert done.returncode == int(code or 0), (line, done.stdout, done.stderr)
                said[command] = said.get(command, "") + done.stdout + done.stderr
                if command == "hubctl check spring-sale" and code:
                    (old,) = re.findall(r"^everything in .*\n", SPRING, re.MULTILINE)
                    spring.write_text(SPRING.replace(old, BETTER))
        finally:
            daemon.terminate()
    assert daemon.returncode == 0
    assert "customers.csv:5" in said["hubctl import customers.csv --list customers"]
    assert "city" in said["hubctl check spring-sale"]
    assert "in our Springfield shop" in said["hubctl preview spring-sale --to linus@example.com"]
    assert "in our London shop" in said["hubctl message 2"]
    assert len(list((state / "outbox" / "spring-sale").glob("*.eml"))) == 3
