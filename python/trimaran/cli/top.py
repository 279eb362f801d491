"""`trimaran top`: a node, live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import DataTable, Footer, Static
from textual.widgets.data_table import RowDoesNotExist

from trimaran.cli import top_rows
from trimaran.cli.nodes import control_socket
from trimaran.cli.top_rows import Column, Row, Status
from trimaran.node.client import ControlClient, ControlError
from trimaran.system import clock
from trimaran.system.errors import CannotRunError

PERIOD_S = 1.0
_STYLES = {"bad": "bold red", "warn": "yellow", "": ""}

Ask = Callable[[], Awaitable[Status]]
Change = Callable[[str, str, str], Awaitable[list[dict[str, Any]]]]


class Section(DataTable[Text]):
    """One table of rows. Its columns are those that the screen has room for."""

    def __init__(self, title: str, columns: Sequence[Column], name: str) -> None:
        super().__init__(id=name, cursor_type="row", zebra_stripes=True)
        self._heading = title
        self._wanted = columns
        self._places: list[str] = []
        self.order = ""
        self.rows_shown: dict[str, Row] = {}

    def lay_out(self, width: int) -> None:
        """Have the columns for a screen of that width."""
        self.clear(columns=True)
        self._places = []
        for column in self._wanted:
            if column.screen <= width:
                heading = Text(column.heading, justify="right" if column.right else "left")
                self.add_column(heading, key=column.key)
        if self.rows_shown:
            self.show(list(self.rows_shown.values()))

    def show(self, rows: list[Row]) -> None:
        """These rows and no others; the cursor stays on its own."""
        self.display = bool(rows)
        ordered = top_rows.arranged(rows, self.order)
        keys = [row.key for row in ordered]
        chosen = self.chosen()
        self.rows_shown = {row.key: row for row in ordered}
        self.border_title = self._heading + (f" by {self.order}" if self.order else "")
        columns = [column for column in self._wanted if column.key in self.columns]
        if keys != self._places:
            self.clear()
            for row in ordered:
                self.add_row(*(self._cell(column, row) for column in columns), key=row.key)
            self._places = keys
            self._return_to(chosen)
            return
        for row in ordered:
            for column in columns:
                cell = self._cell(column, row)
                if self.get_cell(row.key, column.key) != cell:
                    self.update_cell(row.key, column.key, cell, update_width=True)

    def chosen(self) -> Row | None:
        """The row under the cursor."""
        if not self._places or not 0 <= self.cursor_row < len(self._places):
            return None
        return self.rows_shown.get(self._places[self.cursor_row])

    def _return_to(self, row: Row | None) -> None:
        if row is None:
            return
        try:
            self.move_cursor(row=self.get_row_index(row.key))
        except RowDoesNotExist:
            return

    def _cell(self, column: Column, row: Row) -> Text:
        styled = column.key in ("state", "quorum", "error", "name")
        style = _STYLES[row.trouble] if styled else ""
        words = top_rows.shown(row.cells.get(column.key, ""))
        return Text(words, style, justify="right" if column.right else "left", no_wrap=True)


class Top(App[None]):
    """`ask` gives the node's status, `change` drains, enables or disables (verb, name, service)."""

    CSS = """
    Screen { layout: vertical; }
    #head { height: 1; padding: 0 1; background: $primary; color: $text; }
    Section { border: round $primary-darken-1; height: auto; max-height: 30%; padding: 0; }
    Section:focus { border: round $accent; }
    #reals { height: auto; max-height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "change('drain')", "Drain"),
        Binding("e", "change('enable')", "Enable"),
        Binding("x", "change('disable')", "Disable"),
        Binding("s", "sort", "Sort"),
        Binding("tab", "focus_next", "Next table"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, ask: Ask, change: Change, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._ask, self._change, self._period_s = ask, change, period_s
        self._before: Status | None = None
        self._before_at = 0.0
        self._looking = False

    def compose(self) -> ComposeResult:
        """One line, the tables, the keys."""
        yield Static("", id="head")
        yield Section("virtual routers", top_rows.ROUTERS, "routers")
        yield Section("virtual services", top_rows.SERVICES, "services")
        yield Section("real servers", top_rows.REALS, "reals")
        yield Section("peers", top_rows.PEERS, "peers")
        yield Footer()

    async def on_mount(self) -> None:
        """Look at once, then every period."""
        for section in self.query(Section):
            section.lay_out(self.size.width)
            section.display = False
        await self.look()
        for name in ("#reals", "#peers", "#services", "#routers"):
            if self.query_one(name).display:
                self.query_one(name).focus()
                break
        self.set_interval(self._period_s, self.look)

    def on_resize(self, event: Resize) -> None:
        """Have as many columns as there is room for."""
        for section in self.query(Section):
            section.lay_out(event.size.width)

    async def look(self) -> None:
        """Ask the node and show it; one that does not answer is said, and asked again."""
        if self._looking:
            return
        self._looking = True
        head = self.query_one("#head", Static)
        try:
            status = await self._ask()
        except (ControlError, CannotRunError) as error:
            head.update(Text(str(error), "bold red"))
        else:
            now = clock.now()
            self._show(status, now - self._before_at)
            self._before, self._before_at = status, now
        finally:
            self._looking = False

    def _show(self, status: Status, seconds: float) -> None:
        before = self._before
        self.query_one("#head", Static).update(_head(status))
        self._section("routers").show(top_rows.routers(status))
        self._section("services").show(top_rows.services(status, before, seconds))
        self._section("reals").show(top_rows.reals(status, before, seconds))
        self._section("peers").show(top_rows.peers(status, before, seconds))

    def _section(self, name: str) -> Section:
        return self.query_one(f"#{name}", Section)

    async def action_change(self, verb: str) -> None:
        """Drain, enable or disable what the cursor is on."""
        section = self.focused
        row = section.chosen() if isinstance(section, Section) else None
        if row is None or row.target is None:
            self.notify("choose a real server or a peer first", severity="warning")
            return
        try:
            changed = await self._change(verb, *row.target)
        except (ControlError, CannotRunError) as error:
            self.notify(str(error), severity="error")
            return
        for each in changed:
            self.notify(f"{each['service']}: {each['name']} is {each['mode']}")
        await self.look()

    def action_sort(self) -> None:
        """The next order of the table that has the focus."""
        section = self.focused
        if isinstance(section, Section):
            here = [key for key in top_rows.SORTS if not key or key in section.columns]
            section.order = here[(here.index(section.order) + 1) % len(here)]
            section.show(list(section.rows_shown.values()))


def _head(status: Status) -> Text:
    text = Text(f"{status['node']}  ", "bold", no_wrap=True, overflow="ellipsis")
    for name, row in status["roles"].items():
        style = "" if row["state"] == "running" else "bold red"
        text.append(f"{name} {row['state']}  ", style)
        if name == "director" and row["status"]:
            text.append(f"{row['status']['flows']['live']:,} flows  ")
            text.append(f"{sum(row['status']['drops'].values()):,} drops  ")
    return text


def show_top(node: str | None, run_dir: Path | None) -> None:
    """Until the user has seen enough. Raises CannotRunError, ControlError."""
    path = control_socket(node, run_dir)

    async def ask() -> Status:
        async with ControlClient(path) as client:
            return await client.status()

    async def change(verb: str, name: str, service: str) -> list[dict[str, Any]]:
        async with ControlClient(path) as client:
            return await client.change(verb, name, service)

    asyncio.run(ask())  # one that does not run is said before the screen is taken
    Top(ask, change).run()
