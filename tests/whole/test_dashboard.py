"""hubview's page as a person uses it: in a real browser, on a real daemon, with real campaigns."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from hubview.server import PageServer
from tests.apps.conftest import Hub, new_hub
from tests.node_packages import page_modules
from tests.whole.dashboard import NARROW, WIDE, open_browser, open_page, serve_dashboard, serve_dropping

HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
PEOPLE = 700


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A daemon with people and campaigns: one done, one slow, one that was refused, one not begun."""
    with new_hub(observed=True) as hub:
        hub.contacts(PEOPLE)
        hub.campaign("done")
        hub.ok("start", "done", "--wait")
        hub.campaign("slow", rate="40/s", html="<h1>Hi {{ first_name }}</h1>")
        hub.campaign("draft-one")
        yield hub


@pytest.fixture(scope="module")
def server(hub: Hub) -> Iterator[PageServer]:
    with serve_dashboard(hub.socket) as served:
        yield served


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Page]:
    with open_page(browser, server) as opened:
        yield opened


def go(page: Page, path: str) -> None:
    page.evaluate("path => { location.hash = path }", path)


def counts(hub: Hub, name: str) -> dict[str, int]:
    found: dict[str, int] = hub.json("status", name)["campaign"]["counts"]
    return found


def test_a_list_is_imported_written_to_and_sent_without_a_terminal(
    page: Page, hub: Hub, tmp_path: Path
) -> None:
    file = tmp_path / "kunden 2026.csv"
    file.write_text(
        "E-Mail;Vorname;Ort\nada@example.com;Ada;Köln\nbroken@@example.org;Bob;Bonn\ncy@example.com;Cy;\n"
    )
    go(page, "/import")
    page.set_input_files("input[type=file]", file)
    expect(page.get_by_label("What E-Mail becomes")).to_have_value("email")
    page.get_by_label("What Ort becomes").select_option("")
    expect(page.get_by_text("not an email address")).to_be_visible()
    expect(page.get_by_role("button", name="Import 2 contacts")).to_be_visible()
    assert "kunden-2026" not in hub.ok("lists"), "nothing was written yet"
    page.get_by_role("button", name="Import 2 contacts").click()
    page.get_by_role("link", name="Write to them").click()
    assert "ort" not in hub.json("contacts", "show", "ada@example.com")["contact"]["fields"]

    page.get_by_label("Name").fill("From The Window")
    page.get_by_text("Transactional", exact=True).click()
    page.get_by_label("kunden-2026").check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("From", exact=True).fill("Acme <news@acme.example>")
    page.get_by_label("Subject").fill("Hello ")
    words = page.get_by_label("Text", exact=True)
    words.fill("Hi,\n\nDear {{ first_name }")
    expect(page.get_by_label("Found in this text").get_by_role("button", name="Line 3")).to_be_visible()
    page.get_by_role("button", name="Line 3").click()
    selected = words.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert selected == "Dear {{ first_name }"
    words.fill("Hi ")
    page.get_by_title("Insert first_name").click()
    expect(page.get_by_label("Found in this text")).to_have_count(0)
    expect(page.get_by_label("Preview").get_by_text("Hi Ada")).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("2 people can get it")).to_be_visible()
    page.get_by_label("What will happen").get_by_role("button", name="Start with 2 people").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 people get the message, beginning now")
    dialog.get_by_role("button", name="Start with 2 people").click()
    expect(page.locator("h1")).to_have_text("from-the-window")
    expect(page.locator(".state.completed")).to_be_visible()
    assert counts(hub, "from-the-window")["sent"] == 2


