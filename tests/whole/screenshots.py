"""Makes the pictures of the dashboard in docs/screenshots: `python -m tests.whole.screenshots [FOLDER]`.

A program, not a test: each run draws other times and rates. The data is made up; the daemon and its campaigns
are real, the mail goes to Postfix's smtp-sink.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page

from tests import dovecot
from tests.apps.conftest import ROOT, Hub, short_folder
from tests.whole.dashboard import open_browser, open_page, serve_dashboard
from tests.whole.letters import bounce, complaint, reply

PEOPLE = 4_000
CITIES = ("Köln", "Bonn", "Aachen", "Düsseldorf")
NAMES = ("Ada", "Alan", "Grace", "Katherine", "Edsger", "Barbara", "Radia", "Hedy")
HTML = """<div style="font-family: sans-serif; max-width: 34rem">
<h2>{{ first_name }}, {{ city }} stays open longer</h2>
<p>Your shop in {{ city }} opens an hour longer from Monday.</p>
<p>Until Sunday everything is <b>20% off</b>:</p>
<p><a style="background: #1b1b19; color: #fff; padding: 9px 16px; border-radius: 6px">See the offers</a></p>
<p>See you soon<br>Acme in {{ city }}</p></div>"""


CONFIG = """
[providers.relay]
type = "smtp"
host = "127.0.0.1"
port = {port}
security = "none"

[providers.gmail]
type = "smtp"
host = "127.0.0.1"
port = 9
security = "none"

[mailboxes.bounces]
host = "127.0.0.1"
port = {imap}
security = "none"
username = "bounces"
password = {{ file = "imap.pass" }}

[sinks.crm]
type = "webhook"
url = "http://127.0.0.1:9/hooks/messagehub"
secret = {{ file = "crm.secret" }}

[sinks.figures]
type = "csv"
directory = "figures"
content = "kpis"
"""
WEEKLY = """
[schedule]
every = "monday 9:00"
timezone = "Europe/Berlin"
"""
WELCOME = """
name = "welcome"
channel = "email"
kind = "transactional"
provider = "relay"
sender = "Acme <news@acme.example>"
subject = "Welcome"
text = "Good to have you."
[trigger]
list = "newcomers"
delay = "1h"
"""


def seed(hub: Hub, port: int, imap: int) -> None:
    """Campaigns in every state that a screen can show."""
    for name, secret in (("imap.pass", dovecot.PASSWORD), ("crm.secret", f"whsec_{'A' * 44}")):
        (hub.folder / name).write_text(secret)
        (hub.folder / name).chmod(0o600)
    (hub.folder / "hubd.toml").write_text(CONFIG.format(port=port, imap=imap))
    hub.boot()
    rows = "".join(
        f"{NAMES[n % 8].lower()}{n}@example.com,{NAMES[n % 8]},{CITIES[n % 4]},+49170{1000000 + n}\n"
        for n in range(PEOPLE)
    )
    hub.ok("import", hub.file("customers.csv", "email,first_name,city,phone\n" + rows), "--list", "customers")
    email = {"lists": ["customers"], "subject": "{{ first_name }}, {{ city }} stays open longer"}
    hub.campaign("october-price-list", **email, provider="relay")
    hub.ok("start", "october-price-list", "--wait")
    hub.campaign("autumn-newsletter", **email, provider="relay", rate="150/s")
    hub.campaign("winter-tyres", **email, provider="gmail")
    hub.campaign("november-offer", **email, html=HTML, provider="relay")
    hub.campaign("vip-evening", **email)
    hub.campaign("black-friday", **email, provider="relay")
    hub.ok("start", "vip-evening", "--limit", "400", "--wait")
    hub.ok("start", "black-friday", "--at", "2036-11-28T08:00:00+01:00")
    hub.campaign("weekly-news", **email, provider="relay")
    weekly = (hub.folder / "weekly-news.toml").read_text() + WEEKLY
    hub.ok("apply", hub.file("weekly-news.toml", weekly))
    hub.ok("start", "weekly-news")
    hub.ok("contacts", "add", "--list", "newcomers", "ada@example.com")
    hub.ok("apply", hub.file("welcome.toml", WELCOME))
    hub.ok("start", "welcome")
    for n in range(3):
        hub.ok("contacts", "add", "--list", "newcomers", f"new{n}@example.com")
    for name in ("winter-tyres", "autumn-newsletter"):
        hub.ok("-y", "start", name)


def answer(hub: Hub, imap: dovecot.Dovecot, name: str) -> None:
    """Some of those who have got a campaign bounce, complain or write."""
    lines = hub.ok("deliveries", name, "--state", "sent", "--output", "ndjson").splitlines()[:60]
    for number, (address, message) in enumerate(
        (each["recipient"], each["message_id"]) for each in map(json.loads, lines)
    ):
        if number < 12:
            imap.put("bounces", f"{name}-{number}", bounce(message, address, "no such mailbox"))
        elif number < 14:
            imap.put("bounces", f"{name}-{number}", complaint(message, address))
        elif number < 32:
            imap.put("bounces", f"{name}-{number}", reply(message, address, "When do you open on Sunday?"))
        elif number < 36:
            imap.put("bounces", f"{name}-{number}", reply(message, address, "STOP"))


def take(page: Page, folder: Path, name: str) -> None:
    """The page as it is, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=folder / f"{name}-{scheme}.png")


def main(folder: Path) -> None:
    """Make all of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    sink = subprocess.Popen(
        ["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "200"], stdout=subprocess.DEVNULL
    )
    with short_folder() as place, dovecot.running() as imap:
        hub = Hub(place)
        try:
            seed(hub, port, imap.port)
            with (
                serve_dashboard(hub.socket) as server,
                open_browser() as browser,
                open_page(browser, server, "/campaigns/autumn-newsletter") as page,
            ):
                page.set_viewport_size({"width": 1280, "height": 720})
                page.wait_for_timeout(6_000)  # for a line in the chart
                answer(hub, imap, "autumn-newsletter")
                page.locator(".funnel").get_by_role("link", name="Opt-outs").wait_for()
                page.wait_for_timeout(2_000)
                take(page, folder, "campaign")
                page.evaluate("location.hash = '#/providers'")
                page.get_by_text("18 replies").wait_for()
                take(page, folder, "providers")
                page.evaluate("location.hash = '#/'")
                page.locator(".board").wait_for()
                page.wait_for_timeout(1_000)  # for a rate
                take(page, folder, "home")
                page.evaluate("location.hash = '#/new/november-offer'")
                page.get_by_role("button", name="Message").click()
                page.frame_locator("iframe").locator("h2").wait_for()
                page.get_by_role("button", name="HTML").click()
                take(page, folder, "new")
        finally:
            hub.end()
            sink.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")
