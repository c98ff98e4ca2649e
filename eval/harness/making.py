"""From what the command line says to a run with its model: finding the benchmark, identifying the model."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from alm.endpoints import Chat, Endpoint
from alm.errors import ConfigError
from eval.harness.asking import Asking
from eval.harness.endpoint import EndpointModel
from eval.harness.models import Model
from eval.harness.ours import PresetModel
from eval.harness.prepared import CARD, Prepared, read_prepared
from eval.harness.runs import Run, RunCard, commit, near, start_run, with_data
from eval.harness.scoring import trained_on
from eval.results import versions

NO_ADAPTER = "none"
TRAINED_ON = "trained_on.txt"
"""Beside an adapter: the SHA-256 of each recording it was trained on, one a line."""


@dataclass(frozen=True)
class ModelWish:
    """Which model is to be asked, as the command line says it."""

    model: str = "tiny"
    """A preset; with an endpoint the name that the server knows."""
    adapter: str | None = None
    """Folder, or `none`."""
    evidence: bool | None = None
    engine: str = "transformers"
    device: str = "cpu"
    rows: int = 16
    endpoint: str = ""
    key_env: str = ""
    concurrency: int = 4
    max_audio_seconds: float | None = None
    cascade: str = ""
    """Preset whose ears write down what the model then reads; empty: the model hears."""

    def made(self) -> Model:
        """The model, nothing loaded yet.

        Raises:
            ConfigError, PresetError: it is unknown, or options contradict each other.
        """
        found = self._cascade() if self.cascade else self._endpoint() if self.endpoint else self._preset()
        if self.max_audio_seconds is not None:
            found.max_audio_seconds = self.max_audio_seconds
        return found

    def _endpoint(self) -> Model:
        if self.adapter is not None or self.evidence is not None:
            raise ConfigError("--adapter and --evidence are for our presets; leave them out with --endpoint")
        chat = Chat(Endpoint(self.endpoint, self.model, self.key_env))
        chat.endpoint.key()
        return EndpointModel(chat, concurrency=self.concurrency)

    def _preset(self) -> Model:
        from eval.baselines.cascade import no_adapter

        preset = PresetModel(self.model, self.adapter_folder, self.evidence, self.engine, self.device)
        return no_adapter(preset, self.rows) if preset.adapter is False else preset.model(self.rows)

    def _cascade(self) -> Model:
        from eval.baselines.cascade import cascade

        if self.adapter is not None:
            raise ConfigError("--adapter is for a model that hears; leave it out with --cascade")
        ears = PresetModel(self.cascade, engine=self.engine, device=self.device)
        own = not self.endpoint and self.model == self.cascade
        return cascade(ears, None if own else self._endpoint() if self.endpoint else self._preset(), self.rows)

    @property
    def adapter_folder(self) -> Path | Literal[False] | None:
        if self.adapter is None or self.adapter == NO_ADAPTER:
            return False if self.adapter else None
        folder = Path(self.adapter)
        if not folder.is_dir():
            raise ConfigError(f"--adapter {self.adapter}: no such folder; give the folder of an adapter, or `none`")
        return folder

    def trained_on(self) -> Path | None:
        """The adapter's own list of recordings, if it has one."""
        if self.endpoint:
            return None
        from alm.presets import load_preset

        folder = load_preset(self.model).adapter if self.adapter is None else self.adapter_folder
        place = folder / TRAINED_ON if folder else None
        return place if place is not None and place.is_file() else None


def asking_of(asking: Asking, model: Model) -> Asking:
    """Within the model's limits.

    Raises:
        ConfigError: the model cannot do it.
    """
    if asking.loglik and isinstance(model, EndpointModel):
        raise ConfigError("--loglik: an endpoint gives no log-likelihoods of given answers; leave it out")
    return replace(asking, max_audio_seconds=model.max_audio_seconds)


def find_benchmark(name: str, data: Path | None, out: Path, split: str = "") -> Prepared:
    """A prepared folder, or a benchmark by name that is prepared into `out` when it is not there yet.

    Raises:
        ConfigError: neither is there.
        RecordError: the official download lacks something.
    """
    if "/" in name and not (Path(name) / CARD).is_file():
        raise ConfigError(f"--bench {name}: no prepared benchmark is there; make one with `alm eval prepare` or `make`")
    if (Path(name) / CARD).is_file():
        return with_data(read_prepared(Path(name)), data)
    if (out / CARD).is_file():
        return with_data(read_prepared(out), data)
    return prepare_by_name(name, data, out, split)


def prepare_by_name(
    name: str, data: Path | None, out: Path, split: str = "", allow_lost: bool = False
) -> Prepared:
    """
    Raises:
        ConfigError: no such benchmark, or no download was named.
        RecordError: the download is not the official one, or lacks something.
    """
    from alm.terminal import step_bars
    from eval.benchmarks import benchmark, prepare

    found = benchmark(name)
    if data is None:
        raise ConfigError(f"{name}: give the official download with --data DIR; {found.how_to_get}")
    with step_bars() as progress:
        return prepare(name, data, out, split, allow_lost=allow_lost, progress=progress)


def make_run(
    out: Path,
    prepared: Prepared,
    data: Path | None,
    model: Model,
    asking: Asking,
    limit: int | None = None,
    seen: Path | None = None,
    write: bool = True,
) -> Run:
    """The run's folder with its card.

    Raises:
        ConfigError: the folder holds a run of another model or benchmark.
        RecordError: the list of seen recordings cannot be read.
    """
    if seen is not None:
        trained_on(seen)
    card = RunCard(
        bench=prepared.card.model_copy(update={"files": {}, "data_root": ""}),
        bench_hash=prepared.hash,
        prepared=near(prepared.folder, out),
        data=near(data, out) if data is not None else "",
        model=model.name,
        identity=model.identity,
        asking=asking.to_dict(),
        limit=limit,
        trained_on=near(seen, out) if seen is not None else "",
        versions={"python": sys.version.split()[0], **versions()},
        commit=commit(),
        command=_command(),
    )
    return start_run(out, card, prepared) if write else Run(out, card, prepared)


def _command() -> str:
    """As it was typed, folders by their names alone, since they differ from machine to machine."""
    typed = sys.argv[2:] if sys.argv[1:2] == ["eval"] else sys.argv[1:]
    return " ".join(["alm eval", *(Path(w).name if "/" in w and "://" not in w else w for w in typed)])
