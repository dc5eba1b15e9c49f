"""Repositories and servers that want to fill a disk, a memory or an hour."""

import hashlib
import os
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

from tests.service.git.raw_repository import Objects, Raw, entry, line, packed, varint
from tests.service.hostile.corpus import (
    DAMAGED,
    FILE,
    FOLDER,
    LARGE,
    READ,
    UNREADABLE,
    Traps,
    files,
    hostile,
    served,
    with_entries,
)

MANY_REFS = int(os.environ.get("HOSTILE_REFS", "20000"))
"""A million at full size."""


@hostile(READ)
def a_bomb_of_folders(objects: Objects, traps: Traps) -> Raw:
    del traps
    inner = objects.tree([(FILE, b"f", objects.blob(b"x"))])
    for _ in range(10):
        inner = objects.tree([(FOLDER, f"d{number}".encode(), inner) for number in range(10)])
    return with_entries(objects, (FOLDER, b"d", inner))


@hostile(READ)
def folders_without_end(objects: Objects, traps: Traps) -> Raw:
    del traps
    inner = objects.tree([(FILE, b"f", objects.blob(b"x"))])
    for _ in range(3000):
        inner = objects.tree([(FOLDER, b"d", inner)])
    return with_entries(objects, (FOLDER, b"d", inner))


@hostile(READ)
def tens_of_thousands_of_files(objects: Objects, traps: Traps) -> Raw:
    del traps
    blob = objects.blob(b"")
    return with_entries(objects, *((FILE, f"f{number:06}.ipynb".encode(), blob) for number in range(30_000)))


def zeros(size: int) -> bytes:
    """Return SIZE zeros as an object's compressed content."""
    packing = zlib.compressobj(9)
    block = b"\0" * 1_000_000
    return b"".join(packing.compress(block) for _ in range(size // len(block))) + packing.flush()


def name_of_zeros(size: int) -> str:
    digest = hashlib.sha1(f"blob {size}\0".encode())
    for _ in range(size // 1_000_000):
        digest.update(b"\0" * 1_000_000)
    return digest.hexdigest()


@hostile(UNREADABLE)
def a_manifest_of_very_many_zeros(objects: Objects, traps: Traps) -> Raw:
    del traps
    size = 30_000_000
    objects.packed.append(entry(3, size, zeros(size)))
    return served(objects, objects.commit(objects.tree([(FILE, b"manifest.scm", name_of_zeros(size))])))


@hostile(DAMAGED)
def an_object_larger_than_it_says(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    objects.packed.append(entry(3, 10, zeros(30_000_000)))
    return Raw(raw.commit, objects.pack)


@hostile(LARGE)
def an_object_that_says_it_is_huge(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    objects.packed.append(entry(2, 1 << 44, zlib.compress(b"x")))
    return Raw(raw.commit, objects.pack)


@hostile(LARGE)
def a_bomb_of_differences(objects: Objects, traps: Traps) -> Raw:
    """Sixteen megabytes, and a difference of some kilobytes that makes eight gigabytes of them."""
    del traps
    raw = files(objects, {})
    size, times = 16_000_000, 512
    base = entry(3, size, zeros(size))
    copy = bytes([0x80 | 0x70]) + size.to_bytes(3, "little")
    difference = varint(size) + varint(size * times) + copy * times
    change = entry(7, len(difference), bytes.fromhex(name_of_zeros(size)) + zlib.compress(difference))
    return Raw(raw.commit, packed([*objects.packed, base, change]))


@hostile(LARGE)
def a_pack_without_end(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    head = packed(objects.packed, number=1 << 24)[:-20]

    def more() -> Iterator[bytes]:
        yield head
        while True:
            yield b"".join(entry(3, 65536, zlib.compress(os.urandom(65536), 0)) for _ in range(16))

    return Raw(raw.commit, more())


@hostile(LARGE)
def a_pack_that_says_it_has_a_hundred_million_objects(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    return Raw(raw.commit, packed(objects.packed, number=100_000_000))


@hostile(DAMAGED)
def a_pack_that_says_it_has_four_thousand_million_objects(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    return Raw(raw.commit, packed(objects.packed, number=0xFFFFFFFF))


@hostile(READ if MANY_REFS <= 100_000 else LARGE)
def very_many_branches(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    raw.refs = [*((f"refs/heads/b{number:07}", raw.commit) for number in range(MANY_REFS)), ("refs/heads/main", raw.commit)]
    return raw


def advertising_without_end(raw: Raw, first: bytes, block: bytes, **headers: str) -> Raw:
    """Return RAW with a listing of its branches that begins with FIRST and then is BLOCK, again and again."""

    def advertise(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        try:
            handler.wfile.write(first)
            while True:
                handler.wfile.write(block)
        except OSError:
            return True

    raw.advertised = advertise
    return raw


@hostile(LARGE)
def branches_without_end(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    block = line(f"{raw.commit} refs/heads/{'b' * 200}\n") * 1000
    return advertising_without_end(raw, line("# service=git-upload-pack\n") + b"0000", block)


@hostile(LARGE)
def a_listing_that_unpacks_to_gigabytes(objects: Objects, traps: Traps) -> Raw:
    del traps
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packing.compress(b"0" * 10_000_000) + packing.flush(zlib.Z_FULL_FLUSH)
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return advertising_without_end(files(objects, {}), head, block, Content_Encoding="gzip")
