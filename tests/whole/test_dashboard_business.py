"""hubview's pages for what comes back and for the business: in a real browser, on a real daemon."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from hubd.core.sinks import CAMPAIGN_FIELDS
from hubview.server import PageServer
from tests import dovecot
from tests.apps.conftest import Hub, short_folder
from tests.node_packages import page_modules
from tests.shell.made_database import make_database
from tests.shell.sink_doubles import BASE, TOKEN, AirtableDouble, serving
from tests.whole.dashboard import NARROW, WIDE, open_browser, open_page, serve_dashboard
from tests.whole.letters import bounce, complaint, reply

HOSTILE = "<img src=x onerror=document.title='run'>"
PEOPLE = 40
CONFIG = """
[mailboxes."{hostile}"]
host = "127.0.0.1"
port = 1
security = "none"
username = "bounces"
password = {{ file = "imap.pass" }}

[mailboxes.bounces]
host = "127.0.0.1"
port = {imap}
security = "none"
username = "bounces"
password = {{ file = "imap.pass" }}

[sinks.control]
type = "airtable"
base = "{base}"
table = "Campaigns"
token = {{ file = "airtable.token" }}
base_url = "{airtable}"
every = "1h"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A daemon with a mailbox and a sink, and the browser."""

    hub: Hub
    imap: dovecot.Dovecot
    airtable: AirtableDouble
    server: PageServer
    browser: Browser


@pytest.fixture(scope="module")
def business() -> Iterator[Business]:
    airtable = AirtableDouble(fields=set(CAMPAIGN_FIELDS))
    message = f'Unknown field name: "{HOSTILE}"'
    airtable.answers = [(422, {"error": {"type": "UNKNOWN_FIELD_NAME", "message": message}}, {})]
    with dovecot.running() as imap, serving(airtable), short_folder() as folder, open_browser() as browser:
        hub = Hub(folder)
        for name, secret in (("imap.pass", dovecot.PASSWORD), ("airtable.token", TOKEN)):
            (folder / name).write_text(secret)
            (folder / name).chmod(0o600)
        config = CONFIG.format(imap=imap.port, base=BASE, airtable=airtable.url, hostile="replies")
        (folder / "hubd.toml").write_text(config)
        try:
            make_database(folder / "state" / "hub.db")
            hub.boot()
            hub.contacts(PEOPLE)
            hub.campaign("october")
            hub.ok("start", "october", "--wait")
            with serve_dashboard(hub.socket) as server:
                yield Business(hub=hub, imap=imap, airtable=airtable, server=server, browser=browser)
        finally:
            hub.end()


@pytest.fixture
def page(business: Business) -> Iterator[Page]:
    with open_page(business.browser, business.server) as opened:
        expect(opened.get_by_text("Connected", exact=True)).to_be_visible()
        yield opened


def go(page: Page, path: str) -> None:
    page.evaluate("path => { location.hash = path }", path)


def move_into_last_month(hub: Hub) -> None:
    """What was counted so far happened some days before the first of this month."""
    hub.end()
    days = dt.datetime.now().astimezone().day + 10
    with closing(sqlite3.connect(hub.folder / "state" / "hub.db")) as db, db:
        db.execute("UPDATE rollup SET at = at - ?", (days * 86_400,))
    hub.boot()


def test_who_has_only_the_window_sees_tops_up_repeats_and_is_told(page: Page, business: Business) -> None:
    """Last month's figures, more credits, a campaign every Monday, and word of what needs a person."""
    hub = business.hub
    move_into_last_month(hub)
    page.get_by_role("link", name="Reports").click()
    page.get_by_role("link", name="Last month").click()
    sent = hub.json("report", "october")["total"]["sent"]
    assert sent == PEOPLE
    expect(page.get_by_role("row", name=re.compile("^october"))).to_contain_text(str(sent))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text("utf-8-sig"))))
    assert [row["sent"] for row in rows if row["name"] == "october"] == [str(sent)]
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("row", name=re.compile("^october 0 "))).to_be_visible()

    page.get_by_role("link", name="Credits").click()
    page.get_by_role("button", name="Grant credits…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Account").fill("team")
    dialog.get_by_label("Credits").fill("30")
    dialog.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("row", name=re.compile("^team"))).to_contain_text("30")

    page.get_by_role("link", name=re.compile("^New")).click()
    page.get_by_label("Name").fill("weekly")
    page.get_by_text("Transactional", exact=True).click()
    page.get_by_label(re.compile(r"^all\b")).check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("From", exact=True).fill("Acme <news@acme.example>")
    page.get_by_label("Subject").fill("This week")
    page.get_by_label("Text", exact=True).fill("Hi {{ first_name }}")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Paid from").select_option("team")
    expect(page.get_by_text(f"{PEOPLE - 30} credits are missing.")).to_be_visible()
    expect(page.get_by_label("What will happen")).to_contain_text(f"{PEOPLE - 30} too few")
    page.get_by_role("button", name="Top up…").click()
    expect(dialog.get_by_label("Credits")).to_have_value(str(PEOPLE - 30))
    dialog.get_by_label("Credits").fill("1000")
    dialog.get_by_role("button", name="Grant").click()
    expect(page.get_by_text(f"It reserves {PEOPLE} credits of team, which has 1,030")).to_be_visible()
    page.get_by_text("Repeatedly").click()
    page.get_by_label("Every", exact=True).fill("monday 9:00")
    page.get_by_label("Every", exact=True).press("Tab")
    expect(page.get_by_text(re.compile("^Next: .*09:00"))).to_be_visible()
    page.get_by_label("What will happen").get_by_role("button", name="Repeat for").click()
    page.get_by_role("dialog").get_by_role("button", name="Repeat it").click()
    expect(page.get_by_text("Every Monday at 9:00")).to_be_visible()
    assert hub.json("show", "weekly")["campaign"]["state"] == "scheduled"
    page.get_by_role("link", name=re.compile("^Campaigns")).first.click()
    expect(page.locator(".board tr").filter(has_text="weekly")).to_contain_text("never sent yet")

    need = page.locator(".needs li").filter(has_text="The sink control is paused")
    expect(need).to_contain_text(HOSTILE)
    need.get_by_role("link", name="Show the sinks").click()
    row = page.get_by_role("row", name=re.compile("^control"))
    expect(row).to_contain_text(HOSTILE)
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("Works")
    row.get_by_role("button", name="Test").click()
    expect(row).to_contain_text("It took the test")
    page.get_by_role("link", name=re.compile("^Notifications")).click()
    expect(page.get_by_role("listitem").filter(has_text="The sink control is paused")).to_be_visible()
    assert page.title() != "run"


