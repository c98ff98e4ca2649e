"""HTML of the page: whatever comes from records is text, never markup."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alm.errors import AudioError
from alm.terminal import clock, printable
from data_prep.inspecting.facts import fact_rows
from data_prep.inspecting.flags import Flag
from data_prep.inspecting.plots import Plot
from data_prep.inspecting.sound import Players
from data_prep.inspecting.statistics import Statistics
from data_prep.inspecting.table import Table
from data_prep.records import Record

_SHOWN_META = 20_000


def text(value: object) -> str:
    """Anything as text of the page."""
    return escape(printable(str(value)))


def record_card(table: Table, row: int, record: Record, flag: Flag | None, players: Players) -> str:
    """A record: what it is, its recordings, its messages and its extras."""
    facts = {
        "id": record.id, "task": record.task, "split": record.split, "source": record.source,
        "licence": record.licence, "file": table.file_name(row),
    }  # fmt: skip
    told = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items())
    found = zip(table.sounds(row, record), record.audios, strict=True)
    sounds = "".join(player(sound, name, players) for sound, name in found)
    bubbles = "".join(
        f'<div class="alm-said alm-{message.role}"><span>{message.role}</span><p>{text(message.content)}</p></div>'
        for message in record.messages
    )
    meta = json.dumps(record.meta, ensure_ascii=False, indent=1)[:_SHOWN_META]
    return (
        f'<article class="alm-record">{flag_line(flag)}<div class="alm-messages">{bubbles}</div>{sounds}'
        f'<dl class="alm-facts">{told}</dl><details><summary>meta</summary><pre>{text(meta)}</pre></details></article>'
    )


def flag_line(flag: Flag | None) -> str:
    """What is said about a record, if anything."""
    if flag is None:
        return ""
    who = f" by {text(flag.by)}" if flag.by else ""
    note = f": {text(flag.note)}" if flag.note else ""
    when = f"<small>{text(flag.time)}{who}</small>"
    return f'<p class="alm-flag"><strong>flagged, {text(flag.reason)}</strong>{note} {when}</p>'


def player(sound: Path | bytes, name: str, players: Players) -> str:
    """A recording to listen to, or why there is none."""
    try:
        if "://" in name:
            raise AudioError("is an address; recordings are played from files only")
        found = players.get(sound, name)
    except (AudioError, OSError, ValueError) as fault:
        problem = f'<figcaption>{text(name)}</figcaption><p class="alm-problem">{text(fault)}</p>'
        return f'<figure class="alm-sound">{problem}</figure>'
    label = f"recording {Path(name).name}"
    return (
        f'<figure class="alm-sound"><figcaption>{text(name)} <small>{clock(found.seconds)}, {found.rate} Hz</small>'
        f'</figcaption><img src="{found.picture}" alt="spectrum of {text(label)}">'
        f'<audio controls preload="metadata" aria-label="{text(label)}" '
        f'src="gradio_api/file={escape(quote(str(found.file)))}"></audio></figure>'
    )


def facts_table(found: Statistics) -> str:
    """The figures as a table."""
    rows = "".join(f"<tr><th scope='row'>{text(n)}</th><td>{text(v)}</td></tr>" for n, v in fact_rows(found))
    return f'<table class="alm-table">{rows}</table>'


def pictures(plots: Iterable[Plot]) -> str:
    """All plots, each with its words."""
    return "".join(
        f'<figure class="alm-plot"><img loading="lazy" src="data:image/png;base64,{base64.b64encode(p.png).decode()}" '
        f'alt="{text(p.title)}"><figcaption>{text(p.words)}</figcaption></figure>'
        for p in plots
    )


def wrong_rows(table: Table) -> str:
    """The first rows that are no records."""
    if not table.wrong_shown:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in table.wrong_shown)
    return f'<h3>Rows that are no records ({table.wrong.total():,})</h3><ul class="alm-wrong">{items}</ul>'


def pair_card(folder: Path, pair: dict[str, Any], number: int, total: int, players: Players) -> str:
    """Two recordings that are copies of each other, to be compared by ear."""
    sides = [f"{'+'.join(splits)}" for splits in pair.get("splits", ())]
    told = "the same samples" if pair["same_samples"] else _likeness(pair)
    where = f" In {text(' and '.join(filter(None, sides)))}." if any(sides) else ""
    both = player(folder / pair["recording"], pair["recording"], players)
    both += player(folder / pair["other"], pair["other"], players)
    return f'<article class="alm-record"><p>Pair {number + 1:,} of {total:,}: {told}.{where}</p>{both}</article>'


def _likeness(pair: dict[str, Any]) -> str:
    return (
        f"score {pair['score']:.1f}, {pair['points']} points ({100 * pair['share']:.0f} %) agree over "
        f"{pair['seconds']:.2f} s, from {pair['here']:.2f} s in the first and {pair['there']:.2f} s in the second; "
        f"pitch {pair['semitones']:+.2f} semitones, speed {pair['speed']:.3f}"
    )


def empty(words: str) -> str:
    """Where there is nothing to show."""
    return f'<p class="alm-empty">{text(words)}</p>'


def shown_place(position: int, rows: Sequence[int] | Any, total: int) -> str:
    """Where one is in what was chosen."""
    chosen = len(rows)
    among = "" if chosen == total else f", chosen from {total:,}"
    return f'<p class="alm-place" role="status">Record {position + 1 if chosen else 0:,} of {chosen:,}{among}</p>'
