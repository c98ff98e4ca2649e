"""Cache of frozen encoders' features, by content of the recording, in safetensors shards.

A folder holds `cache.json` (what the features depend on) and pairs `shard-<n>.safetensors`, `shard-<n>.jsonl`. The
index line of a recording names its file (with size and time of change, so that it need not be decoded again), the
SHA-256 of its decoded samples, its windows and their real frames. Features are float16, `[windows, layers, time, dim]`.
A stretch of a file is a recording of its own, named by its file and times.
A shard counts only when both files are whole; a damaged one is dropped and made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alm.aligner import Heard
from alm.audio import Waveform
from alm.configuration import AlmConfig, EncoderConfig
from alm.errors import AlmError, CheckpointError
from training.atomic import remove_leftovers, whole_file, write_json
from training.models import Ear
from training.stretches import Opener, Recording, file_of, length_of, recording_named

SHARD_ITEMS = 256
BATCH_SECONDS = 60.0
"""Padded seconds encoded at once."""


@dataclass(frozen=True)
class Item:
    """One cached recording."""

    path: str
    """As text; that of a stretch has its times."""
    size: int
    changed_ns: int
    sha256: str
    seconds: float
    windows: int
    frames: dict[str, list[int]]
    """Encoder to the real frames of each window."""
    shard: str = ""


@dataclass(frozen=True)
class Features:
    """Features of one recording."""

    hidden: dict[str, Tensor]
    """Encoder to `[windows, layers, time, dim]` float16."""
    frames: dict[str, list[int]]
    seconds: float
    windows: int


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


class FeatureCache:
    """Reads a cache folder; the newest index line of a path wins. With `encoders`, what these alone heard."""

    def __init__(self, folder: Path, encoders: Iterable[str] = ()) -> None:
        self.folder, self.encoders = folder, frozenset(encoders)
        self.items: dict[str, Item] = {}
        self.by_content: dict[str, Item] = {}
        self._open: dict[str, Any] = {}
        self.opener = Opener()
        self.frame_seconds: dict[str, float] = {}
        self.digest = ""
        self.heard_by: dict[str, Any] = {}
        self.detached = False
        """Unpacked on a machine without the recordings: they are known by name alone."""
        self.reload()

    def reload(self) -> None:
        """Read the index anew."""
        about = self.folder / "cache.json"
        if about.is_file():
            facts = json.loads(about.read_text(encoding="utf-8"))
            known = dict(facts["frame_seconds"])
            wanted = self.encoders or known.keys()
            self.digest, self.frame_seconds = facts["digest"], {n: s for n, s in known.items() if n in wanted}
            self.detached, self.heard_by = facts.get("detached", False), facts.get("heard_by", {})
        for index in sorted(self.folder.glob("shard-*.jsonl")):
            for line in index.read_text(encoding="utf-8").splitlines():
                item = Item(**json.loads(line), shard=index.stem)
                self.items[item.path] = self.by_content[item.sha256] = item

    def check(self, settings: AlmConfig) -> None:
        """Raise `CheckpointError` where the features are of other encoder settings or windows than these."""
        wishes = heard_by(settings.encoder_configs, settings.window_seconds, settings.overlap_seconds)
        for name, wanted in wishes.items():
            if (found := self.heard_by.get(name, wanted)) != wanted:
                raise CheckpointError(
                    f"{self.folder} holds features by {name} {found}, and the run wants {wanted}; give data.cache "
                    "another folder and run `python -m training features`"
                )

    def find(self, recording: Recording) -> Item | None:
        """The entry of a file, or of a stretch of one, that has not changed since it was cached."""
        item, path = self.items.get(str(recording)), file_of(recording)
        if item is None or self.detached:
            return item
        return item if path.is_file() and (item.size, item.changed_ns) == _stamp(path) else None

    def read(self, item: Item) -> Features:
        """Features of an entry.

        Raises:
            CheckpointError: its shard is damaged; `python -m training features` mends the cache.
        """
        try:
            if item.shard not in self._open:
                self._open[item.shard] = safe_open(self.folder / f"{item.shard}.safetensors", "pt")
            shard = self._open[item.shard]
            hidden = {name: shard.get_tensor(f"{item.sha256}.{name}") for name in self.frame_seconds}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.folder / item.shard}.safetensors is damaged ({error}); run `python -m training features`"
            ) from error
        return Features(hidden, {name: item.frames[name] for name in hidden}, item.seconds, item.windows)

    def waveform(self, item: Item) -> Waveform:
        """Samples of an entry. Raises: AudioError."""
        return self.opener.open(recording_named(item.path))

    def drop_damaged(self) -> list[str]:
        """Delete shards that cannot be read or lack what their index names; gives their names."""
        dropped = []
        for index in sorted(self.folder.glob("shard-*.jsonl")):
            data = index.with_suffix(".safetensors")
            try:
                with safe_open(data, "pt") as opened:
                    there = set(opened.keys())
                lines = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
                whole = all(f"{x['sha256']}.{n}" in there for x in lines for n in x["frames"])
            except (OSError, ValueError, KeyError, SafetensorError):
                whole = False
            if not whole:
                dropped.append(index.stem)
                index.unlink()
                data.unlink(missing_ok=True)
        return dropped


def collate(parts: Sequence[Features], frame_seconds: dict[str, float]) -> dict[str, Heard]:
    """All windows of several recordings, in order, as one padded batch of each encoder (float32)."""
    heard = {}
    for name, seconds in frame_seconds.items():
        real = [n for p in parts for n in p.frames[name]]
        longest = max(real, default=1)
        first = parts[0].hidden[name]
        batch = torch.zeros(len(real), first.shape[1], longest, first.shape[3])
        row = 0
        for part in parts:
            hidden = part.hidden[name]
            width = min(longest, hidden.shape[2])
            batch[row : row + len(hidden), :, :width] = hidden[:, :, :width]
            row += len(hidden)
        mask = torch.arange(longest)[None] < torch.tensor(real)[:, None]
        heard[name] = Heard(batch, mask, seconds)
    return heard


def as_inputs(heard: dict[str, Heard]) -> dict[str, Tensor]:
    """Model inputs `{e}_hidden`, `{e}_hidden_mask` of collated features."""
    hidden = {f"{n}_hidden": h.hidden for n, h in heard.items()}
    return hidden | {f"{n}_hidden_mask": h.mask for n, h in heard.items()}


def heard_by(encoders: Mapping[str, EncoderConfig], window_seconds: float, overlap_seconds: float) -> dict[str, Any]:
    """What features depend on besides the encoders' weights, by encoder, as JSON keeps it."""
    own = {
        name: {
            "family": e.family, "layers": e.layers, "pool_frames": e.pool_frames, "config": e.config,
            "window_seconds": window_seconds, "overlap_seconds": overlap_seconds,
        }
        for name, e in encoders.items()
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(own))
    return plain