def test_a_campaign_from_a_template_for_those_who_match_a_condition(page: Page, hub: Hub) -> None:
    template = (
        'name = "welcome"\nchannel = "email"\nsubject = "Welcome"\ntext = "Welcome, {{ first_name }}."\n'
    )
    hub.ok("template", "apply", hub.file("welcome-template.toml", template))
    go(page, "/new")
    page.get_by_label("Name").fill("done")
    page.get_by_role("button", name="Review and start").click()
    expect(page.get_by_text("Another campaign already has this name")).to_be_visible()
    page.get_by_label("Name").fill("zoes")
    page.get_by_text("Transactional", exact=True).click()
    page.get_by_label(re.compile(r"^all\b")).check()
    page.get_by_label("Only contacts where").fill("first_name ==")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("From", exact=True).fill("Acme <news@acme.example>")
    page.get_by_label("Start from a template").select_option("welcome")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Welcome, {{ first_name }}.")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#where-error")).to_be_visible()
    page.get_by_label("Only contacts where").fill("first_name == 'Zoë 7'")
    page.get_by_role("button", name="Review and start").click()
    expect(page.get_by_text(f"The condition is true for 1 of {PEOPLE} contacts")).to_be_visible()
    expect(page.get_by_text("1 person can get it")).to_be_visible()
    page.get_by_role("button", name="Show as file").click()
    expect(page.get_by_role("dialog")).to_contain_text("where = \"first_name == 'Zoë 7'\"")
    page.keyboard.press("Escape")
    assert hub.json("show", "zoes")["campaign"]["state"] == "draft"
    page.reload()
    expect(page.get_by_label("Only contacts where")).to_have_value("first_name == 'Zoë 7'")


def test_a_running_campaign_is_live_paused_at_once_and_shows_the_figures_of_hubctl(
    page: Page, hub: Hub
) -> None:
    go(page, "/campaigns/slow")
    page.get_by_role("button", name="Start…").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Start with 7")).click()
    expect(page.locator(".state.running")).to_be_visible()
    sent = page.locator(".counts > div:nth-child(2) dd")
    expect(sent).to_have_text(re.compile(r"^[1-9]"))
    page.keyboard.press("p")
    expect(page.locator(".state.paused")).to_be_visible()
    told = counts(hub, "slow")
    expect(sent).to_contain_text(f"{told['sent']}")
    expect(page.locator(".counts > div:nth-child(8) dd")).to_contain_text(f"{told['pending']}")
    assert counts(hub, "slow") == told, "nothing leaves after the pause"


def test_a_killed_daemon_is_said_and_when_it_is_back_nothing_is_missed(
    browser: Browser, server: PageServer, hub: Hub
) -> None:
    with open_page(browser, server, "/campaigns/done/log") as page:
        expect(page.get_by_text("Running to completed")).to_be_visible()
        assert hub.process is not None
        os.kill(hub.process.pid, signal.SIGKILL)
        hub.process.wait()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("hubd is not running")
        expect(alert).to_contain_text("Nothing is lost")
        expect(page.get_by_text("Not connected")).to_be_visible()
        expect(page.get_by_text("Running to completed")).to_be_visible()
        hub.boot()
        hub.campaign("made-meanwhile")
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        expect(alert).to_have_count(0)
        go(page, "/")
        expect(page.get_by_role("link", name="made-meanwhile", exact=True)).to_be_visible()


def test_the_connection_resumes_by_its_cursor(browser: Browser, server: PageServer, hub: Hub) -> None:
    with open_page(browser, server) as page:
        frames: list[dict[str, Any]] = []
        page.on(
            "websocket", lambda socket: socket.on("framesent", lambda text: frames.append(json.loads(text)))
        )
        expect(page.get_by_role("link", name="done", exact=True)).to_be_visible()
        assert hub.process is not None
        os.kill(hub.process.pid, signal.SIGKILL)
        hub.process.wait()
        expect(page.get_by_text("Not connected")).to_be_visible()
        hub.boot()
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    asked = [frame["params"] for frame in frames if frame["method"] == "events.subscribe"]
    assert asked, "the frames of the first connection may have come before we listened"
    assert set(asked[-1]["after"]) == {"epoch", "seq"}


