"""Microsoft's CLAP: the 2022 tower is PANNs' CNN14, the one of 2023 HTSAT, both at 44.1 kHz.

The authors fill a short clip to 5 s (2022) or 7 s (2023) by repeating it, and cut a longer one at random. Here CNN14
hears a clip of any length as it is, HTSAT repeats its spectrogram to the end, and longer recordings are cut into
windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from alm.encoders.base import AudioEncoder, FrontEnd, config_from
from alm.encoders.families import panns
from alm.encoders.families.clap import ClapAudioTower, ClapEncoderConfig
from alm.encoders.families.clap import read as read_htsat
from alm.encoders.family import Checkpoint, Facts, Family, Read
from alm.encoders.front_ends.htsat import HtsatFrontEnd
from alm.errors import ConfigError, WeightsError

_CNN14: Mapping[str, Any] = MappingProxyType({"sample_rate_hz": 44_100})
_HTSAT: Mapping[str, Any] = MappingProxyType(
    {"sample_rate": 44_100, "hop_samples": 320, "high_hz": 8000.0, "max_frames": 965, "padding": "repeat"}
)
_PREFIX = "audio_encoder.base."


class MsclapCnn14(panns.PannsAudioEncoder):
    """See `PannsAudioEncoder`."""

    name: ClassVar[str] = "msclap"


class MsclapHtsat(ClapAudioTower):
    """See `ClapAudioTower`; the samples are not rounded to 16 bits."""

    name: ClassVar[str] = "msclap"

    def __init__(self, config: ClapEncoderConfig) -> None:
        super().__init__(config)
        self.front_end = _unrounded(config)


def _unrounded(config: ClapEncoderConfig) -> HtsatFrontEnd:
    return replace(config.front_end(), sixteen_bits=False)


def _parts(config: Mapping[str, Any]) -> tuple[panns.PannsConfig | None, ClapEncoderConfig | None]:
    """The configuration of the one tower or the other."""
    fields = dict(config)
    tower = fields.pop("tower", "htsat")
    if tower not in ("cnn14", "htsat"):
        raise ConfigError(f"msclap: tower is {tower!r}; it must be cnn14 (2022) or htsat (2023)")
    if tower == "cnn14":
        return config_from(panns.PannsConfig, {**_CNN14, **fields}), None
    return None, config_from(ClapEncoderConfig, {**_HTSAT, **fields})


def build(config: Mapping[str, Any]) -> AudioEncoder:
    """A randomly initialised encoder: `tower`, and fields of `PannsConfig` (cnn14) or `ClapEncoderConfig` (htsat)."""
    cnn14, htsat = _parts(config)
    if cnn14 is not None:
        return MsclapCnn14(cnn14)
    assert htsat is not None
    return MsclapHtsat(htsat)


def _front_end(config: Mapping[str, Any]) -> FrontEnd:
    cnn14, htsat = _parts(config)
    if cnn14 is not None:
        return panns.front_end_of(cnn14)
    assert htsat is not None
    return _unrounded(htsat)


def read(checkpoint: Checkpoint) -> Read:
    """From a published `.pth` (`{"model": ...}`); the caption tower and both projections are left out."""
    tensors = {k.removeprefix(_PREFIX): t for k, t in checkpoint.tensors.items() if k.startswith(_PREFIX)}
    if not tensors:
        raise WeightsError(
            f"{checkpoint.path}: no {_PREFIX}* in it; CLAP 2022, CLAP 2023 and clapcap files have them. "
            "LAION's files are the family clap"
        )
    others = tuple(name for name in checkpoint.tensors if not name.startswith(_PREFIX))
    if any(name.startswith("htsat.") for name in tensors):
        found = read_htsat(Checkpoint(checkpoint.path, {f"audio.{k}": t for k, t in tensors.items()}, {}))
        config = {"tower": "htsat", **{k: v for k, v in found.config.items() if k != "mel_scale"}}
    else:
        found = panns.read(Checkpoint(checkpoint.path, tensors, {}), _CNN14)
        config = {"tower": "cnn14", **found.config}
    return Read(config, found.tensors, (*others, *found.unused))


FAMILY = Family(
    name="msclap",
    build=build,
    front_end=_front_end,
    read=read,
    sizes=MappingProxyType({"2023": {"tower": "htsat"}, "2022": {"tower": "cnn14"}}),
    lora_targets=("query|conv1", "value|conv2"),
    facts=Facts(
        title="Microsoft CLAP",
        paper="Elizalde et al., 2022: arXiv 2206.04769; 2023: arXiv 2309.05767",
        home="https://github.com/microsoft/CLAP",
        hub=("microsoft/msclap",),
        licence_code="MIT",
        licence_weights="MIT",
        good_at="sounds and their captions",
        containers=(("`.pth` with `model`, 2022 and 2023", "test_microsofts_and_reclaps_files_open"),),
        proved_against="microsoft/CLAP e8a6467: its HTSAT and Cnn14",
        notes="The hub's repository holds three files: name one, as in microsoft/msclap:CLAP_weights_2023.pth. Longer "
        "clips than 7 s (2023) are cut into windows. LoRA sits on attention in 2023, on convolutions in 2022.",
    ),
)
