"""A whole run: data, model, calibration, and the stages one after another; whatever is done is not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from alm.asked import Scores
from alm.configuration import AlmConfig
from alm.errors import ConfigError
from alm.evidence import Sounds
from alm.loading import quiet_libraries
from alm.modeling import AlmForConditionalGeneration
from alm.presets import load_preset
from alm.processing import AlmProcessor
from alm.tagging import TagHead
from data_prep.records import read_records
from training import checkpoint
from training.align import AlignObjective, Targets, class_texts, make_targets
from training.atomic import is_whole, whole_file, write_json
from training.calibrate import calibrate
from training.config import DataConfig, EvidenceConfig, RunConfig, StageConfig
from training.curves import draw
from training.features import FeatureCache
from training.groups import (
    add_encoder_adapters,
    add_lora,
    learned_state,
    load_learned,
    narrow_frozen,
    set_trainable,
    switch_lora,
)
from training.knowledge import (
    Blend,
    fold_of,
    opinion_of,
    read_scores,
    read_sounds,
    read_texts,
    read_transcripts,
    save_scores,
    save_sounds,
    share_named,
    train_heads,
)
from training.language import LanguageObjective
from training.listening import ListeningCollator
from training.live import LiveFeatures
from training.loop import Listener, Log, Stage, Stop
from training.mixing import planned
from training.models import Base, find_base, make_ear, make_model, model_config
from training.objective import Objective
from training.pairs import PairObjective
from training.precision import settled
from training.processes import Processes
from training.recomputing import recompute
from training.resuming import CONFIG, told_changes
from training.rows import Collator, Knowledge, Row, load_rows, rows_of
from training.sharding import check, check_rows, shard
from training.sounds import Sound, read_classes, read_clips, read_scenes, tag_labels, thinned
from training.stretches import Recording, file_named, recordings_of

Say = Callable[[str], None]
CALIBRATION_TEXTS = 128
LABELS = "labels.json"
"""The classes of a run; the first file that it writes and needs."""
START = "start.json"
"""In the folder of a run that went on from an adapter: what the training of that was."""
RARE = -4.5
"""First bias of the tag head: a class is heard in one clip of a hundred."""


def is_run(folder: Path) -> bool:
    """Whether a run has begun in this folder."""
    return (folder / LABELS).is_file()


def expand(patterns: Sequence[str]) -> list[Path]:
    """Files that these paths or patterns name.

    Raises:
        ConfigError: one names nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        own = [path] if path.is_file() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not own:
            raise ConfigError(
                f"data: {pattern} names no file (paths count from {Path.cwd()}); `alm data convert` writes record "
                "files of your own rows, `alm data make` those of a corpus"
            )
        found += own
    return found


def record_files(data: DataConfig) -> list[Path]:
    """Files of rows: what `data.records` names, but not the lists of what is said that a pattern may match, too."""
    others = {Path(p).resolve() for p in (data.transcripts, *data.texts) if p}
    return [f for f in expand(data.records) if f.resolve() not in others]


def recordings(data: DataConfig, splits: Sequence[str]) -> Iterator[Sequence[Recording]]:
    """Recordings that training reads, in the order of need: clips, those of the rows, composed scenes.

    Of a class with very many clips only some are taken (`max_class_clips`); which ones is fixed.
    """
    clips = [s for f in expand(data.clips) for s in read_clips(f) if s.split in splits]
    yield [s.path for s in thinned(clips, data.max_class_clips)]
    rows = [r for f in record_files(data) for r in read_records(f) if r.split in splits]
    yield [one for r in rows for one in recordings_of(r)]
    if data.all_scenes:
        yield [s.path for f in expand(data.scenes) for s in read_scenes(f) if s.split in splits]


