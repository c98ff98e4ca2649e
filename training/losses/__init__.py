"""Losses that teach an aligner from recordings and their captions before the language model hears it.

| name | what | after |
|---|---|---|
| `class`, `class_best`, `caption` | what stage `align` does by itself, see `training.align` | |
| `contrastive` | a recording's nearest token to its caption, against the others of the batch | BLIP-2, GAMA, APT |
| `matching` | whether a caption belongs to a recording, against the hardest of the batch | BLIP-2, GAMA, APT |
| `generation` | the caption word for word, from the audio tokens alone | BLIP-2, GAMA, APT |
| `slap` | each side predicts the other's slow copy, without negatives | SLAP (arXiv 2506.17815) |
| `gram` | volume that caption and each encoder's view span, against the others of the batch | GRAM (arXiv 2412.11959) |
"""

from __future__ import annotations

PAIR_LOSSES = ("contrastive", "matching", "generation", "slap", "gram")
"""Those that need captions."""
LOSSES = ("class", "class_best", "caption", *PAIR_LOSSES)