def test_a_recipient_is_found_and_the_whole_life_of_the_message_shown(page: Page, hub: Hub) -> None:
    go(page, "/campaigns/done/recipients")
    expect(page.locator(".virtual tbody tr").first).to_be_visible()
    assert page.locator(".virtual tbody tr").count() < 60, "only what is in view is drawn"
    page.locator(".virtual").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(page.get_by_role("button", name=f"p{PEOPLE - 1}@example.com")).to_be_visible()
    page.get_by_label("Go to row").fill("351")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("^351 to 3"))).to_be_visible()
    expect(page.get_by_role("button", name="p350@example.com")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    assert saved.value.suggested_filename == "done-recipients.csv"
    lines = saved.value.path().read_text("utf-8-sig").splitlines()
    assert lines == hub.ok("deliveries", "done", "--output", "csv").splitlines()
    page.get_by_label("Find a recipient").fill("P12@EXAMPLE")
    expect(page.get_by_text("1 recipient.")).to_be_visible()
    page.get_by_role("button", name="p12@example.com").click()
    drawer = page.locator(".drawer")
    expect(drawer).to_contain_text("Attempt 1 recorded, then sent to outbox")
    drawer.get_by_role("button", name="Content").click()
    expect(drawer).to_contain_text("Hi Zoë 12")
    drawer.get_by_role("button", name="Source").click()
    expect(drawer).to_contain_text("Message-ID:")
    page.locator("h1").click()
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_what_a_stop_does_is_said_in_numbers_before_it_is_done(page: Page, hub: Hub) -> None:
    hub.ok("start", "slow")
    hub.ok("pause", "slow")
    go(page, "/campaigns/slow")
    page.get_by_role("button", name="Stop…").click()
    dialog = page.get_by_role("dialog")
    waiting = counts(hub, "slow")["pending"]
    expect(dialog).to_contain_text(f"{waiting} people will not get the message")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert hub.json("status", "slow")["campaign"]["state"] == "paused"
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("dialog").get_by_role("button", name=f"Stop, leave {waiting} out").click()
    expect(page.locator(".state.stopped")).to_be_visible()


def test_numbers_that_changed_under_an_open_question_are_asked_again(page: Page, hub: Hub) -> None:
    go(page, "/campaigns/draft-one")
    page.get_by_role("button", name="Start…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{PEOPLE} people get the message")
    hub.ok("contacts", "add", "--list", "all", "late@example.com")
    dialog.get_by_role("button", name=f"Start with {PEOPLE} people").click()
    expect(dialog).to_contain_text(f"it is {PEOPLE + 1} people now")
    assert hub.json("status", "draft-one")["campaign"]["state"] == "draft"
    hub.ok("-y", "contacts", "remove", "late@example.com")


def test_an_account_is_added_tested_changed_and_removed(page: Page, hub: Hub) -> None:
    go(page, "/providers")
    page.get_by_role("button", name="Add a provider…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Google wants an app password here")
    expect(dialog.get_by_label("Refresh token")).to_have_count(0)
    dialog.get_by_label("Log in with").select_option("xoauth2")
    expect(dialog.get_by_label("Refresh token")).to_be_visible()
    dialog.get_by_label("Send with").select_option("smtp")
    dialog.get_by_label("Log in with").select_option("password")
    dialog.get_by_label("Name", exact=True).fill("office")
    dialog.get_by_label("Mail server").fill("127.0.0.1")
    dialog.get_by_label("Port").fill("70000")
    dialog.get_by_label("Encryption").select_option("none")
    dialog.get_by_role("button", name="Add and test the login").click()
    expect(dialog).to_contain_text("70000 is not in the range")
    assert "office" not in (hub.folder / "hubd.toml").read_text()
    dialog.get_by_label("Port").fill("9")
    dialog.get_by_role("button", name="Add and test the login").click()
    row = page.get_by_role("row", name=re.compile("^office"))
    expect(row).to_contain_text("cannot be reached")
    assert "[providers.office]" in (hub.folder / "hubd.toml").read_text()
    row.get_by_role("button", name="Change…").click()
    expect(dialog.get_by_label("Mail server")).to_have_value("127.0.0.1")
    dialog.get_by_label("Limits").fill("20/minute, 1000/day")
    dialog.get_by_role("button", name="Change and test the login").click()
    expect(row).to_contain_text("20/minute, 1000/day")
    hub.campaign("two-ways")
    go(page, "/new/two-ways")
    page.get_by_role("button", name="Add one that takes over").click()
    page.get_by_role("button", name="Prefer office").click()
    page.get_by_role("button", name="Show as file").click()
    expect(dialog).to_contain_text('provider = ["office", "outbox"]')
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Review and start").click()
    expect(page.get_by_text("office, then outbox")).to_be_visible()
    assert 'provider = ["office", "outbox"]' in hub.ok("show", "two-ways", "--toml")
    page.reload()
    expect(page.get_by_label("Provider 2, if those before it cannot send")).to_have_value("outbox")
    hub.ok("-y", "delete", "two-ways")
    go(page, "/providers")
    row.get_by_role("button", name="Remove…").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the provider").click()
    expect(row).to_have_count(0)


def test_a_campaign_is_repeated_and_its_next_times_are_shown_before(page: Page, hub: Hub) -> None:
    hub.campaign("weekly")
    go(page, "/new/weekly")
    page.get_by_role("button", name="Review and start").click()
    page.get_by_text("Repeatedly").click()
    expect(page.get_by_role("button", name=re.compile("^Repeat for"))).to_have_attribute(
        "aria-disabled", "true"
    )
    page.get_by_label("Every", exact=True).fill("mondai 9:00")
    page.get_by_label("Every", exact=True).press("Tab")
    expect(page.locator("#every-error")).to_be_visible()
    page.get_by_label("Every", exact=True).fill("monday 9:00")
    page.get_by_label("Every", exact=True).press("Tab")
    expect(page.get_by_text(re.compile("^Next: .*09:00, .*09:00"))).to_be_visible()
    page.get_by_label("What will happen").get_by_role("button", name="Repeat for").click()
    page.get_by_role("dialog").get_by_role("button", name="Repeat it").click()
    expect(page).to_have_url(re.compile("#/campaigns/weekly$"))
    assert hub.json("status", "weekly")["campaign"]["repeats"].startswith("monday 9:00 (")
    hub.ok("stop", "weekly")


def test_several_campaigns_are_chosen_by_label_and_what_became_of_each_is_said(page: Page, hub: Hub) -> None:
    """By keyboard alone: one cannot be started, so the others are, and it is said why."""
    for name, text in (("lot-a", "Hi"), ("lot-b", "Hi"), ("lot-c", "Hi {{ nothing }}")):
        hub.campaign(name, labels=["lot"], text=text, rate="1/s")
    page.get_by_label("Label", exact=True).select_option("lot")
    expect(page.locator(".board tbody tr")).to_have_count(3)
    everyone = page.get_by_label("Select all campaigns that are shown")
    everyone.focus()
    page.keyboard.press("Space")
    bar = page.get_by_role("group", name="Selected campaigns")
    expect(bar).to_contain_text("3 selected")
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)
    page.keyboard.press("Space")
    bar.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Start 2 campaigns for {2 * PEOPLE:,} people")
    expect(dialog.get_by_role("row", name=re.compile("^lot-c"))).to_contain_text("Left as it is")
    dialog.get_by_role("button", name="Start 2 campaigns").press("Enter")
    expect(dialog).to_contain_text("2 campaigns started")
    page.keyboard.press("Escape")
    states = {each["name"]: each["state"] for each in hub.json("list", "--label", "lot")["campaigns"]}
    assert states == {"lot-a": "running", "lot-b": "running", "lot-c": "draft"}
    page.get_by_label("Select lot-a").check()
    page.get_by_label("Select lot-b").check()
    bar.get_by_role("button", name="Pause").click()
    hub.ok("-y", "delete", "lot-c")
    dialog.get_by_role("button", name="Pause 2 campaigns").click()
    expect(dialog).to_contain_text("2 campaigns paused")
    page.keyboard.press("Escape")
    everyone.check()
    bar.get_by_role("button", name="Stop").click()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Stop 2 campaigns").click()
    expect(dialog).to_contain_text("2 campaigns stopped")
    page.keyboard.press("Escape")
    everyone.check()
    bar.get_by_role("button", name="Delete").click()
    hub.ok("-y", "archive", "lot-a")
    hub.ok("-y", "start", "lot-b")
    dialog.get_by_role("button", name="Delete 2 campaigns").click()
    expect(dialog).to_contain_text("The numbers changed while the question was open")
    dialog.get_by_role("button", name="Delete 1 campaign").click()
    expect(dialog).to_contain_text("1 campaign deleted")
    assert hub.json("status", "lot-b")["campaign"]["state"] == "running"
    hub.ok("-y", "stop", "lot-b")
    hub.ok("-y", "delete", "lot-b")


