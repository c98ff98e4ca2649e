"""From the name of an encoder to an assistant, at toy size: a run, its adapter, a preset of one's own, a question."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import tiny_model
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

import alm
import alm.cli
import serve.__main__
from alm import encoders, presets, weights
from alm.adapters import hearing_state, lora_state
from alm.configuration import AlmConfig
from alm.errors import ConfigError, PresetError, WeightsError
from alm.presets import load_preset
from alm.testing import two_tone_scene
from tests.test_encoder_beats import official
from tests.test_encoder_sources import Hub
from training import paper
from training.config import RunConfig, load_config
from training.export import write_adapter
from training.models import encoder_checkpoint, find_base, make_ear, model_config
from training.run import Run
from training.typed import build

PUBLISHED = sorted((Path(__file__).parent.parent / "training" / "configs" / "published").glob("*.yaml"))
ALIGNER = {"num_queries": 4, "hidden_size": 16, "num_heads": 2, "num_layers": 1}
TOKENS = {"frequency": "tokens"}


# --- toys ---


def language_model(folder: Path) -> Path:
    """A random decoder with its tokenizer, as transformers saves them."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny_model.config().text_config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.15)
    model.generation_config.eos_token_id = tiny_model.tokenizer().eos_token_id
    model.save_pretrained(folder)
    tiny_model.tokenizer().save_pretrained(folder)
    return folder


def beats_file(path: Path) -> Path:
    """BEATs of three layers in the authors' container."""
    state, cfg = official("beats")
    torch.save({"cfg": cfg, "model": state}, path)
    return path


def whisper_folder(folder: Path) -> Path:
    torch.manual_seed(1)
    made = encoders.build("whisper", tiny_model.WHISPER)
    folder.mkdir()
    save_file({n: t.contiguous() for n, t in made.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"family": "whisper", "config": tiny_model.WHISPER}))
    return folder


def preset_file(folder: Path, **changes: Any) -> Path:
    """A user's own preset: Whisper and BEATs at 50 features a second, weights to be brought."""
    folder.mkdir(exist_ok=True)
    whisper = {"family": "whisper", "layers": [1, 2], "pool_frames": 4}
    model = {
        "encoders": {"whisper": whisper, "beats": {"family": "beats", "layers": [-1], "config": TOKENS}},
        "branches": [{"encoders": ["whisper", "beats"], "aligner": ALIGNER, "fusion": {"start_layer": 2}}],
        "window_seconds": 2.0, "overlap_seconds": 0.5, "max_audio_seconds": 20.0,
    }  # fmt: skip
    values = {
        "name": "mine", "description": "two ears", "weights": "own", "system": "Listen.", "audio_token": "<|audio|>",
        "model": model, "evidence": False, **changes,
    }  # fmt: skip
    (folder / "preset.json").write_text(json.dumps(values))
    return folder / "preset.json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base weights, a preset and three recordings with what is said of them."""
    folder = tmp_path_factory.mktemp("toys")
    language_model(folder / "llm")
    beats_file(folder / "BEATs_toy.pt")
    whisper_folder(folder / "whisper")
    preset_file(folder / "mine")
    rows, sounds = [], []
    for number in range(3):
        clip = two_tone_scene(1.0 + 0.4 * number, first_hz=300.0 + 200 * number, seed=number)
        soundfile.write(folder / f"{number}.wav", clip.samples, clip.rate)
        turns = [{"role": "user", "content": "<audio>What is it?"}, {"role": "assistant", "content": f"tone {number}"}]
        rows.append({
            "id": str(number), "messages": turns, "audios": [f"{number}.wav"], "source": "s", "task": "label",
            "split": "dev" if number == 2 else "train", "licence": "CC0", "duration": 1.0 + 0.4 * number,
        })  # fmt: skip
        sounds.append({
            "audio": f"{number}.wav", "classes": ["rain"], "description": "rain", "package": "p", "split": "train",
        })  # fmt: skip
    for name, lines in (("rows", rows), ("sounds", sounds)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def no_shipped_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing of the embedded default is needed")

    monkeypatch.setattr(weights, "ensure", refuse)


def parts(place: Path) -> dict[str, str | Path]:
    return {"language_model": place / "llm", "whisper": place / "whisper", "beats": place / "BEATs_toy.pt"}


def a_run(place: Path, **changes: Any) -> RunConfig:
    """One step of the aligner and LoRA on the toys."""
    stage = {
        "name": "answer", "kind": "language", "train": ["aligner", "lora"], "lr": {"aligner": 0.01, "lora": 0.01},
        "steps": 1, "batch_size": 2, "warmup_steps": 1, "eval_every_steps": 1, "samples": 0,
        "evidence": {"tags": 0.0, "asked": 0.0, "transcript": 0.0, "wrong": 0.0},
    }  # fmt: skip
    named = {"whisper": str(place / "whisper"), "beats": str(place / "BEATs_toy.pt")}
    data = {"records": [str(place / "rows.jsonl")], "clips": [str(place / "sounds.jsonl")], "cache": ""}
    values = {
        "preset": str(place / "mine"), "threads": 1, "data": data,
        "base": {"llm": str(place / "llm"), "encoders": named},
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]}, "stages": [stage],
    }  # fmt: skip
    return build(RunConfig, {**values, **changes}, "test")


