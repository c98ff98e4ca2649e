"""The page: choose records, listen, read, flag; statistics and plots; copies by ear."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from alm.errors import AlmError
from data_prep.inspecting import cards
from data_prep.inspecting.flags import REASONS, FlagFile
from data_prep.inspecting.plots import plots_of
from data_prep.inspecting.sound import Players
from data_prep.inspecting.statistics import Statistics
from data_prep.inspecting.table import FACETS, Table

ALL = "all"
FLAGGED, UNFLAGGED = "flagged", "not flagged"
_MOST_CHOICES = 500
_KEYS = (
    "<p>Keys: <kbd>j</kbd> next, <kbd>k</kbd> previous, <kbd>r</kbd> random, <kbd>p</kbd> play or pause, "
    "<kbd>/</kbd> search, <kbd>f</kbd> flag, <kbd>u</kbd> take the flag back</p>"
)
Shown = tuple[Any, Any, Any]


class InspectPage:
    """The page's components and what happens when they are used."""

    def __init__(self, table: Table, found: Statistics, flags: FlagFile, players: Players) -> None:
        self.table, self.found, self.flags, self.players = table, found, flags, players
        self.everything = np.arange(len(table))
        with gr.Blocks(title="alm data", analytics_enabled=False, fill_height=False) as self.blocks:
            gr.HTML(self._title(), elem_id="title")
            with gr.Tab("Records", id="records"):
                self._add_records()
            with gr.Tab("Statistics", id="statistics"):
                gr.HTML(cards.facts_table(found) + cards.wrong_rows(table), elem_id="facts")
                gr.HTML(f'<div class="alm-plots">{cards.pictures(plots_of(found))}</div>', elem_id="plots")
            with gr.Tab("Copies and leaks", id="copies"):
                self._add_copies()
        self.blocks.queue(default_concurrency_limit=4)

    def _title(self) -> str:
        name = self.table.folder.resolve().name
        return f"<h1>Records</h1><p>{cards.text(name)}: {cards.text(self.table.contents)}</p>"

    def _add_records(self) -> None:
        self.rows = gr.State(self.everything)
        self.position = gr.State(0)
        with gr.Row():
            self.search = gr.Textbox("", label="Search", info="In the whole row, whatever its case.", max_length=200,
                                     elem_id="search", scale=2, min_width=200)  # fmt: skip
            self.facets = [self._facet(name) for name in FACETS]
            self.state = gr.Dropdown([ALL, FLAGGED, UNFLAGGED], value=ALL, label="flag", elem_id="facet-flag",
                                     scale=1, min_width=120)  # fmt: skip
        with gr.Row(elem_id="moves", equal_height=False):
            previous = gr.Button("Previous", elem_id="previous", size="sm", min_width=60)
            following = gr.Button("Next", elem_id="next", size="sm", min_width=60, variant="primary")
            chance = gr.Button("Random", elem_id="random", size="sm", min_width=60)
            self.number = gr.Number(1, label="Go to", precision=0, minimum=1, elem_id="goto", min_width=90)
        self.place = gr.HTML(cards.shown_place(0, self.everything, len(self.table)), elem_id="place")
        self.card = gr.HTML(self._card(self.everything, 0), elem_id="record")
        with gr.Row(elem_id="flagging", equal_height=False):
            self.reason = gr.Radio(list(REASONS), value=REASONS[0], label="What is wrong", elem_id="reason", scale=3)
            self.note = gr.Textbox("", label="Note", max_length=1000, elem_id="note", scale=2, min_width=160)
            flag = gr.Button("Flag", elem_id="flag", size="sm", min_width=60, variant="stop")
            unflag = gr.Button("Take back", elem_id="unflag", size="sm", min_width=60)
        gr.HTML(_KEYS, elem_id="keys")
        self._connect(previous, following, chance, flag, unflag)

    def _facet(self, name: str) -> Any:
        words = [word for word, _ in self.found_counts(name).most_common(_MOST_CHOICES)]
        return gr.Dropdown([ALL, *words], value=ALL, label=name, elem_id=f"facet-{name}", scale=1, min_width=120)

    def found_counts(self, name: str) -> Any:
        """Rows by word of a facet."""
        return self.table.facets[name].counts()

    def _connect(self, previous: Any, following: Any, chance: Any, flag: Any, unflag: Any) -> None:
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        shown = [self.position, self.place, self.card]
        here = [self.rows, self.position]
        wanted = [self.search, self.state, *self.facets]
        for facet in (self.state, *self.facets):
            facet.input(self.on_choose, wanted, [self.rows, *shown], **quiet)
        self.search.submit(self.on_choose, wanted, [self.rows, *shown], **quiet)
        self.search.blur(self.on_choose, wanted, [self.rows, *shown], **quiet)
        previous.click(lambda rows, at: self._at(rows, at - 1), here, shown, **quiet)
        following.click(lambda rows, at: self._at(rows, at + 1), here, shown, **quiet)
        chance.click(lambda rows, at: self._at(rows, random.randrange(max(1, len(rows)))), here, shown, **quiet)
        self.number.submit(lambda rows, n: self._at(rows, int(n or 1) - 1), [self.rows, self.number], shown, **quiet)
        flag.click(self.on_flag, [*here, self.reason, self.note], [*shown, self.note], **quiet)
        self.note.submit(self.on_flag, [*here, self.reason, self.note], [*shown, self.note], **quiet)
        unflag.click(self.on_unflag, here, shown, **quiet)

    def on_choose(self, search: str, state: str, *words: str) -> tuple[Any, ...]:
        """Show the first of the records that have what is asked for."""
        wanted = {name: word for name, word in zip(FACETS, words, strict=True) if word != ALL}
        rows = self.table.chosen(wanted, search or "")
        if state != ALL:
            flagged = {(flag.file, flag.id) for flag in self.flags.flags}
            rows = np.array([r for r in rows.tolist() if (self._key(r) in flagged) == (state == FLAGGED)], np.int64)
        return (rows, *self._at(rows, 0))

    def on_flag(self, rows: NDArray[np.int64], at: int, reason: str, note: str, request: gr.Request) -> tuple[Any, ...]:
        """Flag the record that is shown."""
        return (*self._flagged(rows, at, reason or "other", note, request), "")

    def on_unflag(self, rows: NDArray[np.int64], at: int, request: gr.Request) -> Shown:
        """Take the flag of the record that is shown back."""
        return self._flagged(rows, at, "", "", request)

    def _flagged(self, rows: NDArray[np.int64], at: int, reason: str, note: str, request: gr.Request) -> Shown:
        if len(rows):
            try:
                self.flags.set(*self._key(int(rows[at])), reason, note, request.username or "")
            except AlmError as fault:
                gr.Warning(cards.text(fault), title="Not flagged")
        return self._at(rows, at)

    def _key(self, row: int) -> tuple[str, str]:
        """File and id of a row."""
        return self.table.file_name(row), self.table.record(row).id

    def _at(self, rows: NDArray[np.int64], at: int) -> Shown:
        """The record at a place of what was chosen; before the first comes the last."""
        at = at % len(rows) if len(rows) else 0
        return at, cards.shown_place(at, rows, len(self.table)), self._card(rows, at)

    def _card(self, rows: NDArray[np.int64], at: int) -> str:
        if not len(rows):
            return cards.empty("No record has all of that.")
        row = int(rows[at])
        try:
            record = self.table.record(row)
        except AlmError as fault:
            return cards.empty(f"{fault}; the file was changed: open the page again")
        flag = self.flags.get(self.table.file_name(row), record.id)
        return cards.record_card(self.table, row, record, flag, self.players)

    def _add_copies(self) -> None:
        pairs = list((self.found.copies or {}).get("pairs", []))
        for name, leaks in (self.found.leaks or {}).get("leaks", {}).items():
            pairs += [pair | {"splits": [["training"], [f"benchmark {name}"]]} for pair in leaks]
        self.pairs = pairs
        if not pairs:
            told = "None were found." if self.found.copies else "Nobody looked: `alm data copies` finds copies."
            gr.HTML(cards.empty(told), elem_id="pair")
            return
        self.pair = gr.State(0)
        with gr.Row(elem_id="pair-moves"):
            previous = gr.Button("Previous pair", elem_id="pair-previous", size="sm", min_width=60)
            following = gr.Button("Next pair", elem_id="pair-next", size="sm", min_width=60, variant="primary")
        card = gr.HTML(self._pair_card(0), elem_id="pair")
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        previous.click(lambda at: self._pair_at(at - 1), [self.pair], [self.pair, card], **quiet)
        following.click(lambda at: self._pair_at(at + 1), [self.pair], [self.pair, card], **quiet)

    def _pair_at(self, at: int) -> tuple[int, str]:
        at = at % len(self.pairs)
        return at, self._pair_card(at)

    def _pair_card(self, at: int) -> str:
        return cards.pair_card(self.table.folder, self.pairs[at], at, len(self.pairs), self.players)