def test_figures_and_notifications_are_those_of_hubctl(page: Page, hub: Hub) -> None:
    go(page, "/reports/week")
    sent = next(each for each in hub.json("report")["campaigns"] if each["name"] == "done")["sent"]
    expect(page.get_by_role("row", name=re.compile("^done"))).to_contain_text(f"{sent:,}")
    go(page, "/notifications")
    entry = page.get_by_role("listitem").filter(has_text="done is completed")
    expect(entry.get_by_text("unread")).to_have_count(1)
    page.get_by_role("button", name="Mark all as read").click()
    expect(entry.get_by_text("unread")).to_have_count(0)
    assert hub.json("notifications", "--unread")["notifications"] == []


def test_credits_are_granted_with_what_is_available_then(page: Page, hub: Hub) -> None:
    hub.ok("credits", "grant", "shop", "100")
    go(page, "/credits")
    page.get_by_role("button", name="Grant credits…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Account").fill("shop")
    dialog.get_by_label("Credits").fill("2.5")
    expect(dialog.get_by_role("button", name="Grant")).to_have_attribute("aria-disabled", "true")
    dialog.get_by_label("Credits").fill("1,900")
    dialog.get_by_label("Note").fill("December")
    expect(dialog).to_contain_text("available then; 100 now")
    dialog.get_by_role("button", name="Grant").click()
    page.get_by_role("link", name="shop").click()
    expect(page.get_by_role("row").filter(has_text="December")).to_contain_text("1,900")
    accounts = {each["name"]: each["available"] for each in hub.json("credits")["accounts"]}
    assert accounts["shop"] == 2000


