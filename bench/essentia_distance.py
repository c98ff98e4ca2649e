"""How far the aiSFX front end is from Essentia's, which its network was trained on.

    pip install essentia            # AGPL-3.0; only for this measurement, never a dependency
    python -m bench.essentia_distance FILE.wav [FILE.flac ...]

Both read the same files. Essentia's chain is the published one: EasyLoader (44.1 kHz, its default gain), FrameCutter,
Windowing (Hann, not normalised), Spectrum, MelBands (HTK warping, unit sum, power), log10(1 + 10000 x). Prints, for
each source rate, the mean and largest absolute difference of the network's input and the correlation.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alm.audio import load_audio
from alm.encoders import FRONT_ENDS

_LARGEST_LOG = 9.457798957824707
Pair = tuple[NDArray[Any], NDArray[Any]]


def essentia_spectrogram(path: Path) -> NDArray[Any]:
    """`[frames, 96]` from a file, as the network was trained on."""
    import essentia.standard as es  # type: ignore[import-not-found]

    audio = es.EasyLoader(filename=str(path), sampleRate=44100)()
    window = es.Windowing(type="hann", zeroPadding=0, normalized=False)
    spectrum = es.Spectrum(size=2048)
    mel = es.MelBands(
        inputSize=1025,
        numberBands=96,
        sampleRate=44100,
        lowFrequencyBound=0,
        highFrequencyBound=22050,
        warpingFormula="htkMel",
        weighting="warping",
        normalize="unit_sum",
        type="power",
        log=False,
    )
    frames = es.FrameGenerator(audio, frameSize=2048, hopSize=1024, startFromZero=False)
    bands = np.stack([mel(spectrum(window(frame))) for frame in frames])
    return np.log10(1.0 + 10_000.0 * bands.astype(np.float64)) / _LARGEST_LOG


def our_spectrogram(path: Path) -> tuple[NDArray[Any], int]:
    """The same from this package, and the rate of the source."""
    recording = load_audio(path)
    return FRONT_ENDS["aisfx"](recording.resampled(44_100)), recording.rate


def report(name: str, pairs: list[Pair]) -> str:
    """One line of figures; frames that only one of them has are left out and counted."""
    kept = [(a[: min(len(a), len(b))], b[: min(len(a), len(b))]) for a, b in pairs]
    theirs, ours = (np.concatenate(side).ravel() for side in zip(*kept, strict=True))
    difference = np.abs(ours - theirs)
    extra = sum(abs(len(a) - len(b)) for a, b in pairs)
    return (
        f"{name:>8} {len(pairs):6d} {difference.mean():12.2e} {np.percentile(difference, 99):12.2e} "
        f"{difference.max():12.2e} {np.corrcoef(theirs, ours)[0, 1]:12.7f} {(ours - theirs).mean():12.2e} {extra:7d}"
    )


def main(arguments: list[str]) -> int:
    if not arguments:
        sys.stdout.write(f"{__doc__}\n")
        return 2
    groups: dict[str, list[Pair]] = defaultdict(list)
    for path in map(Path, arguments):
        ours, rate = our_spectrogram(path)
        groups[f"{rate} Hz"].append((essentia_spectrogram(path), ours))
    columns = ("mean |d|", "99 % |d|", "max |d|", "correlation", "mean d")
    lines = [f"{'rate':>8} {'files':>6} {' '.join(f'{c:>12}' for c in columns)} {'frames':>7}"]
    for name in sorted(groups, key=lambda n: int(n.split()[0])):
        lines.append(report(name, groups[name]))
    lines.append(report("all", [pair for pairs in groups.values() for pair in pairs]))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
