"""Pages of the encoders in docs/encoders, out of the registry: `python -m tools.encoder_pages [--write]`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alm.encoders.listing import all_described

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "encoders.md"
BEGIN, END = "<!-- encoders: begin -->\n", "<!-- encoders: end -->\n"


def pages(found: list[dict[str, Any]], current: str) -> dict[Path, str]:
    """Every page with its text: the table in docs/encoders.md, and one page for each family."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    each = {DOCS / "encoders" / f"{family['family']}.md": page(family) for family in found}
    return {PAGE: f"{before}{BEGIN}{table(found)}{END}{after}", **each}


def table(found: list[dict[str, Any]]) -> str:
    """One line a family, figures of its first size."""
    lines = ["| family | front end | features a second x dim | layers | weights | good at |", "|---" * 6 + "|"]
    for family in found:
        size = family["sizes"][0]
        cells = (
            f"[`{family['family']}`](encoders/{family['family']}.md) {family['title']}",
            f"{size['front_end']['name']}, {size['front_end']['sample_rate'] / 1000:g} kHz",
            f"{size['features_per_second']:.4g} x {size['dim']} (`{size['name']}`)",
            f"0 to {size['layers']}",
            family["licence_weights"],
            family["good_at"],
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def page(family: Mapping[str, Any]) -> str:
    """All that the registry knows of one family."""
    hub = ", ".join(f"`{name}`" for name in family["hub"]) or "none in a container that is read here"
    rows = {
        "paper": family["paper"],
        "home": family["home"],
        "weights on the hub": hub,
        "licence of the code": family["licence_code"],
        "licence of the weights": family["licence_weights"],
        "good at": family["good_at"],
        "compared with": family["proved_against"],
        "opened in tests": "; ".join(f"{kind} (`{test}`)" for kind, test in family["containers"]),
        "LoRA usually on": ", ".join(_either(name) for name in family["lora_targets"]) or "nothing, unless it is named",
    }
    facts = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    notes = f"\n{family['notes']}\n" if family["notes"] else ""
    return (
        f"# {family['title']} (`{family['family']}`)\n\n"
        "Written by `python -m tools.encoder_pages --write` out of the registry.\n\n"
        f"| | |\n|---|---|\n{facts}\n{notes}\n## Sizes\n\n{_sizes(family['sizes'])}"
        f"\n## Front end\n\n{_front_ends(family['sizes'])}"
    )


def _either(target: str) -> str:
    return " or ".join(f"`{name}`" for name in target.split("|"))


def _sizes(sizes: list[Mapping[str, Any]]) -> str:
    lines = ["| size | parameters | layers | features a second | dim | longest clip |", "|---" * 6 + "|"]
    for size in sizes:
        lines.append(
            f"| `{size['name']}` | {size['parameters'] / 1e6:.1f} M | 0 to {size['layers']} | "
            f"{size['features_per_second']:.4g} | {size['dim']} | {size['front_end']['max_seconds']:g} s |"
        )
    return "\n".join(lines) + "\n"


def _front_ends(sizes: list[Mapping[str, Any]]) -> str:
    """Each front end once, with the sizes that have it."""
    owners: dict[str, list[str]] = {}
    for size in sizes:
        owners.setdefault(_front_end(size["front_end"]), []).append(f"`{size['name']}`")
    if len(owners) == 1:
        return f"Of every size: {next(iter(owners))}.\n"
    return "".join(f"- {', '.join(names)}: {text}.\n" for text, names in owners.items())


def _front_end(values: Mapping[str, Any]) -> str:
    return ", ".join([f"`{values['name']}`", *(f"{key} {value}" for key, value in values.items() if key != "name")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the pages instead of printing the table")
    found = all_described()
    if not parser.parse_args().write:
        print(table(found), end="")
        return
    for path, text in pages(found, PAGE.read_text(encoding="utf-8")).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
