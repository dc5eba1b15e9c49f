"""What is read against what the real Guix makes of the same manifests, which it runs itself."""

import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.manifest.grammar import VOCABULARY, read_manifest
from guix_build_service.manifest.modules import DEFAULT
from guix_build_service.pipeline import guix as guix_module
from guix_build_service.pipeline.guix import Listed, search_path, system
from guix_environment.errors import ManifestUnreadable
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import run
from tests.service.manifest.test_corpora import BENIGN, Sample

pytestmark = pytest.mark.guix

# Loads each manifest as `guix shell` does (guix/scripts/environment.scm) and writes what it amounts to.
MODULES = {
    "lab/names.scm": """(define-module (lab names) #:export (lab-names lab-packages))
(define lab-names '("sed" "git:send-email" "python@3.10" "sed"))
(define lab-packages (map (@ (gnu packages) specification->package) '("grep" "sed")))
"""
}
"""Modules of a channel, as a Guix that has it finds them."""

EVALUATE = """
(use-modules (guix profiles) (guix ui) (ice-9 match) (srfi srfi-34))
(define (evaluate file)
  (catch #t
    (lambda ()
      (with-exception-handler
        (lambda (c) (throw 'failed))
        (lambda ()
          (let ((manifest (load* file (make-user-module '((guix profiles) (gnu))) #:on-error (lambda _ (throw 'failed)))))
            (cons 'packages
                  (map (lambda (entry)
                         (list (manifest-entry-name entry) (manifest-entry-version entry) (manifest-entry-output entry)))
                       (manifest-entries manifest)))))
        #:unwind? #t))
    (lambda _ '(failed))))
(match (command-line)
  ((_ output files ...)
   (let ((answers (map evaluate files)))
     (call-with-output-file output (lambda (port) (for-each (lambda (a) (write a port) (newline port)) answers))))))
"""

_ENTRY = re.compile(r'\("([^"]*)" "([^"]*)" "([^"]*)"\)')

NAMES = [
    "sed", "grep", "gcc", "python", "python@3.10", "git", "git:send-email", "glib:bin", "glib", "r-minimal", "guile@3",
    "guile@2.2", "pkg-config", "coreutils", "openjdk:jdk", "emacs-minimal", "make", "python-numpy", "sqlite", "bind:utils",
]  # fmt: skip
WRONG = ["no-such-package", "sed@99", "sed:nothing"]
VARIABLES = {
    "sed": "base", "grep": "base", "octave": "maths", "glpk": "maths", "pkg-config": "pkg-config",
    "git": "version-control", "python": "python", "coreutils": "base", "gnu-make": "base", "%base-packages": None,
    "glib": "glib", "no-such-variable": "base",
}  # fmt: skip


