"""Repositories that would do something, or that are made to break who reads them, each with what must become of it."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.service.raw_repository import CAPABILITIES, PERSON, Objects, Raw, entry, line, packed

MANIFEST = b'(specifications->manifest (list "sed"))\n'
FILE, PROGRAM, LINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
READ = "read"
"""It is read like any other, and what it tries is simply not done."""

DAMAGED = "repository-unavailable"
LARGE = "repository-too-large"
UNREADABLE = "manifest-unreadable"
ABSENT = "1234567890" * 4

MANY_REFS = int(os.environ.get("HOSTILE_REFS", "20000"))
"""A million at full size."""


@dataclass(frozen=True)
class Traps:
    """What must never be touched."""

    canary: Path
    """A file that commands in repositories would make."""
    secret: Path
    """A file of the machine that holds the word SECRET."""
    port: int
    """A port that nothing may connect to."""

    @property
    def command(self) -> str:
        return f"touch {self.canary}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


Build = Callable[[Objects, Traps], Raw]


@dataclass(frozen=True)
class Hostile:
    """One repository, and the code of what a person is told, or `READ`."""

    name: str
    outcome: str
    build: Build


CASES: list[Hostile] = []


def hostile(outcome: str) -> Callable[[Build], Build]:
    """Add the repository that the function builds to the corpus."""

    def add(build: Build) -> Build:
        CASES.append(Hostile(build.__name__, outcome, build))
        return build

    return add


def served(objects: Objects, commit: str) -> Raw:
    return Raw(commit, objects.pack)


def files(objects: Objects, contents: Mapping[bytes, bytes | tuple[str, bytes]]) -> Raw:
    """Return a repository with a good manifest and the files CONTENTS."""
    all_files = {b"manifest.scm": (FILE, MANIFEST)}
    all_files |= {name: body if isinstance(body, tuple) else (FILE, body) for name, body in contents.items()}
    return served(objects, objects.of_files(all_files))


def with_entries(objects: Objects, *entries: tuple[str, bytes, str], sort: bool = True) -> Raw:
    """Return a repository with a good manifest and the lines ENTRIES in its tree, however wrong."""
    manifest = (FILE, b"manifest.scm", objects.blob(MANIFEST))
    return served(objects, objects.commit(objects.tree([manifest, *entries], sort=sort)))


# What would be run


@hostile(READ)
def hooks(objects: Objects, traps: Traps) -> Raw:
    script = objects.blob(f"#!/bin/sh\n{traps.command}\n".encode())
    names = (
        b"post-checkout",
        b"post-merge",
        b"pre-auto-gc",
        b"reference-transaction",
        b"post-index-change",
        b"fsmonitor-watchman",
    )
    folder = objects.tree([(PROGRAM, name, script) for name in names])
    return with_entries(objects, (FOLDER, b"hooks", folder), (FOLDER, b".githooks", folder))


@hostile(READ)
def a_bare_repository_within(objects: Objects, traps: Traps) -> Raw:
    settings = f"[core]\n\tbare = true\n\tfsmonitor = {traps.command}\n\tsshCommand = {traps.command}\n"
    settings += f"\tpager = {traps.command}\n[alias]\n\tls-tree = !{traps.command}\n"
    empty = objects.tree([])
    inside = {b"HEAD": b"ref: refs/heads/main\n", b"config": settings.encode()}
    folders = ((FOLDER, b"objects", empty), (FOLDER, b"refs", empty))
    return with_entries(objects, *((FILE, name, objects.blob(body)) for name, body in inside.items()), *folders)


@hostile(READ)
def filters(objects: Objects, traps: Traps) -> Raw:
    attributes = b"* filter=canary diff=canary merge=canary textconv=canary\n*.ipynb filter=lfs\n"
    settings = f'[filter "canary"]\n\tsmudge = {traps.command}\n\tclean = {traps.command}\n\tprocess = {traps.command}\n'
    settings += f'\trequired = true\n[diff "canary"]\n\ttextconv = {traps.command}\n\tcommand = {traps.command}\n'
    return files(objects, {b".gitattributes": attributes, b".gitconfig": settings.encode(), b"a.ipynb": b"{}"})


@hostile(READ)
def attributes_of_archives(objects: Objects, traps: Traps) -> Raw:
    del traps
    return files(objects, {b".gitattributes": b"* export-subst ident working-tree-encoding=UTF-7 eol=crlf\n"})


@hostile(READ)
def large_file_storage(objects: Objects, traps: Traps) -> Raw:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    settings = f"[lfs]\n\turl = http://{traps.host}/lfs\n\tcustomtransfer.x.path = {traps.canary}\n"
    contents = {b".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", b".lfsconfig": settings.encode()}
    return files(objects, {**contents, b"data.bin": pointer})


@hostile(UNREADABLE)
def a_manifest_in_large_file_storage(objects: Objects, traps: Traps) -> Raw:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n".encode()
    settings = f"[lfs]\n\turl = http://{traps.host}/lfs\n".encode()
    return files(objects, {b"manifest.scm": pointer, b".gitattributes": b"* filter=lfs\n", b".lfsconfig": settings})


@hostile(UNREADABLE)
def a_manifest_that_runs_something(objects: Objects, traps: Traps) -> Raw:
    return files(objects, {b"manifest.scm": f'(system "{traps.command}")'.encode()})


# Submodules


def modules(objects: Objects, text: str) -> Raw:
    """Return a repository whose submodules are those of TEXT, with a submodule at ``x``."""
    wanted = (SUBMODULE, b"x", ABSENT)
    return with_entries(objects, (FILE, b".gitmodules", objects.blob(text.encode())), wanted)


@hostile(READ)
def a_submodule_elsewhere(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = http://{traps.host}/x.git\n')


@hostile(READ)
def a_submodule_by_a_command(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = "ext::sh -c \\"{traps.command}\\""\n')


@hostile(READ)
def a_submodule_of_the_machine(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = file://{traps.secret.parent}\n')


@hostile(DAMAGED)
def a_submodule_with_an_option_for_an_address(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = "--upload-pack={traps.command}"\n')


@hostile(DAMAGED)
def a_submodule_with_an_option_for_a_folder(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = -oProxyCommand={traps.canary}\n\turl = http://{traps.host}/x\n')


@hostile(DAMAGED)
def a_submodule_named_out_of_the_folder(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "../../hooks"]\n\tpath = x\n\turl = http://{traps.host}/x\n')


@hostile(DAMAGED)
def a_submodule_updated_by_a_command(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = http://{traps.host}/x\n\tupdate = !{traps.command}\n')


@hostile(READ)
def a_submodule_with_a_carriage_return(objects: Objects, traps: Traps) -> Raw:
    # CVE-2025-48384: the folder that is written and the one that is read differ.
    return modules(objects, f'[submodule "x"]\n\tpath = "x\r"\n\turl = http://{traps.host}/x\n')


@hostile(DAMAGED)
def a_submodule_with_a_line_in_its_address(objects: Objects, traps: Traps) -> Raw:
    return modules(objects, f'[submodule "x"]\n\tpath = x\n\turl = "https://forge.example\\nhost={traps.host}/x"\n')


@hostile(DAMAGED)
def submodules_by_a_link(objects: Objects, traps: Traps) -> Raw:
    return with_entries(objects, (LINK, b".gitmodules", objects.blob(str(traps.secret).encode())))


@hostile("manifest-missing")
def a_manifest_that_is_a_submodule(objects: Objects, traps: Traps) -> Raw:
    text = f'[submodule "m"]\n\tpath = manifest.scm\n\turl = http://{traps.host}/x\n'.encode()
    tree = objects.tree([(FILE, b".gitmodules", objects.blob(text)), (SUBMODULE, b"manifest.scm", ABSENT)])
    return served(objects, objects.commit(tree))


# Links


@hostile(UNREADABLE)
def a_manifest_that_links_out(objects: Objects, traps: Traps) -> Raw:
    return files(objects, {b"manifest.scm": (LINK, str(traps.secret).encode())})


@hostile(UNREADABLE)
def a_manifest_that_links_upwards(objects: Objects, traps: Traps) -> Raw:
    return files(objects, {b"manifest.scm": (LINK, b"../" * 40 + str(traps.secret)[1:].encode())})


@hostile(UNREADABLE)
def a_manifest_that_links_to_itself(objects: Objects, traps: Traps) -> Raw:
    del traps
    return files(objects, {b"manifest.scm": (LINK, b"manifest.scm")})


@hostile("manifest-missing")
def a_folder_that_links_out(objects: Objects, traps: Traps) -> Raw:
    (traps.secret.parent / "manifest.scm").write_bytes(MANIFEST)
    link = objects.blob(str(traps.secret.parent).encode())
    return served(objects, objects.commit(objects.tree([(LINK, b".guix", link), (LINK, b"guix", link)])))


@hostile(UNREADABLE)
def a_manifest_that_loads_a_link(objects: Objects, traps: Traps) -> Raw:
    return files(objects, {b"manifest.scm": b'(load "a.scm")', b"a.scm": (LINK, str(traps.secret).encode())})


@hostile(UNREADABLE)
def a_manifest_that_loads_a_file_of_the_machine(objects: Objects, traps: Traps) -> Raw:
    return files(objects, {b"manifest.scm": f'(load "{traps.secret}")'.encode()})


@hostile(UNREADABLE)
def a_manifest_that_loads_from_above(objects: Objects, traps: Traps) -> Raw:
    up = "../" * 40 + str(traps.secret)[1:]
    return files(objects, {b"manifest.scm": f'(load "{up}")'.encode()})


@hostile(READ)
def links_for_everything_else(objects: Objects, traps: Traps) -> Raw:
    link = (LINK, str(traps.secret).encode())
    return files(objects, {b".mailmap": link, b"index.ipynb": link, b"channels.scm": link, b".gitignore": link})


# Names


def odd(name: bytes, outcome: str, mode: str = FOLDER) -> None:
    """Add a repository that has a folder or a file called NAME."""

    def build(objects: Objects, traps: Traps) -> Raw:
        hook = objects.blob(f"#!/bin/sh\n{traps.command}\n".encode())
        of = objects.tree([(PROGRAM, b"config", hook)]) if mode == FOLDER else hook
        return with_entries(objects, (mode, name, of))

    CASES.append(Hostile(f"the name {name!r:.40}", outcome, build))


for _name in (b".git", b".GIT", b".gIt", b"git~1", b"GIT~1", b".git ", b".git.", b".git...", b".git::$INDEX_ALLOCATION"):
    odd(_name, DAMAGED)
odd(".g\u200cit".encode(), DAMAGED)
odd("\ufeff.git".encode(), DAMAGED)
for _name in (b".", b"..", b"", b"a/b", b"../../hooks", b"/etc"):
    odd(_name, DAMAGED)
for _name in (
    b"-rf",
    b"--upload-pack=id",
    b"-oProxyCommand=id",
    b"a\nb",
    b"\x1b[31mred",
    b"\xff\xfe",
    b"a\\..\\b",
    b"x" * 255,
):
    odd(_name, READ, FILE)
odd("\u202egnp.exe".encode(), READ, FILE)
odd(b"'; touch CANARY; '", READ, FILE)
odd(b"$(touch CANARY)", READ, FILE)


@hostile(READ)
def notebooks_with_odd_names(objects: Objects, traps: Traps) -> Raw:
    del traps
    names = (
        b"\x1b]0;x\x07.ipynb",
        b"a\nb.ipynb",
        b"\xff.ipynb",
        b"a\\b.ipynb",
        "\u202e.ipynb".encode(),
        b"x" * 240 + b".ipynb",
    )
    return files(objects, dict.fromkeys(names, b"{}"))


@hostile(DAMAGED)
def two_manifests_of_one_name(objects: Objects, traps: Traps) -> Raw:
    return with_entries(objects, (FILE, b"manifest.scm", objects.blob(f'(system "{traps.command}")'.encode())))


@hostile(DAMAGED)
def a_tree_out_of_order(objects: Objects, traps: Traps) -> Raw:
    del traps
    return with_entries(objects, (FILE, b"a", objects.blob(b"")), sort=False)


@hostile(READ)
def a_tree_with_modes_that_are_none(objects: Objects, traps: Traps) -> Raw:
    del traps
    return with_entries(objects, ("777777", b"a", objects.blob(b"")))


# Bombs


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


def varint(number: int) -> bytes:
    found = []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


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


@hostile(LARGE)
def branches_without_end(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})

    def advertise(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        handler.end_headers()
        handler.wfile.write(line("# service=git-upload-pack\n") + b"0000")
        block = line(f"{raw.commit} refs/heads/{'b' * 200}\n") * 1000
        try:
            while True:
                handler.wfile.write(block)
        except OSError:
            return True

    raw.advertised = advertise
    return raw


@hostile(LARGE)
def a_listing_that_unpacks_to_gigabytes(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packing.compress(b"0" * 10_000_000) + packing.flush(zlib.Z_FULL_FLUSH)

    def advertise(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")
        try:
            while True:
                handler.wfile.write(block)
        except OSError:
            return True

    raw.advertised = advertise
    return raw


# Packs and objects that are none


def damaged(name: str, change: Callable[[bytes], bytes], outcome: str = DAMAGED) -> None:
    """Add a repository whose pack is a good one, CHANGEd."""

    def build(objects: Objects, traps: Traps) -> Raw:
        del traps
        raw = files(objects, {b"a": os.urandom(5000)})
        assert isinstance(raw.pack, bytes)
        return Raw(raw.commit, change(raw.pack))

    CASES.append(Hostile(name, outcome, build))


damaged("a pack that ends too early", lambda pack: pack[: len(pack) // 2])
damaged("a pack with a wrong sum", lambda pack: pack[:-20] + b"\0" * 20)
damaged("a pack with one byte changed", lambda pack: pack[:200] + bytes([pack[200] ^ 255]) + pack[201:])
damaged("a pack of another version", lambda pack: pack[:4] + b"\0\0\0\x09" + pack[8:])
damaged("a pack that is none", lambda _: b"<html>not a pack</html>" * 100)
damaged("an empty pack", lambda _: b"")
damaged("a pack with something after it", lambda pack: pack + b"garbage" * 100)


@hostile(DAMAGED)
def a_pack_without_the_commit(objects: Objects, traps: Traps) -> Raw:
    del traps
    files(objects, {})
    return Raw(ABSENT, objects.pack)


@hostile(DAMAGED)
def a_commit_without_its_tree(objects: Objects, traps: Traps) -> Raw:
    del traps
    return served(objects, objects.commit(ABSENT))


@hostile(DAMAGED)
def a_tree_without_its_files(objects: Objects, traps: Traps) -> Raw:
    del traps
    return served(objects, objects.commit(objects.tree([(FILE, b"manifest.scm", ABSENT)])))


@hostile(DAMAGED)
def a_difference_to_nothing(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    change = varint(10) + varint(10) + bytes([0x90, 10])
    return Raw(raw.commit, packed([*objects.packed, entry(7, len(change), bytes.fromhex(ABSENT) + zlib.compress(change))]))


@hostile(DAMAGED)
def an_object_of_no_kind(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    return Raw(raw.commit, packed([*objects.packed, entry(5, 1, zlib.compress(b"x"))]))


@hostile(DAMAGED)
def a_commit_that_is_none(objects: Objects, traps: Traps) -> Raw:
    del traps
    tree = objects.tree([(FILE, b"manifest.scm", objects.blob(MANIFEST))])
    return served(objects, objects.commit(tree, head=f"tree {tree}\nauthor nobody\ncommitter {PERSON}\n\nx\n"))


@hostile(DAMAGED)
def a_commit_with_a_zero_in_it(objects: Objects, traps: Traps) -> Raw:
    del traps
    tree = objects.tree([(FILE, b"manifest.scm", objects.blob(MANIFEST))])
    person = PERSON.replace("Ada", "A\0da")
    return served(objects, objects.commit(tree, head=f"tree {tree}\nauthor {person}\ncommitter {PERSON}\n\nx\n"))


@hostile(READ)
def a_message_for_terminals(objects: Objects, traps: Traps) -> Raw:
    del traps
    tree = objects.tree([(FILE, b"manifest.scm", objects.blob(MANIFEST))])
    return served(objects, objects.commit(tree, message="\x1b]0;owned\x07\x1b[2J\u202e\udcff"))


@hostile(DAMAGED)
def attributes_of_endless_lines(objects: Objects, traps: Traps) -> Raw:
    # CVE-2022-23521 and CVE-2022-41903.
    del traps
    return files(objects, {b".gitattributes": b"* " + b"a" * 5000 + b"\n" + b"[attr]" + b"b" * 100_000 + b" x\n"})


@hostile("ref-not-found")
def a_branch_that_is_a_file(objects: Objects, traps: Traps) -> Raw:
    del traps
    files(objects, {})
    blob = objects.blob(b"not a commit")
    return Raw(blob, objects.pack)


# What servers say


@hostile(DAMAGED)
def an_error_for_terminals(objects: Objects, traps: Traps) -> Raw:
    raw = files(objects, {})
    raw.before = line(f"ERR \x1b[31mopen http://{traps.host}/ SECRET\x07")
    raw.pack = b""
    return raw


@hostile(READ)
def progress_for_terminals(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    assert isinstance(raw.pack, bytes)
    raw.capabilities = f"{CAPABILITIES} side-band-64k"
    said = line(b"\x02\x1b]0;owned\x07\x1b[2J\rremote: SECRET\n") * 100
    raw.before = line("NAK\n") + said
    raw.pack = line(b"\x01" + raw.pack) + b"0000"
    return raw


@hostile(DAMAGED)
def nonsense_for_an_answer(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    raw.before = b"zzzzNAK\n"
    return raw


@hostile("invalid-ref")
def a_default_branch_that_is_an_option(objects: Objects, traps: Traps) -> Raw:
    raw = files(objects, {})
    raw.head = f"refs/heads/--upload-pack={traps.canary}"
    return raw


@hostile(READ)
def a_default_branch_that_leads_upwards(objects: Objects, traps: Traps) -> Raw:
    del traps
    raw = files(objects, {})
    raw.head = "refs/heads/../../../etc/passwd"
    return raw


@hostile(READ)
def other_names_for_objects(objects: Objects, traps: Traps) -> Raw:
    """Replacements of objects, which Git follows where it is let (git-replace(1))."""
    raw = files(objects, {})
    other = objects.of_files({b"manifest.scm": (FILE, f'(system "{traps.command}")'.encode())})
    raw.refs = [("refs/heads/main", raw.commit), (f"refs/replace/{raw.commit}", other)]
    raw.pack = objects.pack
    return raw


@hostile(READ)
def addresses_of_bundles(objects: Objects, traps: Traps) -> Raw:
    raw = files(objects, {})
    raw.capabilities = f"{CAPABILITIES} bundle-uri=http://{traps.host}/x.bundle packfile-uris=http"
    return raw


def only_files(objects: Objects, traps: Traps, alternates: str) -> Raw:
    """Return a repository that is served as files, with other places for objects named in the file ALTERNATES."""
    raw = files(objects, {})

    def advertise(handler: BaseHTTPRequestHandler) -> bool:
        contents = {
            "info/refs": f"{raw.commit}\trefs/heads/main\n",
            "HEAD": "ref: refs/heads/main\n",
            f"objects/info/{alternates}": f"http://{traps.host}/objects\n{traps.secret.parent}\n../../../../etc\n",
        }
        path = handler.path.partition("?")[0]
        found = next((text for name, text in contents.items() if path.endswith(name)), None)
        handler.send_response(404 if found is None else 200)
        handler.end_headers()
        handler.wfile.write((found or "").encode())
        return True

    raw.advertised = advertise
    return raw


@hostile(DAMAGED)
def objects_at_other_addresses(objects: Objects, traps: Traps) -> Raw:
    return only_files(objects, traps, "http-alternates")


@hostile(DAMAGED)
def objects_in_other_folders(objects: Objects, traps: Traps) -> Raw:
    return only_files(objects, traps, "alternates")
