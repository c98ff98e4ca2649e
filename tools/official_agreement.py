"""`python -m tools.official_agreement mmau --checkout DIR`: a published scorer beside ours on the same invented rows.

`DIR` is a checkout of the benchmark's own repository, whose code is run. `all --checkout DIR` takes a folder with the
checkouts under their own names and prints the table of `docs/official-scorers.md`.
"""

from __future__ import annotations

from pathlib import Path

import typer

from alm.errors import AlmError, ConfigError
from tools.agreement_checks import CHECKS
from tools.agreement_common import Agreement
from tools.agreement_official import commit_of

FOLDERS = {
    "mmau": "Sakshi113/MMAU",
    "mmar": "ddlBoJack/MMAR",
    "mmau-pro": "sonalkum/MMAUPro",
    "air": "OFA-Sys/AIR-Bench",
    "helm": "stanford-crfm/helm",
    "blab": "orevaahia/brutally_long_audio_bench",
    "ltu": "YuanGongND/ltu",
    "clotho-aqa": "partha2409/AquaNet",
    "compa": "Sreyan88/CompA",
    "slue": "asappresearch/slue-toolkit",
    "teleantifraud": "JimmyMa99/TeleAntiFraud",
    "seld-2019": "sharathadavanne/seld-dcase2019",
    "seld-2020": "sharathadavanne/seld-dcase2020",
}
"""Where on GitHub each scorer is."""
HEADER = ("rule", "repository", "commit", "rows", "same", "published", "ours", "note")
ROWS = 2000

app = typer.Typer(add_completion=False)


@app.command()
def main(
    name: str = typer.Argument(help=f"all, {', '.join(CHECKS)}"),
    checkout: Path = typer.Option(help="checkout of the repository; for `all` a folder with all of them"),
    rows: int = typer.Option(ROWS, min=500, help="invented rows"),
) -> None:
    """Compare and print a Markdown table; exit code 1 where a row differs."""
    if name not in ("all", *CHECKS):
        raise ConfigError(f"no comparison {name!r}; there are all, {', '.join(CHECKS)}")
    lines = []
    for one in CHECKS if name == "all" else [name]:
        folder = checkout / FOLDERS[one].split("/")[1] if name == "all" else checkout
        lines += [(one, commit_of(folder), found) for found in CHECKS[one](folder, rows)]
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    for one, commit, found in lines:
        print(_line(one, commit, found))
    raise typer.Exit(int(any(found.same < found.rows for _, _, found in lines)))


def _line(one: str, commit: str, found: Agreement) -> str:
    figures = f"{found.rows} | {found.same} | {found.official:.2f} | {found.ours:.2f}"
    return f"| {found.what} | {FOLDERS[one]} | {commit} | {figures} | {found.note} |"


if __name__ == "__main__":
    try:
        app(standalone_mode=True)
    except AlmError as error:
        print(error)
        raise SystemExit(2) from None