def with_beats(place: Path, **config: Any) -> RunConfig:
    """The run with other fields of BEATs."""
    own = {name: dict(e) for name, e in load_preset(str(place / "mine")).model["encoders"].items()}
    own["beats"]["config"] = config
    return a_run(place, model={"encoders": own})


def beats_of(config: RunConfig) -> dict[str, Any]:
    return model_config(config, find_base(config), []).encoder_configs["beats"].config


# --- what a run says of an encoder ---


def test_a_run_goes_before_the_preset_and_the_preset_before_the_checkpoint(
    place: Path, no_shipped_weights: None
) -> None:
    said = encoders.checkpoint_config("beats", place / "BEATs_toy.pt")
    assert "frequency" not in said and said["max_distance"] == 60
    assert beats_of(a_run(place)) == {**said, "frequency": "tokens"}
    assert beats_of(with_beats(place, frequency="mean", mean=1.0)) == {**said, "frequency": "mean", "mean": 1.0}


def test_unknown_fields_of_an_encoder_are_refused_with_those_there_are(place: Path, no_shipped_weights: None) -> None:
    wrong = with_beats(place, no_such_field=1)
    with pytest.raises(ConfigError, match=r"encoders.beats: .*'no_such_field'; fields are dim, .*frequency"):
        beats_of(wrong)
    with pytest.raises(ConfigError, match="'no_such_field'; fields are dim"):
        paper.measure(wrong)
    with pytest.raises(WeightsError, match=r"BEATs_toy.pt does not fit BeatsAudioEncoder.*relative_attention_bias"):
        make_ear(with_beats(place, num_buckets=64), find_base(wrong))


def test_the_cache_and_the_model_and_the_paper_have_the_encoder_that_the_run_says(
    place: Path, no_shipped_weights: None
) -> None:
    rates, tokens = {}, {}
    for frequency in ("tokens", "mean"):
        config = with_beats(place, frequency=frequency)
        ear = make_ear(config, find_base(config))
        model = Run(config, place / "nowhere", lambda text: None).fresh()[0]
        heard, same = ear.hearing.encoders["beats"], model.model.hearing.encoders["beats"]
        assert heard.frames_per_second == same.frames_per_second
        assert all(torch.equal(t, same.state_dict()[n]) for n, t in heard.state_dict().items())
        on_paper = paper.measure(config).ears["beats"]
        assert on_paper.parameters == sum(p.numel() for p in same.parameters())
        rates[frequency], tokens[frequency] = heard.frames_per_second, on_paper.frames_per_second
    assert rates == {"tokens": 50.0, "mean": 6.25}
    assert tokens == {"tokens": 50.0, "mean": 50.0}, "its layers work on all patches, whatever is handed on"