@dataclass
class Run:
    """Everything a run works with; parts are made when first needed."""

    config: RunConfig
    folder: Path
    say: Say = print
    processes: Processes = Processes()  # noqa: RUF009 - frozen
    listeners: tuple[Listener, ...] = ()
    stop: Stop = field(default_factory=Stop)
    of_stages: dict[str, list[Row]] = field(default_factory=dict)
    """Rows of the stages that have record files of their own."""

    def __post_init__(self) -> None:
        if self.processes.device:
            self.config = replace(self.config, device=self.processes.device)
        if self.processes.shards:
            check(self.config)
        if self.config.precision == "auto":
            torch.set_num_threads(self.processes.threads(self.config.threads))
            self.config = replace(self.config, precision=self.processes.agreed(settled(self.folder)))
            self.say(f"precision: {self.config.precision}")

    @cached_property
    def base(self) -> Base:
        return find_base(self.config)

    @cached_property
    def cache(self) -> FeatureCache:
        if self.config.data.cache:
            model = {**load_preset(self.config.preset).model, **self.config.model}
            cache = FeatureCache(Path(self.config.data.cache), model["encoders"])
            cache.check(self.settings)
            return cache
        if self.config.workers:
            raise ConfigError(
                f"workers is {self.config.workers} and data.cache empty; features made on the fly are made in the "
                "process that trains: set workers to 0"
            )
        return LiveFeatures(make_ear(self.config, self.base), self.config.data.max_windows)

    @cached_property
    def sounds(self) -> list[Sound]:
        data = self.config.data
        sounds = [s for f in expand(data.clips) for s in read_clips(f)]
        return sounds + [s for f in expand(data.scenes) for s in read_scenes(f)]

    @cached_property
    def labels(self) -> list[str]:
        """Tag classes; fixed by the first start of the run."""
        file = self.folder / LABELS
        if file.is_file():
            kept: list[str] = json.loads(file.read_text(encoding="utf-8"))
            return kept
        data = self.config.data
        labels = tag_labels(self.sounds, data.min_class_clips, data.classes_without_tag)
        if self.folder.is_dir():
            write_json(file, labels)
        return labels

    @cached_property
    def settings(self) -> AlmConfig:
        """Configuration of the model."""
        return model_config(self.config, self.base, self.labels)

    @cached_property
    def rows(self) -> list[Row]:
        self.cache.reload()
        rows, missing = load_rows(record_files(self.config.data), self.cache, self.settings.tokens_per_window)
        if isinstance(self.cache, LiveFeatures):
            records = self.cache.records(self.config.data.shards)
            more, left_out = rows_of(records, self.cache, self.settings.tokens_per_window)
            rows, missing = rows + more, missing + left_out
            for name, reason in list(self.cache.refused.items())[:20]:
                self.say(f"{name}: {reason}")
        self.say(f"{len(rows)} rows; {missing} left out because a recording is too long or has no features (--prepare)")
        return rows

    def rows_of(self, stage: StageConfig) -> list[Row]:
        """Rows of the stage: all, or those of its own record files."""
        if not stage.records:
            return self.rows
        if stage.name not in self.of_stages:
            files = expand(stage.records)
            rows, missing = load_rows(files, self.cache, self.settings.tokens_per_window)
            self.say(f"stage {stage.name}: {len(rows)} rows of its own; {missing} left out")
            self.of_stages[stage.name] = rows
        return self.of_stages[stage.name]

    def fresh(self) -> tuple[AlmForConditionalGeneration, AlmProcessor]:
        """The model before anything was measured or trained."""
        with quiet_libraries():
            model, processor = make_model(self.config, self.base, self.settings)
            torch.manual_seed(self.config.seed)
            add_lora(model, self.config.lora)
            add_encoder_adapters(model, self.config.encoder_adapters)
        return model, processor

    @cached_property
    def parts(self) -> tuple[AlmForConditionalGeneration, AlmProcessor]:
        model, processor = self.fresh()
        self._prepare(model, processor)
        return model, processor

    def _prepare(self, model: AlmForConditionalGeneration, processor: AlmProcessor) -> None:
        """Set the doors of the layers and the tag prompts from the language model's own states, once a run."""
        file = self.folder / "prepared.safetensors"
        if file.is_file():
            load_learned(model, load_file(file))
            return
        info = read_classes(self.config.data.class_table)
        texts = [t for c in self.labels or sorted(info) for t in class_texts(c, info)[:3]]
        calibrate(model, processor.tokenizer, texts[:: max(1, len(texts) // CALIBRATION_TEXTS)], self.base.system)
        if model.model.hearing.tag_head is not None:
            last: Any = model.model.hearing.tag_head.net[-1]
            torch.nn.init.constant_(last.bias, RARE)
        prompts: Any = model.model.hearing.tag_prompts
        for index, branch in enumerate(model.config.branch_configs):
            if str(index) in prompts:
                targets = make_targets(
                    model, processor.tokenizer, self.labels, info, [], branch.fusion.start_layer, self.base.system
                )
                with torch.no_grad():
                    prompts[str(index)].classes.copy_(targets.label_states)
        with whole_file(file) as temporary:
            save_file({n: t.contiguous() for n, t in learned_state(model).items()}, temporary)
        self.say("measured the language model's layers")

    def knowledge(self) -> Knowledge:
        """Sounds and transcripts for the evidence text, made once a run."""
        file, file_of_scores, model = self.folder / "sounds.json", self.folder / "scores.safetensors", self.parts[0]
        wanted = any(s.kind == "language" and s.evidence.told > 0 for s in self.config.stages)
        if wanted and self.rows and not file_of_scores.is_file() and model.model.hearing.tag_head is not None:
            found = self._hear_sounds(model)
            save_sounds(file, {path: sounds for path, (sounds, _) in found.items()})
            save_scores(file_of_scores, {path: scores for path, (_, scores) in found.items()})
        transcripts: dict[str, str] = {}
        for file_of_texts in expand(self.config.data.texts):
            transcripts |= read_texts(file_of_texts)
        if self.config.data.transcripts:
            transcripts |= read_transcripts(Path(self.config.data.transcripts))
        sounds = read_sounds(file) if file.is_file() else {}
        scores = read_scores(file_of_scores) if file_of_scores.is_file() else {}
        words = model.config.tag_words or {}
        return Knowledge(sounds, scores, transcripts, tuple(self.labels), words, model.config.tell_likeliest)

    def _hear_sounds(self, model: AlmForConditionalGeneration) -> dict[str, tuple[Sounds, Scores]]:
        evidence = next(s.evidence for s in self.config.stages if s.kind == "language" and s.evidence.told > 0)
        own = model.model.hearing.tag_head
        assert own is not None
        own.eval()
        sounds = [s for s in self.sounds if s.split == "train" and self.cache.find(s.path) is not None]
        by_path = {str(s.path): s.source for s in sounds}
        heads = self._heads(own, sounds, evidence)
        found: dict[str, tuple[Sounds, Scores]] = {}
        for row in self.rows:
            for item in row.items:
                source = by_path.get(file_named(item.path), row.source)
                head = heads[fold_of(source, len(heads))] if heads and row.split == "train" else own
                if item.path not in found:
                    found[item.path] = opinion_of(head, item, self.cache, model.config)
        if not sounds:
            return found
        named = {path: sounds for path, (sounds, _) in found.items()}
        shares = [share_named(named, (s for s in self.sounds if s.split == split)) for split in ("train", "dev")]
        self.say("evidence names {:.0%} of the sounds of training recordings, {:.0%} of held-out ones".format(*shares))
        return found

    def _heads(self, own: nn.Module, sounds: Sequence[Sound], evidence: EvidenceConfig) -> list[Blend]:
        """A head for each fold of the sources; none where the model's own never learned from any recording."""
        if not (evidence.folds and sounds):
            return []
        hearing, hidden = self.parts[0].model.hearing, self.parts[0].config.tag_hidden
        folds = train_heads(
            lambda: TagHead(hearing.counts, hearing.dims, len(self.labels), hidden),
            sounds, self.cache, self.labels, evidence, self.config.seed, self.config.device,
        )  # fmt: skip
        self.say(f"trained {len(folds)} tag heads, each without a part of the sources")
        return [Blend(own, fold, evidence.own) for fold in folds]

    def targets(self, captions: Sequence[str]) -> dict[int, Targets]:
        """Text side of the stage `align`, for each branch; made once a run."""
        model, processor = self.parts
        info = read_classes(self.config.data.class_table)
        key = hashlib.sha256("\n".join(captions).encode()).hexdigest()[:8]
        found: dict[int, Targets] = {}
        for index, branch in enumerate(model.config.branch_configs):
            file = self.folder / f"targets-{index}-{key}.safetensors"
            if not file.is_file():
                start = branch.fusion.start_layer
                made = make_targets(model, processor.tokenizer, self.labels, info, captions, start, self.base.system)
                with whole_file(file) as temporary:
                    save_file({n: t.contiguous() for n, t in vars(made).items()}, temporary)
            found[index] = Targets(**load_file(file))
        return found

    def collator(self, knowledge: Knowledge, anew: bool = False) -> Collator:
        """Rows to batches, with this knowledge of recordings; with `anew`, the encoders hear them in the step."""
        return self.collator_of(*self.parts, knowledge, anew)

    @property
    def _question_aware(self) -> bool:
        return any(b.aligner.question_aware for b in self.settings.branch_configs)

    def _check_shared(self) -> None:
        if self._question_aware and any(s.questions_together > 1 for s in self.config.stages if s.kind == "language"):
            raise ConfigError("aligner.question_aware needs questions_together: 1, for each question hears for itself")

    def collator_of(
        self, model: AlmForConditionalGeneration, processor: AlmProcessor, knowledge: Knowledge, anew: bool = False
    ) -> Collator:
        """The same for any model of this run's shape.

        Raises:
            ConfigError: an aligner that reads the question cannot share a reading between questions.
        """
        self._check_shared()
        kind = ListeningCollator if anew else Collator
        return kind(processor, self.cache, knowledge, self.base.system, self._question_aware)

    def objective(self, stage: StageConfig) -> Objective:
        """The loss of a stage."""
        model, processor = self.parts
        if stage.kind == "language":
            rows, collator = self.rows_of(stage), self.collator(self.knowledge(), self.config.hears_anew(stage))
            language = LanguageObjective(model, stage, rows, collator, self.config.seed, self.processes)
            for line in language.told():
                self.say(f"stage {stage.name}: {line}")
            return language
        told = (s for s in self.sounds if s.split == "train" and s.classes and (s.single or stage.losses))
        captions = sorted({s.caption for s in told})
        info = read_classes(self.config.data.class_table)
        index = {c: i for i, c in enumerate(captions)}
        targets = self.targets(captions)
        self.cache.reload()
        given = (
            model, stage, self.sounds, self.cache, self.labels, info, targets, index, self.config.seed, self.processes
        )  # fmt: skip
        objective = PairObjective(*given, tokenizer=processor.tokenizer) if stage.losses else AlignObjective(*given)
        self.say(
            f"{len(objective.train)} training sounds of {len(self.labels)} classes, {len(objective.dev)} to validate; "
            f"{objective.missing} not cached"
        )
        return objective

    def go(self, only: str | None = None) -> bool:
        """Every stage that is not done yet, in order; with `only`, no further than that one. False when asked to stop.

        Raises:
            ConfigError: a stage before `only` is not done, or the folder holds a run of another configuration.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        threads = self.processes.threads(self.config.threads)
        if threads < self.config.threads:
            self.say(f"threads: {threads} instead of {self.config.threads}; this machine's processes share its cores")
        torch.set_num_threads(threads)
        with self.processes.main_first():
            if self.processes.main:
                for change in told_changes(self.folder, self.config):
                    self.say(change)
                write_json(self.folder / CONFIG, self.config.to_dict())
            _ = self.parts
        stages = self.config.stages if only is None else self.config.stages[: self._place(only) + 1]
        with self.processes.main_first():
            self.check(stages)
        with self.stop.listening():
            for stage in stages:
                if only not in (None, stage.name) and not is_whole(self.folder / "stages" / stage.name):
                    raise ConfigError(f"stage {stage.name} comes before {only} and is not done; run it first")
                if not self._stage(stage):
                    self.say(f"stopped in stage {stage.name}; go on with --resume")
                    return False
        return True

    def check(self, stages: Sequence[StageConfig]) -> None:
        """Raise at once what would else be found when its stage begins, hours later; makes no model.

        Raises:
            ConfigError: a stage has no rows, its rows cannot make its batches, or it cannot be run like this.
        """
        for stage in stages:
            if stage.kind == "language" and not is_whole(self.folder / "stages" / stage.name):
                learned = [r for r in self.rows_of(stage) if r.split == "train"]
                planned(learned, stage, f"{self.config.seed} {stage.name}")
                self._check_shared()
            if stage.losses and self.processes.world > 1:
                raise ConfigError(
                    f"stage {stage.name}: losses compare the recordings of a whole batch; use one process"
                )

    def _place(self, name: str) -> int:
        return self.config.stages.index(self.config.stage(name))

    def _stage(self, stage: StageConfig) -> bool:
        model = self.parts[0]
        if checkpoint.load_weights(self.folder, stage.name, model) is not None:
            self.say(f"stage {stage.name} was done before")
            return True
        if "llm" in stage.train and self.config.precision == "bf16":
            model = self._in_single(stage)
        with self.processes.main_first():
            objective = self.objective(stage)
        stage = getattr(objective, "stage", stage)  # with the number of its steps
        self._check_scored(stage, objective)
        names = set_trainable(model, stage.train)
        self._lora_for(stage)
        recompute(model, stage.gradient_checkpointing, compared=self.processes.shards != "zero3")
        if stage.kind == "language" and self.config.narrows(stage):
            narrow_frozen(model)
        if self.processes.shards and isinstance(objective, LanguageObjective):
            check_rows(objective.train)
            shard(model, self.processes, self.config.device)
        learned = sum(p.numel() for p in names.values())
        self.say(f"stage {stage.name}: {learned:,} parameters learn ({', '.join(stage.train)})")
        log = Log(self.folder / "log.jsonl", listeners=self.listeners, writes=self.processes.main)
        running = Stage(
            model, names, stage, objective, self.folder, log, self.config.seed,
            self.config.save_every_minutes * 60.0, self.config.precision == "bf16", self.config.device,
            self.config.workers, self.processes, self.config.save_every_steps, self.config.keep_checkpoints,
        )  # fmt: skip
        if (begun := checkpoint.latest(self.folder, stage.name)) is not None:
            self.say(f"stage {stage.name} goes on from {begun}")
        if not running.run(self.stop):
            return False
        if (ended := running.progress.step) < stage.steps:
            self.say(f"stage {stage.name} ends after {ended} of {stage.steps} steps: validations got no better")
        best = checkpoint.load_weights(self.folder, f"{stage.name}-best", model)
        with self.processes.main_first():
            if self.processes.main:
                checkpoint.save_weights(self.folder, stage.name, model, names, best or {})
                draw(log.path, self.folder / "curves.png")
        self.say(f"stage {stage.name} done, " + (f"best {best}" if best else "its last weights are kept"))
        return True

    def _in_single(self, stage: StageConfig) -> AlmForConditionalGeneration:
        """The model with the language model's own float32 weights, which stages before may have made narrower."""
        self.__dict__.pop("parts", None)
        model = self.parts[0]
        for before in self.config.stages[: self._place(stage.name)]:
            checkpoint.load_weights(self.folder, before.name, model)
        return model

    def _check_scored(self, stage: StageConfig, objective: Objective) -> None:
        """Say so where nothing can tell better weights from worse; patience would have nothing to go by."""
        if objective.scored:
            return
        lacking = f"stage {stage.name}: no rows of split `dev` to validate by"
        if stage.patience:
            raise ConfigError(f"{lacking}, and patience is {stage.patience}; give some such rows, or set patience to 0")
        self.say(f"{lacking}; the last weights are kept")

    def _lora_for(self, stage: StageConfig) -> None:
        """LoRA that nobody has trained yet costs time and changes nothing: leave it out."""
        model = self.parts[0]
        if "lora" in self.config.trained(stage) or (self.folder / START).is_file():
            switch_lora(model, True)
            set_trainable(model, stage.train)
        else:
            switch_lora(model, False)