def test_what_came_back_is_shown_with_its_source_and_words(page: Page, business: Business) -> None:
    hub, imap = business.hub, business.imap
    told = hub.ok("deliveries", "october", "--output", "ndjson").splitlines()
    found = {each["recipient"]: each["message_id"] for each in map(json.loads, told)}
    bounced, annoyed, writes = list(found)[:3]
    imap.put("bounces", "one", bounce(found[bounced], bounced, f"no such user {HOSTILE}"))
    imap.put("bounces", "two", complaint(found[annoyed], annoyed))
    imap.put("bounces", "three", reply(found[writes], writes, f"Please stop {HOSTILE}"))
    go(page, "/campaigns/october")
    back = page.get_by_role("listitem")
    for words in ("Bounces 1 2.5%", "Complaints 1 2.5%", "Replies 1 2.5%", "Undelivered 1 2.5%"):
        expect(back.filter(has_text=re.compile(r"\s*".join(words.split())))).to_be_visible()
    go(page, "/campaigns/october/recipients")
    page.get_by_role("button", name=bounced, exact=True).click()
    drawer = page.locator(".drawer")
    expect(drawer).to_contain_text("Bounced: mailbox unknown 550")
    expect(drawer).to_contain_text("read from the mailbox bounces")
    expect(drawer).to_contain_text(HOSTILE)
    drawer.get_by_role("link", name="Inbox").click()
    expect(page.get_by_role("article")).to_contain_text(HOSTILE)
    go(page, "/providers")
    row = page.get_by_role("row", name=re.compile("^bounces"))
    expect(row).to_contain_text("1 bounce, 1 complaint, 1 reply")
    row.get_by_role("button", name="Test").click()
    expect(row).to_contain_text("The login works. 3 mails in the folder")
    expect(page.get_by_role("row", name=re.compile("^replies"))).to_contain_text(
        re.compile("Tried again|Cannot")
    )
    assert page.title() != "run"
    assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_a_welcome_for_who_is_added_to_a_list_is_made_in_the_window(page: Page, business: Business) -> None:
    hub = business.hub
    hub.campaign("welcome")
    hub.ok("import", hub.file("new.csv", "email,first_name\nold@example.com,Ann\n"), "--list", "newcomers")
    go(page, "/new/welcome")
    page.get_by_role("button", name="Review and start").click()
    page.get_by_text("Whenever somebody is added to a list").click()
    page.get_by_label("Added to", exact=True).select_option("newcomers")
    expect(page.get_by_label("What will happen")).to_contain_text("added to newcomers gets this email")
    page.get_by_role("button", name="Show as file").click()
    dialog = page.get_by_role("dialog")
    shown = dialog.locator("pre").inner_text()
    assert 'list = "newcomers"' in shown.partition("[trigger]")[2]
    assert "lists" not in shown
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("button", name="Review and start").click()
    expect(page.get_by_label("Added to", exact=True)).to_have_value("newcomers")
    page.get_by_label("What will happen").get_by_role("button", name="Start it…").click()
    expect(dialog).to_contain_text("Everybody who is added to newcomers from now on gets it, once")
    dialog.get_by_role("button", name="Start it").click()
    expect(page.locator(".state.running")).to_be_visible()
    hub.ok("contacts", "add", "--list", "newcomers", "bo@example.com", "--set", "first_name=Bo")
    expect(page.locator(".kpis")).to_contain_text(re.compile(r"Joined so far\s*1.*Sent today\s*1", re.DOTALL))


PAGES = ("/", "/providers", "/sinks", "/campaigns/october", "/campaigns/weekly", "/campaigns/welcome")


def test_the_pages_with_something_in_them_are_accessible_and_fit(page: Page, business: Business) -> None:
    """axe-core finds no serious violation where the tables are full; nothing scrolls sideways."""
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    page.reload()
    page.evaluate((page_modules() / "axe-core" / "axe.min.js").read_text())
    for number, path in enumerate((*PAGES, "/new/weekly")):
        for scheme, size in (("light", WIDE), ("dark", NARROW))[:: 1 if number % 2 else -1]:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size(size)
            go(page, path)
            expect(page.locator("h1, h2").first).to_be_visible()
            if path == "/new/weekly":
                page.get_by_role("button", name="Review and start").click()
                expect(page.get_by_label("Paid from")).to_be_visible()
            expect(page.locator(".loading")).to_have_count(0)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= page.evaluate("innerWidth"), (path, scheme)
        found = page.evaluate("async () => (await axe.run()).violations")
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, (path, [(each["id"], each["nodes"][0]["html"]) for each in serious])
