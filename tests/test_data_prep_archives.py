"""Readers of packages and game containers: what they give, and that hostile ones are refused in bounds."""

from __future__ import annotations

import contextlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import deb
from data_prep.archives import READERS, read_archive
from data_prep.binary import ArchiveLimits
from data_prep.errors import ArchiveError


def make_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as container:
        for name, data in files.items():
            container.writestr(name, data)
    return out.getvalue()


def make_cat(files: dict[str, bytes]) -> bytes:
    table, body = b"", b""
    base = 8 * len(files)
    for name, data in files.items():
        title = name.encode() + b"\0"
        table += struct.pack("<II", base + len(body), len(data))
        body += bytes([len(title)]) + title + data
    return table + body


def make_c4_folder(files: dict[str, bytes | dict[str, bytes]]) -> bytes:
    header = bytearray(204)
    header[:24] = b"RedWolf Design GrpFolder"
    struct.pack_into("<i", header, 36, len(files))
    for start in range(0, 202, 3):
        header[start], header[start + 2] = header[start + 2], header[start]
    entries, body = b"", b""
    for name, data in files.items():
        blob = make_c4_folder(dict(data)) if isinstance(data, dict) else data
        entry = bytearray(316)
        entry[: len(name)] = name.encode()
        struct.pack_into("<5i", entry, 260, 1, int(isinstance(data, dict)), len(blob), 0, len(body))
        entries += bytes(entry)
        body += blob
    return bytes(byte ^ 237 for byte in header) + entries + body


def make_ocg(files: dict[str, bytes | dict[str, bytes]]) -> bytes:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(make_c4_folder(files)) + packer.flush()
    return b"\x1e\x8c" + packed[2:]


def make_rcc(files: dict[str, bytes], compressed: bool = False) -> bytes:
    names, data = b"", b""
    nodes = struct.pack(">IHII", 0, 2, len(files), 1)
    for name, blob in files.items():
        text = name.encode("utf-16-be")
        stored = struct.pack(">I", len(blob)) + zlib.compress(blob) if compressed else blob
        nodes += struct.pack(">IHHHI", len(names), int(compressed), 0, 0, len(data))
        names += struct.pack(">HI", len(name), 0) + text
        data += struct.pack(">I", len(stored)) + stored
    tree = 20
    return (
        b"qres" + struct.pack(">4I", 1, tree, tree + len(nodes), tree + len(nodes) + len(data)) + nodes + data + names
    )


def make_wad(files: dict[str, bytes]) -> bytes:
    body, directory = b"", b""
    for name, data in files.items():
        directory += struct.pack("<ii8s", 12 + len(body), len(data), name.encode())
        body += data
    return struct.pack("<4sii", b"IWAD", len(files), 12 + len(body)) + body + directory


def dmx(samples: bytes, rate: int = 11025) -> bytes:
    return struct.pack("<HHI", 3, rate, len(samples) + 32) + b"\x80" * 16 + samples + b"\x80" * 16


FILES = {"one.wav": b"RIFF" + b"a" * 60, "two.ogg": b"OggS" + b"b" * 60}
CONTAINERS: dict[str, bytes] = {
    "x.pk3": make_zip(FILES),
    "x.cat": make_cat(FILES),
    "x.ocg": make_ocg({"Sub.ocg": FILES, "three.wav": b"RIFF" + b"c" * 60}),
    "x.rcc": make_rcc(FILES, compressed=True),
    "x.wad": make_wad({"DSONE": b"RIFF" + b"a" * 60, "DSTWO": dmx(b"\x90" * 50), "MAP01": b"-" * 80}),
}


def members(name: str, data: bytes, limits: ArchiveLimits | None = None) -> dict[str, bytes]:
    return {member.path: member.data for member in read_archive(data, name, limits)}


def test_every_container_gives_its_files() -> None:
    assert members("x.pk3", CONTAINERS["x.pk3"]) == FILES
    assert list(members("x.cat", CONTAINERS["x.cat"])) == ["00.wav", "01.wav"]
    assert members("x.cat", CONTAINERS["x.cat"])["01.wav"] == FILES["two.ogg"]
    clonk = members("x.ocg", CONTAINERS["x.ocg"])
    assert clonk["Sub.ocg/two.ogg"] == FILES["two.ogg"] and "three.wav" in clonk
    assert members("x.rcc", CONTAINERS["x.rcc"]) == FILES
    assert members("x.rcc", make_rcc(FILES)) == FILES
    doom = members("x.wad", CONTAINERS["x.wad"])
    assert set(doom) == {"DSONE", "DSTWO.wav"}
    assert doom["DSTWO.wav"].startswith(b"RIFF") and doom["DSTWO.wav"].endswith(b"\x90" * 50)


def test_doom_sound_is_a_wav_of_the_stated_rate() -> None:
    import soundfile

    blob = members("x.wad", CONTAINERS["x.wad"])["DSTWO.wav"]
    samples, rate = soundfile.read(io.BytesIO(blob))
    assert rate == 11025 and len(samples) == 50


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_limits_hold(name: str) -> None:
    for limits in (
        ArchiveLimits(max_members=0),
        ArchiveLimits(max_member_bytes=3),
        ArchiveLimits(max_total_bytes=20),
        ArchiveLimits(max_members=1),
    ):
        with pytest.raises(ArchiveError):
            members(name, CONTAINERS[name], limits)
    assert members(name, CONTAINERS[name], ArchiveLimits(max_members=10)), "the control: generous limits pass"


