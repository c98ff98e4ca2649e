"""What the structure tests measure in the syntax tree: imports, function lengths, forbidden things."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("alm", "data_prep", "training", "serve", "eval")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "alm": ("alm",),
    "data_prep": ("alm", "data_prep"),
    "training": ("alm", "training", "data_prep.records", "data_prep.shards"),
    "serve": ("alm", "serve"),
    "eval": ("alm", "eval", "serve.engines"),
}
"""Prefixes of the project's own modules that each room may import."""

FORBIDDEN = {
    "torchaudio": "no CPU build matches; use soundfile, soxr and av",
    "torchvision": "no CPU build matches",
    "torchcodec": "no CPU build matches; use av",
    "librosa": "use soundfile, soxr and numpy",
    "pickle": "weights are safetensors, records are JSON",
    "dill": "weights are safetensors, records are JSON",
    "joblib": "weights are safetensors, records are JSON",
}


@dataclass(frozen=True)
class Import:
    """One import statement, or one `import_module("...")` with a literal name."""

    path: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def sources(*folders: str) -> list[Path]:
    """Python files of these folders, sorted."""
    return sorted(
        p for folder in folders for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts
    )


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _base(path: str, level: int) -> str:
    """The package that a relative import of `level` dots starts from."""
    package = list(Path(path).parent.parts)
    return ".".join(package[: len(package) - level + 1])


def imports(text: str, path: str) -> Iterator[Import]:
    """Every module that the source names, absolute; `from a import b` yields `a` and `a.b`."""
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node.level) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (Import(path, node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and (name := _named_by_string(node)):
            yield Import(path, node.lineno, name)


def _named_by_string(node: ast.Call) -> str:
    """The literal module name that a call of import_module and its kin is given, or nothing."""
    called = ast.unparse(node.func).rsplit(".", 1)[-1]
    if called not in ("import_module", "__import__", "find_spec", "run_module") or not node.args:
        return ""
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _under(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def breaches(text: str, path: str) -> list[str]:
    """Imports of a room's file that go against the direction of the house."""
    room = Path(path).parts[0]
    return [
        str(found)
        for found in imports(text, path)
        if found.module.split(".")[0] in (*ROOMS, "tests", "tools")
        and not _under(found.module, MAY_IMPORT[room])
    ]


def forbidden(text: str, path: str) -> list[str]:
    """Imports of packages that the project does without, and torch.load without weights_only=True."""
    wrong = [
        f"{found} ({FORBIDDEN[top]})"
        for found in imports(text, path)
        if (top := found.module.split(".")[0]) in FORBIDDEN
    ]
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = any(
                k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
                for k in node.keywords
            )
            if not safe:
                wrong.append(f"{path}:{node.lineno} calls torch.load without weights_only=True")
    return wrong


@dataclass(frozen=True)
class Function:
    """A function or method with its length in lines, signature to last line."""

    path: str
    name: str
    lines: int

    def __str__(self) -> str:
        return f"{self.path}:{self.name} has {self.lines} lines"


def functions(text: str, path: str) -> list[Function]:
    """All functions of a source, nested ones too."""
    return [
        Function(path, node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text, path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def tracked() -> list[Path]:
    """Files of the repository: from git where there is one, else every file outside caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [
            p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
        ]
    return sorted(p for p in found if p.is_file())


def text_of(path: Path) -> str | None:
    """The file's text, or nothing for binary files."""
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


# Written so that this file does not contain what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.$}>)])/(?:work|root|home|Users|mnt|data\d*)/(?!you\b|user\b|me\b)[\w.]")
REGISTRY_HOST = re.compile(
    "|".join(
        a + re.escape(".") + b
        for a, b in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            (r"download\.pytorch", "org"),
            (r"registry\.npmjs", "org"),
            ("deb\\.debian", "org"),
            (r"snapshot\.debian", "org"),
            (r"archive\.ubuntu", "com"),
        )
    )
)