@dataclass
class Writer:
    """Writes manifests at random, in all the forms that are read."""

    random: random.Random

    def names(self) -> list[str]:
        found = self.random.choices(NAMES, k=self.random.randint(0, 6))
        if self.random.random() < 0.06:
            found.append(self.random.choice(WRONG))
        return found

    def strings(self, depth: int = 0) -> str:
        texts = " ".join(f'"{name}"' for name in self.names())
        inner = "" if depth > 2 else self.strings(depth + 1)
        forms = [f"(list {texts})", f"'({texts})", f"`({texts})"]
        if inner:
            forms += [
                f'(cons "sed" {inner})',
                f'(cons* "sed" "grep" {inner})',
                f"(append {inner} '({texts}))",
                f"`({texts} ,@{inner})",
                f"(let ((x {inner})) (append x x))",
                f"(reverse {inner})",
                f'(if (getenv "NO_SUCH_VARIABLE_{depth}") \'("xz") {inner})',
                f'(filter (lambda (x) (not (string-prefix? "g" x))) {inner})',
                f"(map (lambda (x) x) {inner})",
                f"(delete-duplicates {inner})",
                f"(match {inner} ((first rest ...) (cons first rest)) (() '()))",
                f"(let loop ((l {inner}) (r '())) (if (null? l) (reverse r) (loop (cdr l) (cons (car l) r))))",
                f"(apply append (map (lambda (x) (list x x)) {inner}))",
                f"(fold cons '() {inner})",
                f'(delete "sed" {inner})',
                f'(or (member "sed" {inner}) (list "xz"))',
                f"(assq-ref `((one ,@{inner}) (two {texts})) 'two)",
                f"(lset-adjoin equal? {inner} {texts})",
                f"(lset-union string=? '() {inner} (list {texts}))",
                f"(lset-union equal? (list {texts}) {inner})",
                f"(lset-difference equal? {inner} (list {texts}))",
                f"(lset-intersection equal? {inner} (list {texts}))",
                f"(append-reverse {inner} '({texts}))",
                f'(string-tokenize (string-join {inner} " \\n"))',
                '(map string-trim-both (string-split " sed , grep" #\\,))',
                f'(map (lambda (x) (string-concatenate (list x ""))) {inner})',
                f'(filter (lambda (x) (string-contains x "e")) {inner})',
                f'(let ((c (channel (name \'guix) (url "https://git.example/guix")))) {inner})',
            ]
        return self.random.choice(forms)

    def package(self) -> str:
        name = self.random.choice([name for name in NAMES if ":" not in name])
        variable = self.random.choice([name for name in VARIABLES if not name.startswith(("%", "no-"))])
        forms = [
            f'(specification->package "{name}")',
            f'(specification->package+output "{self.random.choice(NAMES)}")',
            variable,
            f"(@ (gnu packages {VARIABLES[variable]}) {variable})",
            '((options->transformation \'((without-tests . "sed"))) sed)',
        ]
        if self.random.random() < 0.03:
            forms.append("no-such-variable")
        return self.random.choice(forms)

    def packages(self) -> str:
        several = " ".join(self.item() for _ in range(self.random.randint(0, 4)))
        forms = [
            f"(list {several})",
            f"(append (list {several}) (list {several}))",
            f"(cons* {self.package()} {several} %base-packages)",
            f"(map specification->package+output {self.strings(2)})",
            f"(map (compose list specification->package+output) {self.strings(1)})",
            f"(specifications->packages {self.strings(1)})",
            f"(append (specifications->packages (append {self.strings(1)} lab-names)) (list {several}))",
            "(specifications->packages (@ (lab names) lab-names))",
            f"(append lab-packages (list {several}))",
            f'(map specification->package (filter (lambda (x) (not (string-suffix? "bin" x))) {self.strings(2)}))',
        ]
        return self.random.choice(forms)

    def item(self) -> str:
        return self.random.choice([self.package(), self.package(), '(list (@ (gnu packages version-control) git) "gui")'])

    def manifest(self, depth: int = 0) -> str:
        forms = [
            f"(specifications->manifest {self.strings()})",
            f"(packages->manifest {self.packages()})",
            f"(specifications->manifest (append {self.strings()} {self.random.choice(['lab-names', 'lab-packages'])}))",
            '(specifications->manifest (cons "grep" (@ (lab names) lab-names)))',
        ]
        if depth < 2:
            several = " ".join(self.manifest(depth + 1) for _ in range(self.random.randint(0, 3)))
            inner = self.manifest(depth + 1)
            forms += [
                f"(concatenate-manifests (list {several}))",
                f"(package->development-manifest {self.package()})",
                f'(manifest (list (package->manifest-entry {self.package()} "out")))',
                f"(manifest (append (list (package->manifest-entry {self.package()})) (manifest-entries {inner})))",
            ]
        return self.random.choice(forms)

    def file(self) -> str:
        modules = sorted({module for module in VARIABLES.values() if module})
        used = " ".join(f"(gnu packages {module})" for module in modules)
        head = f"(use-modules (guix transformations) (guix channels) (srfi srfi-1) (ice-9 match) (lab names) {used})\n"
        if self.random.random() < 0.05:
            # Nothing is looked up in it, and there is none.
            head = head.replace(" (srfi srfi-1)", " (srfi srfi-1) (no such module)")
        if self.random.random() < 0.1:
            head = head.replace("(use-modules", "(define-module (mine)\n  ").replace(" (", " #:use-module (")
            head = head.replace("#:use-module (mine)", "(mine)").replace(
                "\n", "\n  #:use-module (gnu packages) #:use-module (guix profiles)", 1
            )
        if self.random.random() < 0.5:
            return f"{head}(define found {self.manifest()})\n(define (it) found)\n(it)\n"
        return head + self.manifest() + "\n"


def with_modules(folder: Path, script: str) -> str:
    """Return SCRIPT with `MODULES`, which are written into FOLDER, where Guix finds its own."""
    for name, text in MODULES.items():
        place = folder / "modules" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return f'(add-to-load-path "{folder}/modules")\n{script}'


def command(folder: Path) -> GuixCommand:
    return GuixCommand("guix", folder, os.environ.get("USER", "root"), search_path=search_path())


async def evaluated(files: list[Path], folder: Path) -> list[list[Listed] | None]:
    """Return what Guix makes of FILES: packages, or None where it fails."""
    (folder / "evaluate.scm").write_text(with_modules(folder, EVALUATE))
    guix = command(folder)
    done = await run(
        guix.script(folder / "evaluate.scm", folder / "answers", *files),
        environment=guix.environment(),
        timeout=500,
        directory=folder,
    )
    assert done.succeeded, done.errors.decode()
    answers = (folder / "answers").read_text().splitlines()
    assert len(answers) == len(files)
    entry = re.compile(r'\("([^"]*)" "([^"]*)" "([^"]*)"\)')
    return [
        [Listed(*found) for found in entry.findall(answer)] if answer.startswith("(packages") else None for answer in answers
    ]


