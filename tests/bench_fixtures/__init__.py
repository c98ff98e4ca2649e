"""Synthetic downloads: every benchmark's official lay-out with a handful of invented rows and tones for recordings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench_fixtures import closed, questions, spoken

_BLAB = (
    "word_localization", "named_entity_localization", "advertisement_localization", "speaker_number_estimation",
    "event_duration", "entire_duration", "emotion_ranking", "emotion_reasoning",
)

BUILDERS: dict[str, tuple[Callable[[Path], None], int]] = {
    "mmau": (questions.mmau, 4),
    "mmau-pro": (questions.mmau_pro, 5),
    "mmar": (questions.mmar, 3),
    "mmar-rubrics": (questions.mmar, 3),
    "air-foundation": (questions.air_foundation, 4),
    "air-chat": (questions.air_chat, 4),
    "ahelm-audiocaps": (closed.audiocaps, 2),
    "ahelm-voxceleb2": (spoken.voxceleb2, 2),
    "ahelm-vocalsound": (spoken.vocalsound, 2),
    "ahelm-meld": (spoken.meld, 2),
    "ahelm-mustard": (spoken.mustard, 2),
    "ahelm-air-chat-reasoning": (questions.air_chat, 2),
    "ahelm-corebench": (spoken.corebench, 2),
    "ahelm-air-chat-knowledge": (questions.air_chat, 2),
    "ahelm-air-foundation": (questions.air_foundation, 2),
    "ahelm-mutox": (spoken.mutox, 2),
    "ahelm-voice-jailbreak": (spoken.jailbreak, 2),
    "ahelm-parade": (spoken.parade, 4),
    "ahelm-librispeech": (spoken.librispeech, 2),
    "ahelm-speech-robust-bench": (spoken.robust_bench, 2),
    "ahelm-covost2": (spoken.covost, 1),
    "ahelm-fleurs": (spoken.fleurs, 2),
    "ahelm-mls": (spoken.mls, 1),
    "ahelm-fleurs-fairness": (spoken.fleurs, 2),
    "ahelm-librispeech-fairness": (spoken.librispeech, 2),
    **{f"blab-{t.replace('_', '-')}": (partial(questions.blab, t), len(questions.BLAB[t])) for t in _BLAB},
    "dynamic-superb": (questions.dynamic_superb, 14),
    "slue-asr-voxpopuli": (spoken.slue_voxpopuli, 3),
    "slue-asr-voxceleb": (spoken.slue_voxceleb, 3),
    "slue-ner": (spoken.slue_voxpopuli, 3),
    "slue-sentiment": (spoken.slue_voxceleb, 2),
    "slue-dialogue-acts": (spoken.slue_hvb, 2),
    "slue-nel": (spoken.slue_vp_nel, 2),
    "slue-sqa": (spoken.slue_sqa, 2),
    "slue-summary": (spoken.slue_ted, 1),
    "clotho-aqa-aquanet": (questions.clotho_aqa, 6),
    "clotho-aqa-unanimous": (questions.clotho_aqa, 2),
    "clotho-aqa-qwen": (questions.clotho_aqa_qwen, 4),
    "clotho-aqa-judge": (questions.clotho_aqa, 4),
    "compa-order": (partial(questions.compa, "order"), 8),
    "compa-attribute": (partial(questions.compa, "attribute"), 8),
    "compa-r-test": (questions.compa_r, 3),
    "teleantifraud": (questions.teleantifraud, 3),
    "teleantifraud-reasoning": (questions.teleantifraud, 3),
    "audiocaps": (closed.audiocaps, 2),
    "clotho": (closed.clotho, 2),
    "librispeech": (spoken.librispeech, 2),
    "seld-2019": (closed.seld, 2),
    "esc-50": (closed.esc50, 9),
    "urbansound8k": (closed.urbansound8k, 6),
    "fsd50k": (closed.fsd50k, 6),
    "vggsound": (closed.vggsound, 6),
    "audioset": (closed.audioset, 6),
    "speech-commands": (closed.speech_commands, 9),
    "vocalsound": (closed.vocalsound, 6),
    "tut2017": (closed.tut2017, 9),
    "beijing-opera": (closed.beijing_opera, 12),
    "nsynth": (closed.nsynth, 9),
    "gtzan": (closed.gtzan, 9),
    "dcase2017": (closed.dcase2017, 6),
    "nsynth-two-tower": (closed.nsynth, 6),
    "beijing-opera-two-tower": (closed.beijing_opera, 8),
}
"""How a download is made, and how many items of its usual split can be prepared."""


def build(name: str, folder: Path) -> Path:
    """The benchmark's official lay-out, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    BUILDERS[name][0](folder)
    return folder
