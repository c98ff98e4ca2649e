"""Opening an item's recordings: the stretch that is asked about, checked against its hash, within the model's limit."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alm.audio import Waveform, load_audio
from alm.errors import AudioError, RecordError
from alm.messages import from_row
from eval.harness.asking import Asked, Asking
from eval.harness.items import AUDIO_MARK, Clip, Item
from eval.harness.prepared import Prepared

REMEMBERED = 8
"""Items about one recording follow each other; so many opened files are kept."""
Sound = Callable[[Waveform, str], Waveform]
"""What a condition does to a recording; the text names it, so that noise is the same each time."""


def check_files(prepared: Prepared, items: Iterable[Item]) -> int:
    """How many recordings the items need, all of them there.

    Raises:
        RecordError: some are not.
    """
    wanted = dict.fromkeys(prepared.place_of(c) for item in items for c in item.audios)
    absent = [place for place in wanted if not place.is_file()]
    if absent:
        raise RecordError(
            f"{absent[0]}: no such recording ({len(absent)} of {len(wanted)} are missing); say where the official "
            "download is with --data DIR, or prepare the benchmark again"
        )
    return len(wanted)


class TooLongError(AudioError):
    """A recording is longer than the model takes, and the policy is to refuse."""


@dataclass
class Opener:
    """Makes questions of items."""

    prepared: Prepared
    asking: Asking
    condition: str = "heard"
    sound: Sound | None = None
    _known: OrderedDict[Path, Waveform] = field(default_factory=OrderedDict)

    def asked(self, item: Item, key: str, candidates: tuple[str, ...] = ()) -> Asked:
        """
        Raises:
            TooLongError: the policy refuses a recording.
            AudioError: one cannot be used, or is not the one that was prepared.
        """
        pieces = [self._pieces(clip) for clip in item.audios]
        long = self.asking.long if any(p.long for p in pieces) else ""
        recordings = tuple(w for p in pieces for w in p.parts)
        return Asked(
            item,
            self.condition,
            key,
            tuple(_messages(item, [len(p.parts) for p in pieces], recordings)),
            recordings,
            self.asking.tokens_for(item),
            self.asking.temperature,
            self.asking.seed,
            candidates,
            long == "truncate",
            long,
        )

    def _pieces(self, clip: Clip) -> _Pieces:
        whole, limit = self._stretch(clip), self.asking.max_audio_seconds
        if whole.seconds <= limit:
            return _Pieces((whole,))
        if self.asking.long == "refuse":
            raise TooLongError(
                f"{clip.path}: lasts {whole.seconds:.1f} s, the model takes {limit:g} s; --long chunk or --long "
                "truncate would ask about it all the same"
            )
        if self.asking.long == "truncate":
            return _Pieces((whole.segment(0.0, limit),), True)
        step = max(1, int(limit * whole.rate))
        starts = range(0, len(whole.samples), step)
        return _Pieces(tuple(replace(whole, samples=whole.samples[s : s + step]) for s in starts), True)

    def _stretch(self, clip: Clip) -> Waveform:
        whole = self._whole(clip)
        if clip.start is not None or clip.end is not None:
            whole = whole.segment(clip.start or 0.0, whole.seconds if clip.end is None else clip.end)
        return self.sound(whole, f"{clip.path}@{clip.start}-{clip.end}") if self.sound else whole

    def _whole(self, clip: Clip) -> Waveform:
        place = self.prepared.place_of(clip)
        if place not in self._known:
            self._known[place] = self._read(place, clip)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(place)
        return self._known[place]

    def _read(self, place: Path, clip: Clip) -> Waveform:
        expected = clip.sha256 or self.prepared.card.files.get(clip.path, "")
        if expected:
            with place.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected:
                raise AudioError(
                    f"{place}: not the recording that was prepared (SHA-256 {found[:12]}..., expected "
                    f"{expected[:12]}...); fetch it again, or prepare the benchmark again"
                )
        return load_audio(place)


@dataclass(frozen=True)
class _Pieces:
    parts: tuple[Waveform, ...]
    long: bool = False


def _messages(item: Item, counts: list[int], recordings: tuple[Waveform, ...]) -> list[dict[str, Any]]:
    """With a mark for each piece of a recording."""
    left = iter(counts)
    said = []
    for message in item.messages:
        content = message.content
        if message.role == "user":
            first, *rest = content.split(AUDIO_MARK)
            content = first + "".join(AUDIO_MARK * next(left) + text for text in rest)
        said.append({"role": message.role, "content": content})
    return from_row(said, recordings)
