"""A reader of torch files that carry objects of other programs (fairseq, argparse, omegaconf).

It walks the opcodes of the pickle and never imports or calls anything that the file names: tensors are put together
here, tables stay tables, and any other object becomes an `Inert` record of its name, arguments and fields.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alm.errors import WeightsError

_MOST_PICKLE_BYTES = 256 * 2**20
_MOST_OPCODES = 20_000_000
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Named:
    """A class or function that the file names; it is never looked up."""

    name: str


@dataclass
class Inert:
    """An object of a class that is not known here."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """Where a tensor's numbers lie."""

    dtype: torch.dtype
    key: str
    count: int


Fetch = Callable[[Storage], Tensor]
"""From a storage to its numbers `[count]`."""
_MARK = object()


def read_inert(path: Path) -> Any:
    """The content of a torch file, with nothing in it run.

    Raises:
        WeightsError: not a torch file, damaged, or larger than the limits.
    """
    try:
        if zipfile.is_zipfile(path):
            return _zipped(path)
        return _legacy(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged file makes the walk stumble over
        raise WeightsError(f"{path}: it cannot be read as a torch checkpoint ({error!r})") from error


def _zipped(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _MOST_PICKLE_BYTES:
            raise WeightsError("a torch file has one data.pkl of at most 256 MiB")
        folder = pickles[0].filename.removesuffix("data.pkl")
        kept: dict[str, Tensor] = {}

        def fetch(storage: Storage) -> Tensor:
            if storage.key not in kept:
                data = bytearray(archive.read(f"{folder}data/{storage.key}"))
                kept[storage.key] = torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0)
            return kept[storage.key]

        return _Walk(io.BytesIO(archive.read(pickles[0])), fetch).value()


def _legacy(path: Path) -> Any:
    """Torch's format before 1.6: four pickles, the keys of the storages, then the storages."""
    with path.open("rb") as file:
        if _Walk(file, _nowhere).value() != _LEGACY_MAGIC:
            raise WeightsError("it is neither a zip nor a legacy torch file")
        for _ in range(2):  # protocol and sizes of the writing machine
            _Walk(file, _nowhere).value()
        # Storages follow the tensors that name them: a first walk learns their types, a second one fills them.
        start, types = file.tell(), dict[str, Storage]()
        _Walk(file, lambda storage: _noted(types, storage)).value()
        kept = {key: _numbers(file, types[key]) for key in _Walk(file, _nowhere).value() if key in types}
        file.seek(start)
        return _Walk(file, lambda storage: kept[storage.key]).value()


def _nowhere(storage: Storage) -> Tensor:
    raise WeightsError(f"storage {storage.key} is named where none belongs")


def _noted(types: dict[str, Storage], storage: Storage) -> Tensor:
    types[storage.key] = storage
    return torch.empty(storage.count, dtype=storage.dtype, device="meta")


def _numbers(file: Any, storage: Storage) -> Tensor:
    count = int.from_bytes(file.read(8), "little")
    size = count * storage.dtype.itemsize
    data = bytearray(file.read(size)) if count == storage.count else b""
    if len(data) != size or not size:
        raise WeightsError(f"storage {storage.key} is cut off")
    return torch.frombuffer(data, dtype=storage.dtype)


class _Walk:
    """One pickle, opcode by opcode, on a stack of plain values."""

    def __init__(self, stream: Any, fetch: Fetch) -> None:
        self.stream, self.fetch = stream, fetch
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def value(self) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.stream)):
            if count > _MOST_OPCODES:
                raise WeightsError(f"more than {_MOST_OPCODES} steps, which no checkpoint needs")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise WeightsError("it is cut off")

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _MAKERS:
            self.stack.append(_MAKERS[name]())
        elif handler := getattr(self, f"_{name.lower()}", None):
            handler(argument)
        else:
            raise WeightsError(f"the opcode {name} is not one that checkpoints use")

    def _marked(self) -> list[Any]:
        """What lies above the last mark, taken from the stack with it."""
        place = next(i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK)
        above = self.stack[place + 1 :]
        del self.stack[place:]
        return above

    # --- stack and memo ---

    def _proto(self, _: Any) -> None:
        """Protocols differ in opcodes only."""

    _frame = _proto

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _binget = _long_binget = _get

    # --- tables and lists ---

    def _append(self, _: Any) -> None:
        value = self.stack.pop()
        _items(self.stack[-1]).append(value)

    def _appends(self, _: Any) -> None:
        values = self._marked()
        _items(self.stack[-1]).extend(values)

    _additems = _appends

    def _list(self, _: Any) -> None:
        self.stack.append(self._marked())

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    _frozenset = _tuple

    def _tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _dict(self, _: Any) -> None:
        flat = self._marked()
        self.stack.append(_pairs(flat))

    def _setitem(self, _: Any) -> None:
        pair = [self.stack.pop(), self.stack.pop()][::-1]
        _fields(self.stack[-1]).update(_pairs(pair))

    def _setitems(self, _: Any) -> None:
        flat = self._marked()
        _fields(self.stack[-1]).update(_pairs(flat))

    # --- objects ---

    def _global(self, text: str) -> None:
        self.stack.append(Named(text.replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Named(f"{module}.{name}"))

    def _inst(self, text: str) -> None:
        self.stack.append(Inert(text.replace(" ", "."), tuple(self._marked())))

    def _obj(self, _: Any) -> None:
        kind, *arguments = self._marked()
        self.stack.append(Inert(_name(kind), tuple(arguments)))

    def _newobj(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.stack.append(Inert(_name(kind), tuple(arguments)))

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._newobj(None)

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        name = _name(function)
        if name == "torch._utils._rebuild_tensor_v2":
            self.stack.append(self._tensor(*arguments[:4]))
        elif name == "torch._utils._rebuild_parameter":
            self.stack.append(arguments[0])
        elif name in ("collections.OrderedDict", "collections.defaultdict", "builtins.dict"):
            self.stack.append({})
        else:
            self.stack.append(Inert(name, tuple(arguments)))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                self.stack[-1].state.update(part if isinstance(part, Mapping) else {})

    def _binpersid(self, _: Any) -> None:
        kind, name, key, _location, count, *_rest = self.stack.pop()
        short = _name(name).rsplit(".", 1)[-1]
        if kind != "storage" or short not in _DTYPES:
            raise WeightsError(f"a storage of kind {short} is not one that weights have")
        self.stack.append(Storage(_DTYPES[short], str(key), int(count)))

    def _tensor(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        numbers = self.fetch(storage)
        if torch.Size(shape).numel() > numbers.numel():
            raise WeightsError(f"a tensor of shape {tuple(shape)} claims more than its storage holds")
        return torch.as_strided(numbers, shape, stride, offset)



_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_MAKERS: Mapping[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}


def _name(kind: Any) -> str:
    return kind.name if isinstance(kind, Named) else "?"


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    """Keys that cannot be looked up (records, lists) are settings of nobody here and go."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {k: v for k, v in pairs if isinstance(k, str | int | float | bytes)}


def _items(target: Any) -> list[Any]:
    """The list to append to; objects that are lists of their own kind drop their items."""
    return target if isinstance(target, list) else []


def _fields(target: Any) -> dict[Any, Any]:
    return target if isinstance(target, dict) else target.state if isinstance(target, Inert) else {}