def test_on_paper_an_encoder_that_is_elsewhere_must_say_what_it_is(place: Path, no_shipped_weights: None) -> None:
    away = a_run(place, base={"encoders": {"beats": "elsewhere"}}, preset="pal-like")
    assert encoder_checkpoint(away, "beats") is None
    with pytest.raises(ConfigError, match=r"'beats' is not on this machine.*model\.encoders\.beats\.config"):
        paper._ear(away, "beats", {"family": "beats"}, 10.0)
    assert paper._ear(away, "beats", {"family": "beats", "config": TOKENS}, 10.0).parameters == 90_311_664


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda f: f.stem)
def test_published_curricula_hear_as_they_say(file: Path) -> None:
    config = load_config(file)
    text = tiny_model.config().text_config.to_dict() | {"num_hidden_layers": 32}
    made = AlmConfig(text_config=text, **config.model)
    assert not {n for n in config.base.shapes if made.encoder_configs[n].config.get("frequency")}
    for name in ("beats", "sslam", "audiomae"):
        if name in made.encoder_configs:
            with torch.device("meta"):
                encoder = encoders.build(name, made.encoder_configs[name].config)
            assert encoder.frames_per_second == 50.0


# --- windows ---


@pytest.mark.parametrize(
    ("family", "window", "longest", "safe"),
    [("birdmae", 10.0, "5.135", 5.1), ("vatt", 10.0, "3.2", 3.2), ("clap", 10.24, "10", 10.0),
     ("ast", 10.3, "10.255", 10.2)],
)  # fmt: skip
def test_a_window_that_an_encoder_cannot_hear_is_refused(family: str, window: float, longest: str, safe: float) -> None:
    ears = {"ear": {"family": family}}
    told = rf"window_seconds is {window:g}.*'ear' \({family}\) .* {longest} s at once; set .* to {safe:g} or less"
    with pytest.raises(ConfigError, match=told):
        AlmConfig(encoders=ears, window_seconds=window)
    assert AlmConfig(encoders=ears, window_seconds=safe)
    assert AlmConfig(encoders=ears, window_seconds=float(longest)).window_seconds == float(longest), "control"
    assert AlmConfig(encoders={"ear": {"family": "whisper"}}, window_seconds=window), "control: another ear"


def test_a_window_that_is_too_long_is_refused_on_paper_too(place: Path) -> None:
    with pytest.raises(ConfigError, match="window_seconds is 31"):
        paper.measure(a_run(place, model={"window_seconds": 31.0}))


# --- parts and presets ---


def test_a_preset_is_named_by_its_file_or_its_folder(place: Path, tmp_path: Path) -> None:
    by_file, by_folder = load_preset(str(place / "mine" / "preset.json")), load_preset(str(place / "mine"))
    assert by_file == by_folder and by_file.name == "mine" and by_file.folder == place / "mine"
    assert by_file.adapter is None and load_preset("tiny").adapter == load_preset("tiny").folder / "adapter"
    with pytest.raises(PresetError, match=r"no preset is called 'mime'.*tiny.*path of its preset\.json"):
        load_preset("mime")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "no field 'colour'"),
        ({"place": "/"}, "no field 'place'"),
        ({"evidence": 1}, "evidence is 1; it must be of type bool"),
        ({"model": {}}, "table `encoders`"),
        ({"model": {"encoders": {"a": {}}, "branches": []}}, r"model\.encoders\.a must be a table that names"),
    ],
)
def test_damaged_presets_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = preset_file(tmp_path / "one", **change)
    with pytest.raises(PresetError, match=message) as refusal:
        load_preset(str(file))
    assert str(file) in str(refusal.value)
    values = json.loads(preset_file(tmp_path / "one").read_text())
    assert load_preset(str(file)).model == values["model"], "control"
    del values["system"]
    for text, problem in (("{", "not a readable preset"), ("[]", "not list"), (json.dumps(values), "'system' is")):
        file.write_text(text)
        with pytest.raises(PresetError, match=problem):
            load_preset(str(file))


