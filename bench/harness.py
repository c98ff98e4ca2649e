"""The default preset on the corpus's test split through `alm eval`: `python -m bench.harness --corpus CORPUS`.

Beside it stand the same preset without its adapter, and the cascade: its language model reading what its ears write
down. Written to `docs/tiny/`. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from eval.harness import plots
from eval.harness.report import as_csv, cell
from eval.harness.summary import BOTH, read_summary
from eval.results import markdown_table, shown

SETS = {
    "choice": 240, "presence": 240, "order": 240, "count": 240, "transcript": 240, "caption": 240,
    "label-open": 96, "label-listed": 48, "label-loglik": 24,
}  # fmt: skip
"""Sets of `alm eval make corpus`, and about how many questions; those with 183 labels take long."""
MODELS: dict[str, tuple[str, ...]] = {
    "tiny": (),
    "no adapter": ("--adapter", "none", "--condition", "heard"),
    "cascade": ("--cascade", "tiny", "--condition", "heard"),
}
WITHOUT = {("cascade", "label-loglik")}
"""The cascade's model cannot rank answers by likelihood."""
ABOUT = {
    "tiny": "`alm eval run --model tiny`, with evidence, as it ships",
    "no adapter": "the same with `--adapter none`: the parts that listen have random weights, evidence is told",
    "cascade": "`--cascade tiny`: SmolLM2-135M without any adapter reads tags with times and transcript",
}
ALM = (sys.executable, "-c", "from alm.cli import app_main; app_main()")
"""The command line of this environment, whatever is on the path."""
Summary = Mapping[str, Any]


def alm(*arguments: str | Path) -> None:
    """Run the command line; its progress goes on to the terminal."""
    done = subprocess.run([*ALM, *map(str, arguments)], stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 1):  # 1: some questions failed, and the report says which
        raise SystemExit(done.returncode)


def answered(bench: Path, out: Path, *options: str | Path) -> None:
    """Ask the default preset a prepared set, into a folder that then has a summary."""
    alm("eval", "run", "--bench", bench, "--out", out, "--model", "tiny", *options)
    if not (out / "summary.json").is_file():
        raise SystemExit(f"{out}: no summary was written; see the message above")


def made(corpus: Path, out: Path) -> dict[str, Path]:
    """Folders of the prepared sets, generated where they are not there."""
    for items in sorted(set(SETS.values())):
        if not (out / f"{items}" / "alm-corpus" / "caption" / "bench.json").is_file():
            alm("eval", "make", "corpus", "--corpus", corpus, "--out", out / f"{items}", "--items", str(items))
    return {name: out / f"{items}" / "alm-corpus" / name for name, items in SETS.items()}


def headline(summary: Summary, condition: str) -> Mapping[str, Any] | None:
    """The measure that a set is known by, under one condition."""
    kinds = summary["conditions"].get(condition, {"kinds": {}})["kinds"].values()
    measures = [m for own in kinds for m in own["measures"]]
    for key in ("robust", "loglik_byte", "loglik"):
        if found := [m for m in measures if m["key"] == key]:
            return dict(found[0])
    return None


def simple(summary: Summary, name: str) -> str:
    """A baseline that needs no model, or chance."""
    if name == "chance":
        kinds = summary["conditions"]["heard"]["kinds"].values()
        found = [m for own in kinds for m in own["measures"] if m["key"] == "chance"]
    else:
        own = [b.get(name, []) for b in summary["baselines"].values()]
        found = [m for measures in own for m in measures if m["key"] in BOTH][-1:]
    return shown(found[0]["value"], found[0]["unit"]) if found and found[0]["value"] is not None else ""