def test_what_is_in_doubt_waits_for_a_decision_with_its_consequence(page: Page, hub: Hub) -> None:
    with serve_dropping() as port:
        with (hub.folder / "hubd.toml").open("a") as file:
            file.write(
                f'[providers.drops]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
            )
        hub.ok("daemon", "reload")
        hub.ok("import", hub.file("two.csv", "email\na@example.com\nb@example.com\n"), "--list", "two")
        hub.campaign("doubtful", lists=["two"], provider="drops", in_doubt="hold", subject="x", text="x")
        hub.ok("-y", "start", "doubtful")
        need = page.locator(".needs li").filter(has_text="2 messages of doubtful are in doubt")
        need.get_by_role("button", name="Decide…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Nobody knows whether they got it")
        dialog.get_by_text("Send them again").click()
        expect(dialog).to_contain_text("2 people get the text, and those who got it already get it twice")
        dialog.get_by_text("Count them as sent").click()
        dialog.get_by_role("button", name="Count as sent: 2").click()
        expect(need).to_have_count(0)
    assert counts(hub, "doubtful")["sent"] == 2


def test_nothing_that_others_wrote_runs(page: Page, hub: Hub, browser: Browser, server: PageServer) -> None:
    rows = f'email,first_name\nx@example.com,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n'
    hub.ok("import", hub.file("hostile.csv", rows), "--list", "hostile")
    hub.campaign(
        "hostile",
        lists=["hostile"],
        subject=HOSTILE,
        text=HOSTILE,
        html=f"<p>{{{{ first_name }}}}</p>{HOSTILE}",
    )
    hub.ok("start", "hostile", "--wait")
    for path in ("", "/content", "/log", "/recipients"):
        go(page, f"/campaigns/hostile{path}")
        expect(page.locator("h1")).to_have_text("hostile")
    page.get_by_role("button", name="x@example.com").click()
    page.locator(".drawer").get_by_role("button", name="Content").click()
    frame = page.frame_locator(".drawer iframe")
    expect(frame.locator("p")).to_be_visible()
    go(page, "/contacts/list/hostile")
    expect(page.get_by_text(HOSTILE[:20])).to_be_visible()
    assert page.title() != "run"
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert "key=" not in page.url


