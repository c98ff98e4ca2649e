"""`alm encoders`: which encoders there are, what is known of one, its features of a recording, its conversion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alm.errors import ConfigError
from alm.terminal import console, working, write_json

if TYPE_CHECKING:
    from alm.encoders import AudioEncoder

app = typer.Typer(no_args_is_help=True, help="Audio encoders: list, describe, run and convert them.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Checkpoint = Annotated[
    str,
    typer.Option(
        help="Repository on the hub (OWNER/NAME, or OWNER/NAME:FILE where it has several), file of its authors, or "
        "folder. The embedded pair needs none."
    ),
]
Size = Annotated[str, typer.Option(help="Published size, where the checkpoint does not say it; see `info`.")]
_EMBEDDED = ("aisfx", "whisper")


@app.command("list")
def list_encoders(as_json: AsJson = False) -> None:
    """List the families that a preset may name, with their published sizes."""
    from alm.encoders import families, family, listing

    if as_json:
        write_json(listing.all_described(), indent=2)
        return
    for name in sorted(families.MODULES):
        known = family(name)
        typer.echo(f"{name:12} {known.facts.title}: {known.facts.good_at} [{', '.join(known.sizes)}]")


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Family, as `alm encoders list` shows it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show source, licences, front end and sizes of one family."""
    from alm.encoders import listing

    found = listing.described(name)
    if as_json:
        write_json(found, indent=2)
        return
    for line in info_lines(found):
        typer.echo(line)


def info_lines(found: dict[str, Any]) -> list[str]:
    """What `info` prints."""
    facts = ("paper", "home", "licence_code", "licence_weights", "good_at", "proved_against", "notes")
    lines = [found["title"], *(f"  {key.replace('_', ' ')}: {found[key]}" for key in facts if found[key])]
    lines.append(f"  containers: {'; '.join(kind for kind, _ in found['containers'])}")
    lines += [f"  hub: {', '.join(found['hub'])}"] * bool(found["hub"])
    for size in found["sizes"]:
        front_end = size["front_end"]
        lines.append(
            f"  {size['name']}: {size['parameters'] / 1e6:.1f} M parameters, layers 0..{size['layers']}, "
            f"{size['features_per_second']:.4g} features a second x {size['dim']}, front end {front_end['name']} "
            f"at {front_end['sample_rate']} Hz, at most {front_end['max_seconds']:g} s at once"
        )
    return lines


@app.command()
def features(
    clip: Annotated[Path, typer.Argument(help="Audio file.", show_default=False)],
    encoder: Annotated[str, typer.Option(help="Family; may be left out where the checkpoint says it.")] = "",
    checkpoint: Checkpoint = "",
    size: Size = "",
    layers: Annotated[str, typer.Option(help="Layers, as in `4,8,12`; negative ones count from the last.")] = "-1",
    window_seconds: Annotated[float, typer.Option(min=0.1, help="Longer recordings are cut into such windows.")] = 10.0,
    overlap: Annotated[float, typer.Option(min=0.0, help="Seconds that neighbouring windows share.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Write features and times to this safetensors file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them into this PNG file.")] = None,
) -> None:
    """Hear a recording with one encoder and write its features with their times.

    \b
    alm encoders features dog.wav --encoder whisper --layers 2,4 --out dog.safetensors --plot dog.png
    alm encoders features dog.wav --encoder beats --checkpoint BEATs_iter3.pt --layers 4,8,12
    alm encoders features hours.flac --encoder vatt --checkpoint vatt.index --overlap 0.4 --out hours.safetensors
    """
    from alm.encoders import extraction
    from alm.long_audio import open_audio

    wanted = layer_numbers(layers)
    for option, path in (("--out", out), ("--plot", plot)):
        check_place(option, path)
    recording = open_audio(clip)
    with working("loading the encoder"):
        module = _opened(encoder, checkpoint, size)
    with working("listening"):
        heard = extraction.extract(module, recording, wanted, window_seconds, overlap, out.parent if out else None)
    if heard.window_seconds < min(window_seconds, recording.seconds):
        limit = f"{module.name} hears no more at once"
        typer.echo(f"windows of {heard.window_seconds:g} s, not {window_seconds:g} s: {limit}")
    try:
        if out is not None:
            heard.save(out, module.name, recording)
        if plot is not None:
            extraction.draw(heard, plot, f"{clip.name}, {module.name}")
    except OSError as error:
        raise ConfigError(f"the features cannot be written ({error}); free or name another place") from error
    for layer, values in zip(heard.layers, heard.features, strict=True):
        count, dim = values.shape
        typer.echo(f"layer {layer}: {count} features x {dim}, mean length {values.norm(dim=1).mean():.4g}")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Repository on the hub (OWNER/NAME[:FILE]), file or folder.")],
    folder: Annotated[Path, typer.Argument(help="New folder for config.json and model.safetensors.")],
    encoder: Annotated[str, typer.Option(help="Family; may be left out where the checkpoint says it.")] = "",
    size: Size = "",
) -> None:
    """Convert a checkpoint into safetensors; nothing that lies in it is run."""
    from alm.encoders import convert as converted

    with working("converting"):
        made = converted(source, folder, encoder, size)
    console().print(f"{made.name}: {sum(p.numel() for p in made.parameters()) / 1e6:.1f} M parameters in {folder}")


@app.command()
def fit(
    clips: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.", show_default=False)],
    folder: Annotated[Path, typer.Option("--out", help="New folder for config.json and model.safetensors.")],
    clusters: Annotated[int, typer.Option(min=1, help="How many kinds of sound it tells apart.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the first centres of k-means.")] = 0,
) -> None:
    """Fit the baseline `statistics` to recordings; an encoder that is trained has to beat it.

    \b
    alm encoders fit my-clips --out baseline
    alm encoders features dog.wav --checkpoint baseline
    """
    from alm.encoders.baseline import fit_statistics

    with working("listening"):
        used, refused = fit_statistics(clips, folder, clusters, seed)
    for line in refused[:20]:
        typer.echo(line)
    typer.echo(f"statistics of {used} recordings in {folder}; {len(refused)} refused")


def check_place(option: str, path: Path | None) -> None:
    """Whether a file can be written there, found out before the work; its folder is made.

    Raises:
        ConfigError: it is a folder, or its folder cannot be made or written to.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option} {path}: its folder cannot be made ({error.strerror}); name another") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{option} {path}: no file can be written there; name a file in a folder of yours")


def layer_numbers(text: str) -> list[int]:
    """`4,8,-1` as numbers.

    Raises:
        ConfigError: something in it is no whole number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--layers is {text!r}; write whole numbers with commas between, as in 4,8,12") from None


def _opened(encoder: str, checkpoint: str, size: str) -> AudioEncoder:
    """The encoder with its weights: those of the checkpoint, or the embedded ones."""
    from alm.encoders import family, load, open_encoder

    if checkpoint:
        return open_encoder(checkpoint, encoder, size)
    if encoder not in _EMBEDDED:
        hub = family(encoder).facts.hub if encoder else ()
        example = f", as in --checkpoint {hub[0]}" if hub else ""
        where = f"; `alm encoders info {encoder}` says where they are" if encoder else ""
        raise ConfigError(
            f"{encoder or 'an encoder'} needs its weights: --checkpoint takes a file of its authors, a folder or a "
            f"repository of the hub{example}{where}"
        )
    from alm.weights import ensure

    folders = ensure("tiny")
    return load(encoder, getattr(folders, encoder))