async def ours(samples: Sequence[Sample], folder: Path) -> list[list[Listed] | None]:
    """Return what we make of SAMPLES; None for those of which we say that Guix lacks something.

    The service's own question to Guix, asked for all of them in one process: loading Guix takes seconds.
    """
    manifests = []
    for number, sample in enumerate(samples):
        try:
            packages = read_manifest(sample.text, file="manifest.scm", files=sample.files, system=system()).packages
        except ManifestUnreadable:
            # Refused where Guix would fail as well, such as for a list that is too short.
            packages = PackageList((Entry("refused"),))
        manifests.append(folder / f"canonical-{number}.scm")
        manifests[-1].write_text(packages.manifest())
    question = Path(guix_module.__file__).with_name("scheme") / "lower.scm"
    answers = [manifest.with_suffix(".answer") for manifest in manifests]
    (folder / "ask.scm").write_text(
        with_modules(
            folder,
            "(for-each (lambda (manifest answer)"
            f' (set-program-arguments (list "lower.scm" manifest answer "packages")) (primitive-load "{question}"))'
            f" '({_strings(manifests)}) '({_strings(answers)}))",
        )
    )
    guix = command(folder)
    done = await run(guix.script(folder / "ask.scm"), environment=guix.environment(), timeout=550, directory=folder)
    assert done.succeeded, done.errors.decode()
    return [_listed(answer.read_text()) for answer in answers]


def _strings(paths: Sequence[Path]) -> str:
    return " ".join(f'"{path}"' for path in paths)


def _listed(answer: str) -> list[Listed] | None:
    return [Listed(*found) for found in _ENTRY.findall(answer)] if answer.startswith("(packages") else None


async def compared(samples: Sequence[Sample], folder: Path) -> dict[str, int]:
    """Hold what we make of SAMPLES against what Guix makes of them, and return how many of them it could evaluate."""
    files = []
    for number, sample in enumerate(samples):
        place = folder / f"repository-{number}"
        for path, content in {"manifest.scm": sample.text, **sample.files}.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(content)
        files.append(place / "manifest.scm")
    theirs = await evaluated(files, folder)
    found = await ours(samples, folder)
    different = [item for item in zip((sample.text for sample in samples), found, theirs, strict=True) if item[1] != item[2]]
    assert not different, f"{len(different)} of {len(samples)}, such as {different[0]}"
    evaluates = sum(expected is not None for expected in theirs)
    return {"same": evaluates, "both fail": len(theirs) - evaluates}


async def test_generated_manifests_are_what_guix_makes_of_them(tmp_path: Path) -> None:
    count = int(os.environ.get("GENERATED_MANIFESTS", "60"))
    writer = Writer(random.Random(int(os.environ.get("GENERATED_SEED", "4"))))
    counts = await compared([Sample(str(n), ("", ""), writer.file(), {}) for n in range(count)], tmp_path)
    print(json.dumps(counts))
    assert counts["same"] > count // 3


async def test_the_corpus_is_what_guix_makes_of_it(tmp_path: Path) -> None:
    # What `call-with-input-file` finds depends on the folder in which Guix runs, which is another here.
    counts = await compared([sample for sample in BENIGN if "call-with-input-file" not in sample.text], tmp_path)
    assert counts["same"] > len(BENIGN) // 2


async def test_what_is_known_here_is_in_the_modules_that_are_named_for_it(tmp_path: Path) -> None:
    """A name that another module had would be read as something that it does not mean."""
    pairs = [(name, module) for name, known in VOCABULARY.items() for module in known.modules]
    asked = " ".join(f"({name} ({' '.join(module)}))" for name, module in pairs)
    (tmp_path / "modules.scm").write_text(
        "(use-modules (ice-9 match))\n"
        "(for-each (match-lambda ((name module) (unless (module-variable (resolve-interface module) name)"
        f' (format #t "~a ~a~%" name module)))) \'({asked}))\n'
        "(define usual (map resolve-interface '(" + " ".join(item.text() for item in DEFAULT) + ")))\n"
        "(for-each (match-lambda ((name module) (for-each (lambda (interface)"
        " (let ((there (module-variable interface name)) (here (module-variable (resolve-interface module) name)))"
        ' (when (and there (not (eq? there here))) (format #t "~a is another in ~a~%" name interface)))) usual)))'
        f" '({asked}))\n"
    )
    guix = command(tmp_path)
    done = await run(guix.script(tmp_path / "modules.scm"), environment=guix.environment(), timeout=300, directory=tmp_path)
    assert done.succeeded, done.errors.decode()
    assert done.output.decode() == ""


async def test_no_package_variable_has_the_name_of_a_form(tmp_path: Path) -> None:
    """A module of packages that had a variable of that name would give it another meaning."""
    names = " ".join(VOCABULARY)
    (tmp_path / "clashes.scm").write_text(
        "(use-modules (gnu packages) (guix discovery) (guix packages))\n"
        f"(define names '({names}))\n"
        "(for-each (lambda (module) (for-each (lambda (name) (let ((variable (module-variable module name)))"
        " (when (and variable (variable-bound? variable) (package? (variable-ref variable)))"
        ' (format #t "~a ~a~%" name (module-name module))))) names))'
        " (all-modules (%package-module-path)))\n"
    )
    guix = command(tmp_path)
    done = await run(guix.script(tmp_path / "clashes.scm"), environment=guix.environment(), timeout=500, directory=tmp_path)
    assert done.succeeded, done.errors.decode()
    assert done.output.decode() == ""
