"""Size and speed of the encoders, and what leaving out Whisper's padding to 30 s changes.

    python -m bench.unpadded FILE.wav [FILE.flac ...]

The files are speech or other sound of at most 30 s. Cosines are between the features of a clip heard at its own length
and the same places of the clip padded with silence to 30 s: frame by frame, and after the mean over time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alm import encoders, weights
from alm.audio import load_audio

_TIMED_SECONDS = 10.0


def hear(encoder: encoders.AudioEncoder, samples: np.ndarray) -> Tensor:
    """All layers of one clip: `[layers, time, dim]`."""
    spectrogram = torch.from_numpy(encoder.front_end(samples))[None]
    mask = torch.ones(spectrogram.shape[:2], dtype=torch.bool)
    with torch.inference_mode():
        heard: encoders.EncoderOutput = encoder(spectrogram, mask, range(encoder.num_layers + 1))
    return heard.features[0]


def speed(encoder: encoders.AudioEncoder) -> str:
    """Parameters, rate, and processor time for ten seconds of noise, best of three."""
    samples = np.random.default_rng(0).standard_normal(int(_TIMED_SECONDS * encoder.sample_rate)).astype(np.float32)
    spent = []
    for _ in range(3):
        started = time.process_time()
        hear(encoder, 0.1 * samples)
        spent.append(time.process_time() - started)
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    return (
        f"{encoder.name}: {millions:.2f} M parameters, {encoder.frames_per_second:.2f} features/s x {encoder.dim}, "
        f"{min(spent) * 1000:.0f} ms of one core for {_TIMED_SECONDS:g} s"
    )


def cosines(encoder: encoders.AudioEncoder, paths: list[Path]) -> str:
    """Mean cosine of unpadded and padded features, layer by layer."""
    by_frame, by_clip = [], []
    for path in paths:
        samples = load_audio(path).resampled(encoder.sample_rate)
        padded = np.pad(samples, (0, max(0, 30 * encoder.sample_rate - samples.size)))
        alone = hear(encoder, samples)
        silent = hear(encoder, padded)[:, : alone.shape[1]]
        by_frame.append(torch.cosine_similarity(alone, silent, dim=-1).mean(1))
        by_clip.append(torch.cosine_similarity(alone.mean(1), silent.mean(1), dim=-1))
    rows = [
        f"  {name:<16} {' '.join(f'{v:.3f}' for v in torch.stack(kept).mean(0).tolist())}"
        for name, kept in (("frame by frame", by_frame), ("mean over time", by_clip))
    ]
    return "\n".join([f"cosine, unpadded and padded, layers 0..{encoder.num_layers}, {len(paths)} files:", *rows])


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    found = weights.ensure("tiny")
    whisper, aisfx = encoders.load("whisper", found.whisper), encoders.load("aisfx", found.aisfx)
    lines = [speed(whisper), speed(aisfx)]
    if arguments:
        lines.append(cosines(whisper, [Path(a) for a in arguments]))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
