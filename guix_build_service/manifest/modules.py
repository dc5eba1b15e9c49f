"""The modules that a manifest uses, and what of them it can name.

Nothing is loaded.  Which of Guix's and Guile's modules has which of the procedures that are read here stands with the
procedures; what else a name may stand for, only Guix knows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol

_PART = re.compile(r"[A-Za-z0-9%+][A-Za-z0-9%+._-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9%+*<>=?!/._:@$^&~-]{1,128}")
_MOST = 200

SHORT = {
    "use-package-modules": ("gnu", "packages"),
    "use-service-modules": ("gnu", "services"),
    "use-system-modules": ("gnu", "system"),
}
"""Forms of the module (gnu) that use modules by the last part of their names."""

REEXPORTED: Mapping[tuple[str, ...], frozenset[tuple[str, ...]]] = {
    ("gnu",): frozenset({("gnu",), ("gnu", "packages"), ("gnu", "packages", "base"), ("guix", "gexp")})
}
"""Modules that also have what others have (``gnu.scm``), as far as it matters here."""


@dataclass(frozen=True, slots=True)
class Import:
    """One module that is used, and under which names it brings what it has."""

    name: tuple[str, ...]
    selected: tuple[tuple[str, str], ...] | None = None
    """Names, and what they are called here; None for all names."""
    hidden: tuple[str, ...] = ()
    prefix: str = ""

    def original(self, name: str) -> str | None:
        """Return what NAME is called in the module itself, or None where the import cannot bring it."""
        if not name.startswith(self.prefix):
            return None
        bare = name.removeprefix(self.prefix)
        if self.selected is not None:
            return next((there for there, here in self.selected if here == bare), None)
        return None if bare in self.hidden else bare

    def brings(self, name: str, home: tuple[str, ...]) -> str | None:
        """Return what NAME is called in the module HOME, where it comes from there by this import."""
        return self.original(name) if home in REEXPORTED.get(self.name, frozenset({self.name})) else None

    def text(self) -> str:
        """Return the import as ``use-modules`` takes it."""
        name = f"({' '.join(self.name)})"
        options = []
        if self.selected is not None:
            pairs = (there if there == here else f"({there} . {here})" for there, here in self.selected)
            options.append(f"#:select ({' '.join(pairs)})")
        if self.hidden:
            options.append(f"#:hide ({' '.join(self.hidden)})")
        if self.prefix:
            options.append(f"#:prefix {self.prefix}")
        return f"({name} {' '.join(options)})" if options else name


DEFAULT = (Import(("guix", "profiles")), Import(("gnu",)))
"""What a manifest can use without saying so (``load-manifest`` in ``guix/scripts/environment.scm``)."""


def used(form: Form) -> tuple[Import, ...]:
    """Return the modules that FORM, one of ``use-modules`` and its kin or ``define-module``, uses, in order."""
    if form.head() in SHORT:
        return tuple(Import((*SHORT[form.head()], _part(item))) for item in form.items[1:])
    if form.head() == "use-modules":
        return tuple(_specification(item) for item in form.items[1:])
    items = form.items[2:]
    found = []
    for option, value in pairwise(items):
        if isinstance(option, Atom) and option.text == "#:use-module":
            found.append(_specification(value))
        elif isinstance(option, Atom) and option.text == "#:autoload":
            found.append(Import(module_name(value), _autoloaded(items, value)))
    return tuple(found)


def checked(imports: tuple[Import, ...], position: Position) -> tuple[Import, ...]:
    """Return IMPORTS.  Raises `ManifestUnreadable` where they are too many."""
    if len(imports) > _MOST:
        raise unreadable(position, f"it uses more than {_MOST} modules.")
    return imports


def module_name(datum: Datum) -> tuple[str, ...]:
    """Return the name of a module that DATUM is."""
    if isinstance(datum, Form) and datum.items and datum.tail is None:
        return tuple(_part(item) for item in datum.items)
    raise unreadable(datum.position, "the name of a module is a list of words, such as (gnu packages python).")


def _part(datum: Datum) -> str:
    text = datum.name if isinstance(datum, Symbol) else datum.text if isinstance(datum, Atom) else ""
    if not _PART.fullmatch(text):
        raise unreadable(datum.position, "this is no part of a module's name.")
    return text


def _specification(datum: Datum) -> Import:
    if not isinstance(datum, Form) or not datum.items or not isinstance(datum.items[0], Form):
        return Import(module_name(datum))
    options = datum.items[1:]
    result = Import(module_name(datum.items[0]))
    selected, hidden, prefix = result.selected, result.hidden, ""
    for option, value in zip(options[::2], options[1::2], strict=False):
        match option:
            case Atom(text="#:select") | Symbol(name=":select"):
                selected = tuple(_pair(item) for item in _items(value))
            case Atom(text="#:hide") | Symbol(name=":hide"):
                hidden = tuple(_name(item) for item in _items(value))
            case Atom(text="#:prefix") | Symbol(name=":prefix"):
                prefix = _name(value)
            case Atom(text="#:renamer") | Symbol(name=":renamer"):
                prefix = _renamer(value)
            case _:
                raise unreadable(option.position, "this option of use-modules is not read.")
    if len(options) % 2:
        raise unreadable(options[-1].position, "this option of use-modules has no value.")
    return Import(result.name, selected, hidden, prefix)


def _renamer(datum: Datum) -> str:
    match datum:
        case Form(items=(Symbol(name="symbol-prefix-proc"), Form(items=(Symbol(name="quote"), name)))):
            return _name(name)
    raise unreadable(datum.position, "of renamers only (symbol-prefix-proc 'prefix) is read.")


def _autoloaded(items: tuple[Datum, ...], module: Datum) -> tuple[tuple[str, str], ...]:
    following = items[items.index(module) + 1 :]
    return tuple((_name(item), _name(item)) for item in _items(following[0])) if following else ()


def _items(datum: Datum) -> tuple[Datum, ...]:
    if isinstance(datum, Form) and datum.tail is None:
        return datum.items
    raise unreadable(datum.position, "a list of names is expected here.")


def _pair(datum: Datum) -> tuple[str, str]:
    match datum:
        case Form(items=(there,), tail=Symbol() as here):
            return _name(there), _name(here)
    return _name(datum), _name(datum)


def _name(datum: Datum) -> str:
    if isinstance(datum, Symbol) and _NAME.fullmatch(datum.name):
        return datum.name
    raise unreadable(datum.position, "a name is expected here.")
