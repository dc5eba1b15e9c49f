"""Packs and objects that are none, and servers that say what no server should."""

import os
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from tests.service.git.raw_repository import CAPABILITIES, PERSON, Objects, Raw, entry, line, packed, varint
from tests.service.hostile.corpus import (
    ABSENT,
    CASES,
    DAMAGED,
    FILE,
    MANIFEST,
    READ,
    Hostile,
    Traps,
    files,
    hostile,
    served,
)


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