@cache
def hostile() -> dict[str, tuple[str, bytes]]:
    bomb = zlib.compressobj(9, wbits=31)
    zeros = bomb.compress(bytes(64 * 2**20)) + bomb.flush()
    cycle = b"qres" + struct.pack(">4I", 1, 20, 60, 60) + struct.pack(">IHII", 0, 2, 1, 1)
    cycle += struct.pack(">IHII", 0, 2, 1, 1) + bytes(30)
    deep: dict[str, bytes | dict[str, bytes]] = {"a.wav": b"x"}
    for _ in range(40):
        deep = {"s.ocg": deep}  # type: ignore[dict-item]
    return {
        "not a zip": ("x.pk3", b"PK\3\4 no"),
        "empty": ("x.cat", b""),
        "cat beyond its end": ("x.cat", struct.pack("<II", 8, 2**30)),
        "cat with a negative-looking offset": ("x.cat", struct.pack("<II", 0xFFFFFFF8, 5)),
        "cat claiming many": ("x.cat", struct.pack("<II", 0x7FFFFFF8, 5)),
        "clonk bomb": ("x.ocg", b"\x1e\x8c" + zeros[2:]),
        "clonk too deep": ("x.ocg", make_ocg(deep)),
        "clonk cut": ("x.ocg", CONTAINERS["x.ocg"][:-20]),
        "rcc cycle": ("x.rcc", cycle),
        "rcc beyond its end": ("x.rcc", b"qres" + struct.pack(">4I", 1, 2**31, 20, 20)),
        "wad beyond its end": ("x.wad", struct.pack("<4sii", b"IWAD", 5, 2**30)),
        "wad with a negative count": ("x.wad", struct.pack("<4sii", b"IWAD", -5, 12)),
        "unknown kind": ("x.rar", b"Rar!"),
    }


@pytest.mark.parametrize("case", sorted(hostile()))
def test_hostile_containers_are_refused(case: str) -> None:
    name, data = hostile()[case]
    with pytest.raises(ArchiveError) as caught:
        members(name, data, ArchiveLimits(max_total_bytes=16 * 2**20))
    assert name in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(READERS)), data=st.binary(max_size=400), cut=st.integers(0, 400))
def test_any_bytes_give_members_or_a_typed_error(kind: str, data: bytes, cut: int) -> None:
    valid = next((blob for name, blob in CONTAINERS.items() if name.endswith(kind)), b"")
    for blob in (data, valid[:cut], valid[:cut] + data, data + valid[cut:]):
        with contextlib.suppress(ArchiveError):
            members(f"x{kind}", blob, ArchiveLimits(max_total_bytes=2**20, max_members=1000))


# --- Debian packages -------------------------------------------------------------------------------------------------


def make_tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo("./" + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo("./" + name)
            info.type, info.linkname = tarfile.LNKTYPE, "./" + target
            tar.addfile(info)
    return out.getvalue()


def make_ar(parts: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in parts.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def make_deb(
    path: Path, files: dict[str, bytes], links: dict[str, str] | None = None, version: str = "1.0-1", kind: str = "xz"
) -> Path:
    pack: Callable[[bytes], bytes] = {"xz": lzma.compress, "gz": gzip_bytes}[kind]
    control = (
        f"Package: toy-sounds\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <a@b.c>\nDescription: x\n"
    )
    parts = {
        "debian-binary": b"2.0\n",
        f"control.tar.{kind}": pack(make_tar({"control": control.encode()})),
        f"data.tar.{kind}": pack(make_tar(files, links)),
    }
    path.write_bytes(make_ar(parts))
    return path


def gzip_bytes(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data)


@pytest.mark.parametrize("kind", ["xz", "gz"])
@pytest.mark.parametrize("use_dpkg", [False, True])
def test_deb_files_and_hard_links(tmp_path: Path, kind: str, use_dpkg: bool) -> None:
    package = make_deb(tmp_path / "toy-sounds_1.0-1_all.deb", FILES, {"copy.wav": "one.wav"}, kind=kind)
    found = dict(deb.read_files(package, {"one.wav", "copy.wav", "none.wav"}, use_dpkg=use_dpkg))
    assert found == {"one.wav": FILES["one.wav"], "copy.wav": FILES["one.wav"]}
    assert deb.identity(package) == deb.DebIdentity("toy-sounds", "1.0-1")


@pytest.mark.parametrize("use_dpkg", [False, True])
def test_cut_deb_is_a_typed_error(tmp_path: Path, use_dpkg: bool) -> None:
    big = {f"{number}.wav": bytes([number]) * 50_000 for number in range(20)}
    package = make_deb(tmp_path / "toy-sounds_1.0-1_all.deb", big)
    whole = package.read_bytes()
    for keep in (0, 7, 50, 200, len(whole) // 2, len(whole) - 40):
        package.write_bytes(whole[:keep])
        with pytest.raises(ArchiveError):
            list(deb.read_files(package, set(big), use_dpkg=use_dpkg))


def test_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    package = make_deb(tmp_path / "toy-sounds_1.0-1_all.deb", {"big.wav": bytes(5000)})
    with pytest.raises(ArchiveError, match="5000"):
        list(deb.read_files(package, {"big.wav"}, ArchiveLimits(max_member_bytes=4999)))
    assert list(deb.read_files(package, {"big.wav"}, ArchiveLimits(max_member_bytes=5000)))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), place=st.integers(0, 900))
def test_damaged_deb_gives_files_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, place: int
) -> None:
    package = make_deb(tmp_path_factory.mktemp("deb") / "toy-sounds_1.0-1_all.deb", FILES, kind="gz")
    whole = package.read_bytes()
    package.write_bytes(whole[:place] + data + whole[place + len(data) :])
    for action in (lambda: list(deb.read_files(package, set(FILES), use_dpkg=False)), lambda: [deb.identity(package)]):
        with contextlib.suppress(ArchiveError):
            action()
