"""The reader of torch files, also of those that carry objects of other programs (fairseq, argparse, omegaconf).

It walks the opcodes of the pickle and never imports or calls anything that the file names: tensors are put together
here, tables stay tables, and any other object becomes an `Inert` record of its name, arguments and fields. torch's own
`weights_only` reader is not used: what it may call (`bytearray`, `torch.Tensor`) takes as much memory as the file says.
"""

from __future__ import annotations

import io
import mmap
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alm.errors import WeightsError

_MOST_PICKLE_BYTES = 64 * 2**20
"""Names, shapes and settings; the numbers of tensors lie outside the pickle."""
_MOST_STEPS = 2_000_000
"""Opcodes, and values that are copied by them: about 100 bytes of memory each."""
_STEPS_OF_A_TENSOR = 16
_MOST_NAME_CHARACTERS = 1000
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
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
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
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in _stored(path, archive)}
        pickles = [entry for name, entry in entries.items() if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _MOST_PICKLE_BYTES:
            raise WeightsError(f"a torch file has one data.pkl of at most {_MOST_PICKLE_BYTES >> 20} MiB")
        folder = pickles[0].filename.removesuffix("data.pkl")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        kept: dict[str, Tensor] = {}

        def fetch(storage: Storage) -> Tensor:
            if storage.key not in kept:
                kept[storage.key] = _mapped(content, entries[f"{folder}data/{storage.key}"], storage.dtype)
            return kept[storage.key]

        return _Walk(io.BytesIO(archive.read(pickles[0])), fetch).value()


def _stored(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """torch compresses nothing: a compressed entry could unfold to any size."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError("entries of it are compressed or overlap, which torch never writes")
    return entries


def _mapped(content: mmap.mmap, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
    """The numbers of an entry, read from the disk when they are used."""
    head = content[entry.header_offset : entry.header_offset + 30]
    lengths = (int.from_bytes(head[place : place + 2], "little") for place in (26, 28))
    first = entry.header_offset + 30 + sum(lengths)
    if not entry.file_size:
        return torch.empty(0, dtype=dtype)
    if first % dtype.itemsize:  # torch puts them in line; other writers may not
        return torch.frombuffer(bytearray(content[first : first + entry.file_size]), dtype=dtype)
    return torch.frombuffer(content, dtype=dtype, count=entry.file_size // dtype.itemsize, offset=first)


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
    if len(data) != size or count != storage.count:
        raise WeightsError(f"storage {storage.key} is cut off")
    return torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)


class _Walk:
    """One pickle, opcode by opcode, on a stack of plain values."""

    def __init__(self, stream: Any, fetch: Fetch) -> None:
        self.stream: Any = _Counted(stream)
        self.fetch, self.left = fetch, _MOST_STEPS
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def value(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self.stream):
            self._spend(1)
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise WeightsError("it is cut off")

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise WeightsError(f"more than {_MOST_STEPS} steps, which no checkpoint needs")

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
        if not isinstance(name, str) or not isinstance(module, str) or len(name + module) > _MOST_NAME_CHARACTERS:
            raise WeightsError(f"a name in it is no text of at most {_MOST_NAME_CHARACTERS} characters")
        self.stack.append(Named(f"{module}.{name}"))

    def _inst(self, text: str) -> None:
        self.stack.append(Inert(text.replace(" ", "."), tuple(self._marked())))

    def _obj(self, _: Any) -> None:
        kind, *arguments = self._marked()
        self.stack.append(Inert(_name(kind), tuple(arguments)))

    def _newobj(self, _: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.stack.append(Inert(_name(kind), _checked(arguments)))

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._newobj(None)

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        name = _name(function)
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            self.stack.append(self._tensor(*_checked(arguments)[:4]))
        elif name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            self.stack.append(arguments[0])
        elif name in ("collections.OrderedDict", "collections.defaultdict", "builtins.dict"):
            self.stack.append({})
        else:
            self.stack.append(Inert(name, _checked(arguments)))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                if isinstance(part, Mapping):
                    self._spend(len(part))
                    self.stack[-1].state.update(part)

    def _binpersid(self, _: Any) -> None:
        kind, name, key, _location, count = _checked(self.stack.pop())[:5]
        short = _name(name).rsplit(".", 1)[-1]
        if kind != "storage" or short not in _DTYPES:
            raise WeightsError(f"a storage of kind {short} is not one that weights have")
        if not isinstance(key, str) or not isinstance(count, int):
            raise WeightsError("a storage has no name or no length")
        self.stack.append(Storage(_DTYPES[short], key, count))

    def _tensor(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        self._spend(_STEPS_OF_A_TENSOR)
        numbers = self.fetch(storage)
        if torch.Size(shape).numel() > numbers.numel():
            raise WeightsError(f"a tensor of shape {tuple(shape)} claims more than its storage holds")
        return torch.as_strided(numbers, shape, stride, offset)


class _Counted:
    """A stream that gives at most as many bytes as a pickle may have, and is asked for no more at once."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.left = stream, _MOST_PICKLE_BYTES

    def read(self, count: int) -> bytes:
        self._count(count)
        found: bytes = self.stream.read(count)
        return found

    def readline(self) -> bytes:
        found: bytes = self.stream.readline(self.left + 1)
        self._count(len(found))
        return found

    def _count(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise WeightsError(f"its pickle has more than {_MOST_PICKLE_BYTES >> 20} MiB, which no checkpoint needs")


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


def _checked(arguments: Any) -> tuple[Any, ...]:
    """Arguments are tuples; a list would be copied each time that it is named."""
    if not isinstance(arguments, tuple):
        raise WeightsError(f"arguments in it are a {type(arguments).__name__}, not a tuple")
    return arguments


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    """Keys that cannot be looked up (records, lists, endless numbers) are settings of nobody here and go."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {
        k: v for k, v in pairs if isinstance(k, str | float | bytes) or (isinstance(k, int) and k.bit_length() < 64)
    }


def _items(target: Any) -> list[Any]:
    """The list to append to; objects that are lists of their own kind drop their items."""
    return target if isinstance(target, list) else []


def _fields(target: Any) -> dict[Any, Any]:
    return target if isinstance(target, dict) else target.state if isinstance(target, Inert) else {}
