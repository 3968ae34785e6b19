"""What the page asks of its program: tickets, starting the daemon, accounts, frames for previews, files."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from hubd.errors import BadInput, HubError
from hubview.accounts import add_account, change_account, kinds, remove_account
from hubview.daemon import Daemon
from hubview.login import LoginStart
from hubview.notify import can_notify
from hubview.saving import Saving
from hubview.server import PageServer, Request
from hubview.settings import Settings
from hubview.table import Table


class PageRequests:
    """Answers them. An error is an answer too: `{"error": {code, message, hint, can_start, can_enable}}`."""

    def __init__(self, daemon: Daemon, settings: Settings) -> None:
        self._daemon = daemon
        self._settings = settings
        self.saving = Saving(daemon.place)
        self._login = LoginStart(daemon.place)
        self._table: Table | None = None
        self._reading = threading.Lock()

    def __call__(self, server: PageServer, request: Request) -> Mapping[str, object]:
        """The answer to one request."""
        try:
            return self._answer(server, request)
        except HubError as error:
            can_start = self._daemon.start_command() is not None
            told = {"code": error.code, "message": str(error), "hint": error.hint, "can_start": can_start}
            if can_start:
                login = self._login.state()
                told["can_enable"] = login["possible"] and not login["on"]
            return {"error": told}

    def _answer(self, server: PageServer, request: Request) -> Mapping[str, object]:
        match request.path:
            case "/ticket":
                told = {"choices": self._settings.choices, "notifies": can_notify()}
                return {**self._daemon.ticket(server.origin), **told}
            case "/start":
                self._daemon.start()
                return {}
            case "/login":
                return self._login.state()
            case "/login/switch":
                return self._login.switch(request.body)
            case "/preview":
                html = request.body.get("html") if isinstance(request.body, dict) else None
                if not isinstance(html, str):
                    raise BadInput.at("html", "must be a text")
                return {"path": server.keep_preview(html)}
            case "/save":
                return self.saving.save(server.keep_file, request.body)
            case "/choices":
                self._settings.keep_choices(request.body)
                return {}
            case "/provider/kinds":
                return kinds()
            case "/provider/set":
                return change_account(self._daemon.place, request.body)
            case "/provider/add":
                return add_account(self._daemon.place, request.body)
            case "/provider/remove":
                return remove_account(self._daemon.place, request.body)
            case "/table":
                self._table = Table(request.body, request.name or "file.csv")
                return self._table.describe()
            case "/table/rows":
                if self._table is None or not isinstance(request.body, int):
                    raise BadInput("there is no file", hint="choose it again")
                with self._reading:
                    return self._table.page(request.body)
        raise HubError(f"hubview does not know {request.path}", code="method_not_found")