@dataclass
class Report:
    """What a caching run did."""

    cached: int = 0
    known: int = 0
    too_long: int = 0
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class _Job:
    named: Recording
    recording: Waveform
    spans: list[tuple[float, float]]


class Extractor:
    """Fills a cache folder."""

    def __init__(self, ear: Ear, folder: Path, max_windows: int, shard_items: int = SHARD_ITEMS) -> None:
        self.ear, self.folder, self.max_windows, self.shard_items = ear, folder, max_windows, shard_items
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        self._check_owner()
        self.cache = FeatureCache(folder)
        if self.cache.drop_damaged():
            self.cache = FeatureCache(folder)

    def _check_owner(self) -> None:
        about = self.folder / "cache.json"
        settings = self.ear.hearing.settings
        encoders: Any = self.ear.hearing.encoders
        seconds = {n: s.pool_frames / float(encoders[n].frames_per_second) for n, s in settings.items()}
        if not about.is_file():
            # A list: the order of the encoders is the model's, and features are joined in it.
            heard = heard_by(settings, self.ear.extractor.window_seconds, self.ear.extractor.overlap_seconds)
            write_json(about, {"digest": self.ear.digest, "frame_seconds": list(seconds.items()), "heard_by": heard})
        elif (found := json.loads(about.read_text(encoding="utf-8"))["digest"]) != self.ear.digest:
            raise CheckpointError(
                f"{self.folder} holds features of other encoders or windows ({found}, not {self.ear.digest}); "
                "give another folder"
            )

    def run(self, named: Iterable[Recording], show: Callable[[Report, int], None] = lambda r, n: None) -> Report:
        """Cache every recording that is not there yet; those that cannot be used are counted and named."""
        report, wanted = Report(), []
        self.cache.reload()
        for one in dict.fromkeys(named):
            if not file_of(one).is_file():
                report.refused.append(f"{one}: no such file")
            elif self.cache.find(one) is None:
                wanted.append((length_of(one), file_of(one), str(one), one))
            else:
                report.known += 1
        began, pending = time.monotonic(), []
        wanted.sort(key=lambda w: w[:3])
        for batch in self._prefetched([one for *_, one in wanted], report):
            pending += self._encode(batch)
            report.cached += len(batch)
            report.seconds = time.monotonic() - began
            if len(pending) >= self.shard_items:
                self._write(pending)
                pending = []
            show(report, len(wanted))
        if pending:
            self._write(pending)
        return report

    def _prefetched(self, named: list[Recording], report: Report) -> Iterator[list[tuple[_Job, dict[str, Tensor]]]]:
        """Spectrograms of the next batch are made while the present one is encoded."""
        with ThreadPoolExecutor(1) as pool:
            batches = self._batches(named, report)
            following = pool.submit(next, batches, None)
            while (batch := following.result()) is not None:
                following = pool.submit(next, batches, None)
                yield batch

    def _batches(self, named: list[Recording], report: Report) -> Iterator[list[tuple[_Job, dict[str, Tensor]]]]:
        batch: list[tuple[_Job, dict[str, Tensor]]] = []
        windows, longest, opener = 0, 0.0, Opener()
        for one in named:
            job = self._open(one, opener, report)
            if job is None:
                continue
            width = max(0.5, *(end - start for start, end in job.spans))
            if batch and (windows + len(job.spans)) * max(longest, width) > BATCH_SECONDS:
                yield batch
                batch, windows, longest = [], 0, 0.0
            batch.append((job, self.ear.extractor.features(job.recording, job.spans)))
            windows, longest = windows + len(job.spans), max(longest, width)
        if batch:
            yield batch

    def _open(self, named: Recording, opener: Opener, report: Report) -> _Job | None:
        try:
            recording = opener.open(named)
            spans = self.ear.extractor.spans(recording)
        except AlmError as error:
            report.refused.append(f"{named}: {error}")
            return None
        if len(spans) > self.max_windows:
            report.too_long += 1
            return None
        return _Job(named, recording, spans)

    @torch.no_grad()
    def _encode(self, batch: list[tuple[_Job, dict[str, Tensor]]]) -> list[tuple[Item, dict[str, Tensor]]]:
        names = list(self.ear.hearing.settings)
        inputs = {
            f"{n}{kind}": _stack([f[f"{n}{kind}"] for _, f in batch]) for n in names for kind in ("_features", "_mask")
        }
        heard = self.ear.hearing.encode(inputs)
        done, row = [], 0
        for job, _ in batch:
            rows = slice(row, row + len(job.spans))
            row += len(job.spans)
            frames = {n: heard[n].mask[rows].sum(1).tolist() for n in names}
            tensors = {n: heard[n].hidden[rows, :, : max(frames[n])].half().contiguous() for n in names}
            recording, stamp = job.recording, _stamp(file_of(job.named))
            item = Item(str(job.named), *stamp, recording.sha256, recording.seconds, len(job.spans), frames)
            done.append((item, tensors))
        return done

    def _write(self, items: list[tuple[Item, dict[str, Tensor]]]) -> None:
        numbers = [int(p.stem.split("-")[1]) for p in self.folder.glob("shard-*.safetensors")]
        stem = f"shard-{max(numbers, default=-1) + 1:05d}"
        tensors = {f"{item.sha256}.{n}": t for item, own in items for n, t in own.items()}
        write_shard(self.folder, stem, tensors, [index_row(item) for item, _ in items])


def index_row(item: Item) -> dict[str, Any]:
    """An entry as its shard's index holds it."""
    return {k: v for k, v in asdict(item).items() if k != "shard"}


def write_shard(folder: Path, stem: str, tensors: dict[str, Tensor], rows: Sequence[Mapping[str, Any]]) -> None:
    """Both files of a shard, the index last: what it does not name does not count."""
    with whole_file(folder / f"{stem}.safetensors") as temporary:
        save_file(tensors, temporary)
    with whole_file(folder / f"{stem}.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


def _stack(parts: list[Tensor]) -> Tensor:
    """Join `[windows, frames, ...]` tensors of unequal frames, padded with zeros."""
    longest = max(p.shape[1] for p in parts)
    out = parts[0].new_zeros(sum(len(p) for p in parts), longest, *parts[0].shape[2:])
    row = 0
    for part in parts:
        out[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return out