def test_a_viewer_sees_figures_and_can_change_nothing(browser: Browser, server: PageServer, hub: Hub) -> None:
    with open_page(browser, server) as operator:  # the daemon listens for a page since an operator asked
        expect(operator.get_by_text("Connected", exact=True)).to_be_visible()
    with serve_dashboard(hub.observe) as viewers, open_page(browser, viewers) as page:
        expect(page.get_by_text("View only")).to_be_visible()
        expect(page.get_by_role("link", name="done", exact=True)).to_be_visible()
        for path in ("/", "/campaigns/slow", "/campaigns/done/content", "/providers", "/settings"):
            go(page, path)
            expect(page.locator("h1")).to_be_visible()
            expect(page.locator(".loading")).to_have_count(0)
            words = " ".join(
                page.get_by_role("button").all_inner_texts() + page.get_by_role("link").all_inner_texts()
            )
            changing = (
                r"Pause|Resume|Stop|Start|Retry|Decide|Delete|Copy|New|Edit|Archive|Test|Disable|Import"
            )
            assert not re.search(changing, words), (path, words)
        assert "@example.com" not in page.content()


def test_a_page_without_the_key_gets_nothing(browser: Browser, server: PageServer) -> None:
    with open_page(browser, server, key=False) as page:
        expect(page.get_by_role("alert")).to_contain_text("was not opened by hubview")
        expect(page.get_by_role("link", name="done", exact=True)).to_have_count(0)


def test_a_ticket_that_was_used_opens_nothing(browser: Browser, server: PageServer) -> None:
    used = {}

    with open_page(browser, server) as page:
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        used.update(
            page.evaluate(
                """async key => {
                  const answer = await fetch('/ticket', { method: 'POST',
                    headers: { 'Hubview-Key': key, 'Content-Type': 'application/json' }, body: 'null' });
                  const { url, ticket } = await answer.json();
                  const open = () => new Promise((resolve) => {
                    const socket = new WebSocket(url, ['hub.jsonrpc.v1', `hub.bearer.${ticket}`]);
                    socket.onopen = () => resolve(socket.close() ?? 'open');
                    socket.onerror = () => resolve('refused');
                  });
                  return { first: await open(), second: await open() };
                }""",
                server.key,
            )
        )
    assert used == {"first": "open", "second": "refused"}


PAGES = (
    *("/", "/campaigns/done", "/campaigns/done/recipients", "/campaigns/done/failures"),
    *("/campaigns/done/content", "/campaigns/done/log", "/new", "/contacts", "/contacts/list/all"),
    *(
        "/import",
        "/providers",
        "/sinks",
        "/suppressions",
        "/credits",
        "/credits/team",
        "/settings",
        "/nowhere",
    ),
    *("/inbox", "/reports", "/reports/year", "/notifications"),
)


def test_every_page_is_accessible_and_fits_a_narrow_window(
    browser: Browser, server: PageServer, hub: Hub
) -> None:
    """axe-core finds no serious violation, wide in light or narrow in dark; nothing scrolls sideways."""
    axe = (page_modules() / "axe-core" / "axe.min.js").read_text()
    hub.ok("credits", "grant", "team", "5000", "--note", "December")
    with open_page(browser, server) as page:
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
        page.reload()
        page.evaluate(axe)
        for number, path in enumerate(PAGES):
            for scheme, size in (("light", WIDE), ("dark", NARROW))[:: 1 if number % 2 else -1]:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.set_viewport_size(size)
                go(page, path)
                expect(page.locator("h1, h2").first).to_be_visible()
                expect(page.locator(".loading")).to_have_count(0)
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= page.evaluate("innerWidth"), (path, scheme)
            check_accessible(page, path)
        go(page, "/")
        page.get_by_label("Select all campaigns that are shown").check()
        page.get_by_role("group", name="Selected campaigns").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check_accessible(page, "the question about several campaigns")


def check_accessible(page: Page, what: str) -> None:
    """axe-core, which is loaded, finds nothing serious; takes half a second."""
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, (what, [(each["id"], each["nodes"][0]["html"]) for each in serious])


def test_the_keys_lead_to_what_they_say_and_can_be_switched_off(page: Page) -> None:
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("New campaign")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter campaigns")).to_be_focused()
    page.keyboard.type("don")
    expect(page.locator(".board tbody tr")).to_have_count(1)
    page.locator("h1").click()
    page.keyboard.press("n")
    expect(page.get_by_label("Name")).to_be_visible()
    go(page, "/settings")
    page.get_by_label("Single keys act").uncheck()
    page.locator("h1").click()
    page.keyboard.press("n")
    expect(page.locator("h1")).to_have_text("Settings")
