"""Why what manifests do besides naming packages is not read, in words."""

from collections.abc import Mapping

_OWN = "it defines a package of its own, which would have to be evaluated and built."
_CHANGED = "it changes packages by code, which would have to be run."
_PROGRAM = "it would run a program while it is loaded, and nothing of a repository is run."
_FILE = "it reads or writes files by code, and nothing of a repository is run."
_NETWORK = "it asks another version of Guix for packages, which needs the network while the manifest is loaded."
_CODE = "it makes code while it is loaded, and nothing of a repository is run."
_PLACES = "it brings modules of its own into play, which would have to be run."
_SYSTEM = "it describes a system, not packages."
_PACKAGES = "it asks what a package consists of, which only running it could tell."

_REASONS: Mapping[str, str] = {
    _OWN: (
        "package package/inherit origin local-file local-file* computed-file program-file plain-file mixed-text-file "
        "gexp source-module-closure make-glibc-utf8-locales manifest-entry union-build profile scheme-file "
        "file-append"
    ),
    _CHANGED: (
        "package-input-rewriting package-input-rewriting/spec package-mapping package-with-c-toolchain inherit "
        "modify-inputs substitute-keyword-arguments package-with-extra-configure-variable make-lld-wrapper "
        "hidden-package with-parameters package-with-explicit-inputs package-transformation package-with-python2 set!"
    ),
    _PROGRAM: (
        "system system* open-pipe open-pipe* open-input-pipe open-output-pipe execl execlp execle invoke "
        "primitive-fork fork popen spawn primitive-exit exit kill dynamic-link dynamic-call foreign-library-function "
        "pointer->procedure"
    ),
    _FILE: (
        "open-input-file open-output-file open-file open call-with-output-file with-output-to-file "
        "with-input-from-file read-file delete-file rename-file copy-file mkdir rmdir chmod chown symlink link "
        "scandir readlink file-exists? opendir find-files mkdir-p get-string-all read-line read-string stat lstat "
        "chdir getcwd dump-port call-with-temporary-output-file ftw nftw git-predicate canonicalize-path search-path "
        "%search-load-path file-system-fold delete-file-recursively utime umask"
    ),
    _NETWORK: (
        "inferior-for-channels lookup-inferior-packages inferior-packages open-inferior http-fetch url-fetch socket "
        "connect git-fetch git-checkout getaddrinfo with-store open-connection run-with-store build-derivations "
        "http-get"
    ),
    _CODE: (
        "eval eval-string primitive-eval compile macroexpand define-syntax define-syntax-rule let-syntax syntax-rules "
        "syntax-case define-macro defmacro call/cc call-with-current-continuation dynamic-wind catch throw "
        "with-exception-handler raise guard delay force call-with-prompt make-thread call-with-new-thread future "
        "while do eval-when syntax quasisyntax current-module module-ref resolve-module resolve-interface @@ "
        "sigaction setrlimit gc"
    ),
    _PLACES: (
        "add-to-load-path set-current-module %load-path %package-module-path load-from-path primitive-load-path "
        "include-from-path load-extension load-compiled setenv putenv unsetenv"
    ),
    _SYSTEM: "operating-system home-environment service simple-service user-account file-system",
    _PACKAGES: (
        "package-inputs package-native-inputs package-propagated-inputs package-direct-inputs package-name "
        "package-version package-source package-arguments package-outputs package-development-inputs "
        "package-transitive-inputs package->bag fold-packages find-packages-by-name find-best-packages-by-name "
        "package-transitive-propagated-inputs manifest-add package-transitive-native-inputs package-superseded "
        "lookup-package-input manifest-transitive-entries all-packages map-manifest-entries manifest-entry-item "
        "manifest-entry-name package-supported-systems supported-package? manifest-remove manifest-lookup "
        "profile-manifest"
    ),
}

REASONS: Mapping[str, str] = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Why it is not read, by the name of a form or a procedure."""


def reason_of(name: str) -> str:
    """Return why what NAME stands for in Guile or Guix is not read; empty where nothing particular is known."""
    return REASONS.get(name, "")