def page(found: Mapping[str, Mapping[str, Summary]], command: str) -> str:
    """The overview."""
    head = (
        "set", "questions", "measure",
        "tiny", "shuffled", "text-only", "no adapter", "cascade", "first", "echo", "chance",
    )  # fmt: skip
    rows = []
    for name, models in found.items():
        tiny = models["tiny"]
        best = headline(tiny, "heard") or {"label": "", "better": 1}
        less = "" if best["better"] > 0 else " (less is better)"
        heard = [headline(tiny, condition) for condition in ("heard", "shuffled", "text-only")]
        others = [headline(models[m], "heard") if m in models else None for m in ("no adapter", "cascade")]
        rows.append([
            f"[{name}]({name}.md)", tiny["run"]["bench"]["items"], f"{best['label']}{less}",
            *map(cell, [*heard, *others]), *(simple(tiny, n) for n in ("first", "echo", "chance")),
        ])  # fmt: skip
    about = [f"- {name}: {text}" for name, text in ABOUT.items()]
    return "\n".join([
        "# The default preset, measured by its own harness",
        "",
        "The corpus's test split: recordings of packages that training never saw. In brackets 95 % intervals over",
        "source packages (over questions where there are too few). `shuffled`: each question with a recording of",
        "another package; `text-only`: without one; `first` and `echo` need no model. Each page tells official and",
        "robust rule, groups, confusions and how answers ended. `transcript` asks for the corpus's languages in turn,",
        "although the recogniser of `tiny` knows English only; its page tells them apart.",
        "",
        *markdown_table(head, rows),
        "",
        "![Every set, three models](plots/overview.png)",
        "",
        *about,
        "",
        "All figures, with those of groups, are in [figures.csv](figures.csv). Made by",
        *command_block(command),
    ])  # fmt: skip


def command_block(*commands: str) -> list[str]:
    """The end of a page: what made it."""
    return ["", "```", *commands, "```", ""]


def overview(found: Mapping[str, Mapping[str, Summary]], place: Path) -> None:
    """Bars of all sets that are measured in per cent, the more the better."""
    groups: dict[str, list[plots.Bar]] = {}
    for name, models in found.items():
        for model, summary in models.items():
            measure = headline(summary, "heard")
            if measure and measure["unit"] == "%" and measure["better"] > 0 and measure["value"] is not None:
                groups.setdefault(model, []).append((name, measure))
    plots.bars("Heard, robust rule", groups, place)


def written(runs: Path, docs: Path, command: str) -> list[Path]:
    """Write the pages out of the scored runs."""
    found: dict[str, dict[str, Summary]] = {}
    for name in SETS:
        for model in MODELS:
            if (runs / model / name / "summary.json").is_file():
                found.setdefault(name, {})[model] = read_summary(runs / model / name)
    found = {name: own for name, own in found.items() if "tiny" in own}
    shutil.rmtree(docs, ignore_errors=True)
    for name in found:
        own = runs / "tiny" / name
        shutil.copytree(own / "plots", docs / "plots" / name)
        text = (own / "report.md").read_text(encoding="utf-8").replace("](plots/", f"](plots/{name}/")
        (docs / f"{name}.md").write_text(text, encoding="utf-8")
    overview(found, docs / "plots" / "overview.png")
    (docs / "figures.csv").write_text(as_csv([s for own in found.values() for s in own.values()]), encoding="utf-8")
    (docs / "README.md").write_text(page(found, command), encoding="utf-8")
    return sorted(docs.rglob("*.*"))


def main(
    corpus: Annotated[Path, typer.Option(help="Folder that `python -m data_prep fetch` filled.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder of the questions and the runs.")] = Path("runs/harness"),
    docs: Annotated[Path, typer.Option(help="Folder of the pages; written anew.")] = Path("docs/tiny"),
    rows: Annotated[int, typer.Option(min=1, help="Answers that are written in step.")] = 64,
    only: Annotated[list[str] | None, typer.Option("--set", help="Only this set; may be repeated.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Ask nothing, only write the pages.")] = False,
) -> None:
    """Ask all models all sets, and write the pages."""
    wanted: Sequence[str] = only or tuple(SETS)
    folders = {} if report else made(corpus, out / "prepared")
    for name in () if report else wanted:
        for model, options in MODELS.items():
            if (model, name) not in WITHOUT:
                answered(folders[name], out / model / name, "--rows", str(rows), *options)
    for path in written(out, docs, "python -m bench.harness --corpus CORPUS"):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    typer.run(main)
