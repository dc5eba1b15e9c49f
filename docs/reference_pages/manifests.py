"""The page about the forms that are read in manifests, with the tables that the grammar itself has."""

import re

from guix_build_service.manifest import evaluation, neighbours, reader, specifications
from guix_build_service.manifest.channel_records import MODULES as CHANNEL_MODULES
from guix_build_service.manifest.channels import VOCABULARY as CHANNEL_VOCABULARY
from guix_build_service.manifest.grammar import VOCABULARY
from guix_build_service.manifest.specifications import REPEATABLE
from reference_pages.page import heading

_MANIFESTS = """\
Which forms are read in `manifest.scm`, and in the files that it loads. Nothing of a repository is run; what the forms
mean is as in Guix 1.5.0 and Guile 3. `guix-build-service read FILE [--json]` says what is read in a file. A manifest of
any other form is refused, unless the administrator lets those of its repository [be run](../explanation/manifests.md).

## Levels

`read` says how much had to be understood:

| level | what |
| --- | --- |
| L0 | one list of literal strings |
| L1 | lists and manifests put together |
| L2 | variables of Guix's modules, and packages that are changed in a way that can be repeated |
| L3 | procedures that the file defines, conditions, other files of the repository |

## What can be called

Each name is known only where Guile would know it: where the file uses one of its modules. `(guix profiles)` and
`(gnu)`, which has all of `(gnu packages)`, need not be named, unless the file begins with `define-module`.

FORMS

Any other name that stands alone is a variable of Guix's modules: `octave` of `(gnu packages maths)`, `(@ (gnu packages base)
sed)`, or a list of packages such as `%base-packages`. Where names are expected, as in
`(specifications->manifest (cons "make" lab-tools))`, it is a list of those. Guix itself says what it holds, by the modules
that the file uses.

Beyond Scheme's own rules:

- `specification->package+output` gives two values; where one is expected, as under `map`, the output is lost.
- A package that is named twice in one manifest is in it once; in two that are put together, twice.
- Of transformations those are read that give the same each time: TRANSFORMATIONS. `tune` needs the name of a processor.
- `getenv` gives false for variables that nobody sets, and is refused for those that a machine may have, such as `HOME`.
- What is printed is ignored.
- A package that a file defines is refused where it is used, not where it is defined.
- Modules that a file uses must be there, be anything of them needed or not: Guix would not load the file without.
- What only Guix knows, such as what a variable of its modules holds, decides nothing: where a condition, `match` or a
  comparison asks for it, the file is refused.

## Other files

`load`, `include`, `primitive-load` and `(call-with-input-file FILE read)` read files of the same commit, which lie in
the repository and are no symbolic links. `load` and `include` start at the folder of the file that says so. The others
start where Guix runs: they are read in files at the repository's top, or with `(dirname (current-filename))`.

## Limits

| what | most |
| --- | --- |
| one file | LARGEST_TEXT KiB |
| lists within lists | DEEPEST |
| parts of a file | MOST_DATA |
| other files | MOST_FILES |
| forms within forms while they are worked out | DEEPEST_VALUES |
| steps | MOST_STEPS |
| a string that is put together | LONGEST_TEXT characters |
| packages | MOST_PACKAGES |

## Channels files

`channels.scm` is read by the same rules, and by these: CHANNELS. A channel is allowed where its introduction, the first
commit and the key, is that of Guix's own channel or of one that the administrator lists, and its address is one of that
channel's. Its name is then the administrator's, and `guix` must be named `guix`. One of them must be."""


def manifests_page() -> str:
    """Return the page about the forms that are read, with the tables that the grammar itself has."""
    filled = _MANIFESTS
    for name, text in {
        "FORMS": _vocabulary(VOCABULARY),
        "CHANNELS": ", ".join(
            f"`{name}`" for name, known in sorted(CHANNEL_VOCABULARY.items()) if known.modules == CHANNEL_MODULES
        ),
        "TRANSFORMATIONS": ", ".join(f"`{name}`" for name in sorted(REPEATABLE)),
        "LARGEST_TEXT": str(reader.LARGEST_TEXT // 1024),
        "DEEPEST_VALUES": str(evaluation.DEEPEST_VALUES),
        "DEEPEST": str(reader.DEEPEST),
        "MOST_DATA": str(reader.MOST_DATA),
        "MOST_FILES": str(neighbours.MOST_FILES),
        "MOST_STEPS": str(evaluation.MOST_STEPS),
        "LONGEST_TEXT": str(evaluation.LONGEST_TEXT),
        "MOST_PACKAGES": str(specifications.MOST_PACKAGES),
    }.items():
        filled = re.sub(rf"\b{name}\b", lambda _match, text=text: text, filled)  # type: ignore[misc] # bound at once
    return heading("Manifests", "the grammar itself") + "\n\n" + filled


def _vocabulary(vocabulary: evaluation.Vocabulary) -> str:
    """Return a table of the names in VOCABULARY by the module that has them."""
    by_module: dict[str, list[str]] = {}
    for name, known in vocabulary.items():
        core = ("guile",) in known.modules
        module = "every file" if core else f"`({' '.join(known.modules[0])})`"
        by_module.setdefault(module, []).append(f"`{name}`")
    rows = [f"| {module} | {', '.join(sorted(names))} |" for module, names in sorted(by_module.items())]
    return "\n".join(["| module | names |", "| --- | --- |", *rows])