def test_a_run_without_all_its_parts_says_which(place: Path, no_shipped_weights: None) -> None:
    whole = a_run(place)
    base = find_base(whole)
    assert base.encoders["beats"] == place / "BEATs_toy.pt" and base.system == "Listen."
    with pytest.raises(ConfigError, match="'mine' comes without weights; name their places as base.llm, .*beats"):
        find_base(replace(whole, base=replace(whole.base, llm="", encoders={"whisper": str(place / "whisper")})))
    with pytest.raises(ConfigError, match="gone, which is not here"):
        find_base(replace(whole, base=replace(whole.base, encoders={"beats": str(place / "gone")})))
    named = {**whole.base.encoders, "beats": "hub:some/beats:a.pt"}
    of_hub = find_base(replace(whole, base=replace(whole.base, llm="hub:some/llm", encoders=named)))
    assert (of_hub.llm, of_hub.encoders["beats"]) == ("some/llm", "some/beats:a.pt"), "fetched when it is opened"
    with pytest.raises(ConfigError, match=r"'tiny' has no weights of the encoder 'beats'.*base\.encoders\.beats"):
        find_base(a_run(place, preset="tiny", base={}, model=load_preset(str(place / "mine")).model))
    with pytest.raises(ConfigError, match="comes without a transcriber"):
        _ = base.transcriber


def test_a_repository_is_fetched_when_a_run_opens_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, whole = Hub(tmp_path, monkeypatch), a_run(place)
    (hub.there / "BEATs_toy.pt").write_bytes((place / "BEATs_toy.pt").read_bytes())
    named = {**whole.base.encoders, "beats": "hub:owner/name"}
    run = replace(whole, base=replace(whole.base, encoders=named))
    assert encoder_checkpoint(run, "beats") is None and not hub.fetched, "on paper nothing is fetched"
    assert beats_of(run) == beats_of(whole) and hub.fetched == ["BEATs_toy.pt"]
    assert encoder_checkpoint(run, "beats") == "owner/name"


def test_a_language_model_that_cannot_be_read_is_named(place: Path, tmp_path: Path) -> None:
    llm = tmp_path / "empty"
    llm.mkdir()
    with pytest.raises(WeightsError, match=r"empty: no language model that can be read .*; name a folder"):
        alm.load(str(place / "mine"), parts={**parts(place), "language_model": llm})


def test_parts_on_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    told = alm.cli.parse_parts(["beats=BEATs_toy.pt", "language_model=some/repository"])
    assert told == {"beats": str(place / "BEATs_toy.pt"), "language_model": "some/repository"}
    for wrong, message in ((["beats"], "NAME=PATH"), (["=x"], "NAME=PATH"), (["a=1", "a=2"], "names a twice")):
        with pytest.raises(PresetError, match=message):
            alm.cli.parse_parts(wrong)


def test_commands_hand_the_parts_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def stop(preset: str, **options: Any) -> None:
        seen.append(options)
        raise ConfigError("seen")

    (place / "batch.jsonl").write_text(json.dumps({"id": "1", "audio": "0.wav", "question": "What?"}) + "\n")
    batch = ["batch", str(place / "batch.jsonl"), str(place / "answers.jsonl")]
    for name, words in (("api", ["serve"]), ("batch", batch), ("chat", ["chat", "--no-browser"])):
        monkeypatch.setattr(f"serve.{name}.command.load_assistant", stop)
        given = ["--preset", str(place / "mine"), "--part", f"beats={place / 'BEATs_toy.pt'}"]
        done = CliRunner().invoke(serve.__main__.app, [*words, *given])
        assert done.exit_code == 2 and seen.pop()["parts"] == {"beats": str(place / "BEATs_toy.pt")}, name
    assert not seen


# --- the whole chain ---


@pytest.fixture(scope="module")
def trained(place: Path) -> tuple[Run, Path]:
    """A run of one step, and its adapter; the run's model then has the adapter's 16 bits."""
    config = a_run(place)
    assert Run(config, place / "run", lambda text: None).go()
    write_adapter(config, place / "run", place / "adapter")
    run = Run(config, place / "run", lambda text: None)
    assert run.go()
    model = run.parts[0].eval()
    learned = {*hearing_state(model), *(n for n in model.state_dict() if ".lora_" in n)}
    assert lora_state(model)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in learned:
                tensor.copy_(tensor.half())
    return run, place / "adapter"


def next_token(model: Any, processor: Any, recording: Path) -> torch.Tensor:
    """What the model would say first `[vocabulary]`."""
    content = [{"type": "audio", "audio": str(recording)}, {"type": "text", "text": "What is it?"}]
    inputs = processor.apply_chat_template([{"role": "user", "content": content}])
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits
    return logits[0, -1]


