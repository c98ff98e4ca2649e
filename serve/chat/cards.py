"""What the page shows, as text and HTML. Whatever came from people or models is escaped here, and only here."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alm.terminal import clock, printable
from serve.chat.clips import Clip, HeardClip, MissingClip
from serve.chat.turns import Turn, numbered, shows_answer

if TYPE_CHECKING:
    from alm.evidence import Evidence, Tag

_MOST_LANES = 10
_UNREAD = "\u2013"
"""In place of the number of a recording that the model does not read."""
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_NOTES = {"length": "cut at the longest answer", "cancelled": "stopped"}
_EMPTY = (
    '<div class="alm-empty"><p>Attach a recording, or record one, and ask what you want to know about it.</p>'
    "<p>Each recording appears here with its player, its spectrogram, the events heard in it and what was "
    "said.</p></div>"
)


def literal(text: str) -> str:
    """Markdown that shows `text` exactly as it is."""
    lines = (printable(line, keep="\t") for line in text.splitlines())
    return "\n".join(_PUNCTUATION.sub(r"\\\1", _indent_kept(line)) for line in lines)


def harmless(text: str) -> str:
    """Markdown of an answer without raw HTML and without pictures fetched from elsewhere."""
    pieces = _CODE.split(printable(text))
    return "".join(
        piece if index % 2 else piece.replace("<", "&lt;").replace("![", "!\\[") for index, piece in enumerate(pieces)
    )


def chat_messages(turns: Sequence[Turn]) -> list[Any]:
    """The bubbles of a conversation."""
    numbers = {id(clip): number for _, clip, number in numbered(turns)}
    messages: list[Any] = []
    for turn in turns:
        chips = [f"\u266a **{numbers[id(clip)] or _UNREAD}** {literal(_title(clip))}" for clip in turn.recordings]
        messages.append({"role": "user", "content": "\n".join([*chips, literal(turn.question)])})
        if shows_answer(turn):
            messages.append({"role": "assistant", "content": _answer_text(turn)})
    return messages


def feedback_values(turns: Sequence[Turn]) -> list[str | None]:
    """Thumbs beside the answers."""
    return [{"up": "Like", "down": "Dislike", None: None}[turn.rating] for turn in turns if shows_answer(turn)]


def recordings_panel(turns: Sequence[Turn], listening: bool = False) -> str:
    """All cards of a conversation."""
    cards = [
        _card(number, clip, listening) if isinstance(clip, HeardClip) else _missing_card(clip)
        for _, clip, number in numbered(turns)
    ]
    return f'<div class="alm-cards">{"".join(cards)}</div>' if cards else _EMPTY


def missing_text(clips: Sequence[MissingClip]) -> str:
    """What an import could not find, and what to do."""
    names = ", ".join(dict.fromkeys(printable(clip.name, keep="") for clip in clips))
    return (
        f"Not here any more: {names}. The conversation goes on without; attach the same recordings again, "
        "with the next question or before an import, and they go back into their places."
    )


def usage_text(turn: Turn) -> str:
    """Counters of one answer."""
    usage = turn.usage
    if usage is None:
        return ""
    heard = sum(clip.waveform.seconds for clip in turn.clips)
    rate = usage.new_tokens / usage.seconds if usage.seconds > 0 else 0.0
    parts = [
        f"{heard:.1f} s of new audio" if heard else "no new audio",
        f"{usage.prompt_tokens} tokens read ({usage.audio_tokens} audio)",
        f"{usage.new_tokens} written",
        f"first word after {usage.first_token_seconds:.1f} s",
        f"{usage.seconds:.1f} s in all ({rate:.0f} tokens/s)",
    ]
    return "\n".join([" \u00b7 ".join(parts), *_asked(turn)])


def _asked(turn: Turn) -> list[str]:
    """A line on the sounds that the question names, likeliest first."""
    several = len({a.recording for a in turn.asked}) > 1
    told = [
        f"{' '.join(a.words.split())} {a.sureness}" + (f" in recording {a.recording}" if several else "")
        for a in turn.asked
    ]
    return [f"asked for: {', '.join(told)}"] if told else []


def status(text: str, *, problem: bool = False) -> str:
    """The line under the conversation; the page reads it out to those who do not see it (assets/page.js)."""
    kind = ' alm-problem" role="alert' if problem else ""
    body = "<br>".join(escape(line) for line in printable(text).splitlines())
    return f'<div class="alm-status{kind}">{body}</div>'


def _indent_kept(line: str) -> str:
    """Leading blanks would make a code block of the line, in which backslashes show."""
    rest = line.lstrip(" \t")
    return "\u00a0" * (len(line) - len(rest)) + rest


def _answer_text(turn: Turn) -> str:
    """The answer, what is to be said about it, and its counters."""
    parts = [harmless(turn.answer.strip()) or "*(no answer)*"]
    parts += [f"*({note})*" for note in (_NOTES.get(turn.state), *map(literal, turn.notes)) if note]
    if turn.forgotten:
        parts.append("*(the model no longer reads this)*")
    if usage := turn.usage:
        by = f"{literal(turn.model)} \u00b7 " if turn.model else ""
        parts.append(
            f"<small>{by}{usage.prompt_tokens} tokens read ({usage.audio_tokens} audio), {usage.new_tokens} written, "
            f"{usage.seconds:.1f} s</small>"
        )
    return "\n\n".join(parts)


def _title(clip: Clip) -> str:
    if isinstance(clip, MissingClip):
        return f"{clip.name} (missing)"
    return f"{clip.waveform.source} ({clock(clip.waveform.seconds)})"


def _missing_card(clip: MissingClip) -> str:
    name = escape(printable(clip.name, keep=""))
    known = f'<br><small>sha256 {escape(clip.sha256[:16])}\u2026</small>' if clip.sha256 else ""
    return (
        f'<section class="alm-card alm-missing" aria-label="Missing recording: {name}">'
        f'<h3><span class="alm-number">{_UNREAD}</span><span class="alm-name" title="{name}">{name}</span></h3>'
        f'<p class="alm-note">Not here any more. Attach it again and it takes its place.{known}</p></section>'
    )


def _card(number: int | None, clip: HeardClip, listening: bool) -> str:
    wave = clip.waveform
    shown = str(number or _UNREAD)
    unread = "" if number else '<p class="alm-note">The model no longer reads it: the conversation became too long.</p>'
    name = escape(wave.source)
    channels = "mono" if wave.channels == 1 else f"{wave.channels} channels"
    facts = f"{clock(wave.seconds)} \u00b7 {wave.rate / 1000:g} kHz \u00b7 {channels}"
    return (
        f'<section class="alm-card" aria-label="Recording {shown}: {name}" data-seconds="{wave.seconds:.4f}">'
        f'<h3><span class="alm-number">{shown}</span><span class="alm-name" title="{name}">{name}</span>'
        f'<span class="alm-facts">{facts}</span></h3>'
        f'<audio controls preload="metadata" aria-label="Play recording {shown}, {name}" '
        f'src="gradio_api/file={escape(quote(str(clip.player)))}"></audio>'
        f"{unread}{_plots(shown, clip)}{_evidence(clip, listening)}</section>"
    )


def _plots(number: str, clip: HeardClip) -> str:
    source = base64.b64encode(clip.picture.png).decode()
    marks = "".join(
        f'<span style="bottom:{100 * height:.2f}%">{_hertz(tick)}</span>' for height, tick in clip.picture.ticks
    )
    lanes = _lanes(clip.evidence, clip.waveform.seconds)
    return (
        '<div class="alm-plots"><div class="alm-axis"></div>'
        f'<div class="alm-wave" data-scrub>{_wave(clip)}</div>'
        f'<div class="alm-axis alm-hertz" aria-hidden="true">{marks}</div>'
        f'<div class="alm-spectrogram" data-scrub><img alt="Mel spectrogram of recording {number}" '
        f'src="data:image/png;base64,{source}"></div>'
        f'{lanes}<div class="alm-axis"></div>{_time_axis(clip.waveform.seconds)}'
        '<div class="alm-head-track" aria-hidden="true"><div class="alm-head"></div></div></div>'
    )


def _wave(clip: HeardClip) -> str:
    points = clip.outline
    upper = " ".join(f"{x},{50 - 48 * high:.1f}" for x, (_, high) in enumerate(points))
    lower = " ".join(f"{x},{50 - 48 * low:.1f}" for x, (low, _) in reversed(list(enumerate(points))))
    return (
        f'<svg viewBox="0 0 {max(1, len(points) - 1)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Waveform"><polygon points="{upper} {lower}"/></svg>'
    )


def _lanes(evidence: Evidence | None, seconds: float) -> str:
    """One row per kind of event, one row for speech; every bar is a button that jumps there."""
    if evidence is None:
        return ""
    lanes = [_lane(label, tags, index, seconds) for index, (label, tags) in enumerate(_by_label(evidence.tags))]
    if evidence.segments:
        bars = "".join(
            _bar(part.start, part.end, seconds, f"speech: {part.text.strip()}") for part in evidence.segments
        )
        lanes.append(_row("said", f'<div class="alm-lane alm-lane-speech">{bars}</div>'))
    return "".join(lanes)


def _lane(label: str, tags: Iterable[Tag], index: int, seconds: float) -> str:
    bars = "".join(_bar(tag.start, tag.end, seconds, f"{label}, score {tag.score:.2f}") for tag in tags)
    return _row(label, f'<div class="alm-lane alm-lane-{index % 6}">{bars}</div>')


def _row(label: str, lane: str) -> str:
    return f'<div class="alm-axis alm-label" title="{escape(label)}">{escape(label)}</div>{lane}'


def _bar(start: float, end: float, seconds: float, what: str) -> str:
    left = 100 * min(1.0, max(0.0, start / seconds))
    width = max(0.8, 100 * min(1.0, end / seconds) - left)
    label = escape(f"Jump to {clock(start)}: {printable(what, keep='')}, until {clock(end)}")
    place = f"left:{left:.2f}%;width:{width:.2f}%"
    named = f'title="{label}" aria-label="{label}"'
    return f'<button type="button" data-seek="{start:.3f}" style="{place}" {named}></button>'


def _by_label(tags: Sequence[Tag]) -> list[tuple[str, list[Tag]]]:
    """Events of each kind, the surest kinds only, in the order in which they begin."""
    kinds: dict[str, list[Tag]] = {}
    for tag in tags:
        kinds.setdefault(printable(tag.label, keep=""), []).append(tag)
    surest = sorted(kinds.items(), key=lambda kind: -max(tag.score for tag in kind[1]))[:_MOST_LANES]
    return sorted(surest, key=lambda kind: min(tag.start for tag in kind[1]))


def _time_axis(seconds: float) -> str:
    step = next((s for s in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300) if seconds / s <= 6), seconds / 5)
    ticks = []
    for index in range(int(seconds / step + 1e-6) + 1):
        text = f"{index * step:g} s" if seconds < 60 else clock(index * step).removesuffix(".0")
        place = 100 * index * step / seconds
        edge = ' class="alm-last"' if place > 95 else ""
        ticks.append(f'<span{edge} style="left:{place:.2f}%">{text}</span>')
    return f'<div class="alm-time" aria-hidden="true">{"".join(ticks)}</div>'


def _hertz(tick: int) -> str:
    return f"{tick // 1000} kHz" if tick >= 1000 else f"{tick} Hz"


def _evidence(clip: HeardClip, listening: bool) -> str:
    """Events and transcript as text: to be read, and to be jumped from by keyboard."""
    evidence = clip.evidence
    if evidence is None:
        note = "Listening\u2026" if listening else "Not analysed: evidence is off, or nothing was asked since it came."
        return f'<p class="alm-note">{note}</p>'
    return _event_list(evidence) + _transcript(evidence)


def _event_list(evidence: Evidence) -> str:
    if not evidence.tags:
        return '<p class="alm-note">No event recognised.</p>' + _guesses(evidence)
    items = "".join(
        f"<li>{_jump(tag.start, _span(tag), printable(tag.label, keep=''))} "
        f"{escape(printable(tag.label, keep=''))} <small>{tag.score:.2f}</small></li>"
        for tag in evidence.tags
    )
    count = len(evidence.tags)
    events = f"<details open><summary>{count} event{'s' if count != 1 else ''}</summary><ol>{items}</ol></details>"
    return events + _guesses(evidence)


def _guesses(evidence: Evidence) -> str:
    """Classes too unsure for an event; the model reads them, so people see them, too."""
    if not evidence.guesses:
        return ""
    return f'<p class="alm-note">Perhaps: {escape(printable(", ".join(evidence.guesses), keep=""))}</p>'


def _transcript(evidence: Evidence) -> str:
    if not evidence.transcript.strip():
        return ""
    items = "".join(
        f"<li>{_jump(part.start, clock(part.start), printable(part.text.strip(), keep=''))} "
        f"{escape(printable(part.text.strip(), keep=''))}</li>"
        for part in evidence.segments
    )
    body = items or f"<li>{escape(printable(evidence.transcript.strip(), keep=''))}</li>"
    return f"<details open><summary>Transcript</summary><ol>{body}</ol></details>"


def _span(tag: Tag) -> str:
    return f"{clock(tag.start)} \u2013 {clock(tag.end)}"


def _jump(start: float, shown: str, what: str) -> str:
    """A button that plays from a time; its name tells where it leads, for those who do not see the line."""
    label = escape(f"Jump to {clock(start)}: {what}")
    return f'<button type="button" data-seek="{start:.3f}" aria-label="{label}" title="{label}">{shown}</button>'
