"""Features made when a batch asks for them: no cache, recordings out of files or out of shards.

Every recording is opened once at the start, since a row must know how many windows it has; then the encoders hear it
whenever it comes. That takes their time at every step, and a cache does not: this is for corpora that are larger than
the disk, for shards, and for a first look.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from alm.audio import Waveform
from alm.errors import AlmError
from data_prep.records import SPLITS, Record
from data_prep.shards import ShardStream, read_index
from training.features import FeatureCache, Features, Item
from training.models import Ear
from training.stretches import Opener, Recording, Stretch, file_of

KEPT_RECORDINGS = 64
"""Features of so many recordings are kept: questions about one recording often come together."""


@dataclass(frozen=True)
class Place:
    """Where a recording of shards is: the record at this position of the stream, and its number there."""

    stream: ShardStream
    position: int
    number: int

    def waveform(self) -> Waveform:
        """Raises: AudioError, CorpusError."""
        stream = self.stream
        stream.load_state_dict({**stream.state_dict(), "epoch": 0, "start": self.position, "taken": 0})
        return next(iter(stream)).waveform(self.number)


class LiveFeatures(FeatureCache):
    """Stands where a cache stands."""

    def __init__(self, ear: Ear, max_windows: int) -> None:
        self.ear, self.max_windows = ear, max_windows
        self.items: dict[str, Item] = {}
        self.asked: dict[str, Recording] = {}
        """Recordings by their names."""
        self.opener = Opener()
        self.places: dict[str, Place] = {}
        self.refused: dict[str, str] = {}
        """Recordings that cannot be used, with the reason."""
        self.digest, self.detached = ear.digest, False
        settings = ear.hearing.settings
        self.frame_seconds = {
            n: s.pool_frames / float(ear.hearing.encoders[n].frames_per_second)  # type: ignore[arg-type]
            for n, s in settings.items()
        }
        self._kept: OrderedDict[str, Features] = OrderedDict()

    def reload(self) -> None:
        """There is no index."""

    def find(self, recording: Recording) -> Item | None:
        """The entry of a recording that can be opened and is not too long."""
        name = str(recording)
        self.asked[name] = recording
        if name not in self.items and name not in self.refused:
            self._look(name)
        return self.items.get(name)

    def _look(self, name: str) -> None:
        try:
            recording = self._waveform(name)
            spans = self.ear.extractor.spans(recording)
        except AlmError as error:
            self.refused[name] = str(error)
            return
        if len(spans) > self.max_windows:
            self.refused[name] = f"{len(spans)} windows; data.max_windows is {self.max_windows}"
        else:
            self.items[name] = Item(name, 0, 0, recording.sha256, recording.seconds, len(spans), {})

    def _waveform(self, name: str) -> Waveform:
        recording = self.asked[name]
        place = self.places.get(str(file_of(recording)))
        if place is None:
            return self.opener.open(recording)
        whole = place.waveform()
        if not isinstance(recording, Stretch):
            return whole
        end = whole.seconds if recording.seconds is None else recording.start + recording.seconds
        return whole.segment(recording.start, end)

    def waveform(self, item: Item) -> Waveform:
        """Samples of an entry. Raises: AudioError, CorpusError."""
        return self._waveform(item.path)

    @torch.no_grad()
    def read(self, item: Item) -> Features:
        """What the encoders hear. Raises: AlmError, when the recording has gone since the start."""
        if item.path in self._kept:
            self._kept.move_to_end(item.path)
            return self._kept[item.path]
        recording = self._waveform(item.path)
        spans = self.ear.extractor.spans(recording)
        device = next(self.ear.hearing.parameters()).device
        inputs = {n: t.to(device) for n, t in self.ear.extractor.features(recording, spans).items()}
        heard = self.ear.hearing.encode(inputs)
        frames = {n: h.mask.sum(1).tolist() for n, h in heard.items()}
        hidden = {n: h.hidden[:, :, : max(frames[n])].half().cpu() for n, h in heard.items()}
        self._kept[item.path] = Features(hidden, frames, recording.seconds, len(spans))
        if len(self._kept) > KEPT_RECORDINGS:
            self._kept.popitem(last=False)
        return self._kept[item.path]

    def records(self, folders: Sequence[str]) -> Iterator[Record]:
        """Records of shards, whose recordings this then knows. Raises: CorpusError, as the stream does."""
        for folder in folders:
            for split in (s for s in SPLITS if s in read_index(Path(folder)).splits and s != "test"):
                yield from self._split(Path(folder), split)

    def _split(self, folder: Path, split: str) -> Iterator[Record]:
        stream = ShardStream(folder, split)
        again = ShardStream(folder, split)
        for position, item in enumerate(stream):
            names = tuple(f"{folder}/{split}/{position}/{audio}" for audio in item.record.audios)
            for number, name in enumerate(names):
                self.places[name] = Place(again, position, number)
            yield replace(item.record, audios=names)