def test_what_was_trained_is_what_answers(place: Path, trained: tuple[Run, Path], no_shipped_weights: None) -> None:
    run, adapter = trained
    mine = alm.load(str(place / "mine"), adapter=adapter, parts=parts(place))
    wanted, found = next_token(*run.parts, place / "2.wav"), next_token(mine.model, mine.processor, place / "2.wav")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    fresh = alm.load(str(place / "mine"), parts=parts(place))
    other = next_token(fresh.model, fresh.processor, place / "2.wav")
    assert not torch.allclose(other, wanted, atol=1e-3), "control: without the adapter it says something else"
    assert mine.conversation().ask("What is it?", audio=place / "2.wav").text is not None


def test_a_question_on_the_command_line(place: Path, trained: tuple[Run, Path], no_shipped_weights: None) -> None:
    words = ["ask", str(place / "2.wav"), "What is it?", "--json", "--preset", str(place / "mine"), "--max-new-tokens"]
    words += ["4", "--adapter", str(trained[1])]
    given = [word for name, path in parts(place).items() for word in ("--part", f"{name}={path}")]
    done = CliRunner().invoke(alm.cli.app, [*words, *given])
    assert done.exit_code == 0 and json.loads(done.stdout)["usage"], done.output
    refused = CliRunner().invoke(alm.cli.app, [*words, *given[:-2]])
    assert refused.exit_code == 2 and "takes the parts language_model, beats, whisper" in refused.stderr


def test_an_adapter_goes_before_the_preset(place: Path, trained: tuple[Run, Path], tmp_path: Path) -> None:
    """What the run said of an encoder is in the adapter; the preset at hand may say otherwise, or nothing."""
    run, adapter = trained
    preset = json.loads((place / "mine" / "preset.json").read_text())
    del preset["model"]["encoders"]["beats"]["config"]
    file = tmp_path / "preset.json"
    file.write_text(json.dumps(preset))
    mine = alm.load(str(file), adapter=adapter, parts=parts(place))
    assert mine.model.config.encoder_configs["beats"].config["frequency"] == "tokens"
    wanted, found = next_token(*run.parts, place / "1.wav"), next_token(mine.model, mine.processor, place / "1.wav")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def as_shipped(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`alm.load` of a preset that has weights of its own, though not of BEATs."""
    found = SimpleNamespace(llm=place / "llm", whisper=place / "whisper", aisfx=place / "none", transcriber=None)
    model = {**load_preset(str(place / "mine")).model, "encoders": {"whisper": {"family": "whisper", "layers": [-1]}}}
    shipped = replace(load_preset(str(place / "mine")), weights="tiny", model=model)
    monkeypatch.setattr(weights, "ensure", lambda *_, **__: found)
    monkeypatch.setattr(presets, "load_preset", lambda name: shipped)
    return alm.load


def test_an_adapter_with_an_encoder_that_the_preset_lacks_takes_it_as_a_part(
    place: Path, trained: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, adapter = trained
    load = as_shipped(place, monkeypatch)
    mine = load("mine", adapter=adapter, parts={"beats": str(place / "BEATs_toy.pt")})
    wanted, found = next_token(*run.parts, place / "2.wav"), next_token(mine.model, mine.processor, place / "2.wav")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(PresetError, match=r"has no weights of beats, .*parts=\{'beats': .*--part beats=PATH"):
        load("mine", adapter=adapter)
    with pytest.raises(PresetError, match="takes no part dog, language_model; .* beats, whisper"):
        load("mine", adapter=adapter, parts={"beats": "x", "dog": "y", "language_model": "z"})


def test_another_file_than_the_adapters_is_refused(place: Path, trained: tuple[Run, Path], tmp_path: Path) -> None:
    state, cfg = official("beats")
    state = {n: t + 0.01 if t.is_floating_point() and "relative" not in n else t for n, t in state.items()}
    torch.save({"cfg": cfg, "model": state}, tmp_path / "other.pt")
    with pytest.raises(alm.AlmError, match="was trained on another encoder:beats"):
        alm.load(str(place / "mine"), adapter=trained[1], parts={**parts(place), "beats": tmp_path / "other.pt"})
