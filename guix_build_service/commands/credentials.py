"""The commands about what opens one's private repositories, which is never an argument and never printed."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from guix_build_service.commands.call import Call
from guix_build_service.commands.outcomes import CommandMisused, ExitStatus
from guix_build_service.commands.terminal import short, table
from guix_build_service.commands.words import command
from guix_build_service.credentials.envelope import Kind
from guix_build_service.credentials.ssh_keys import LONGEST_KEY
from guix_build_service.local.started import Work
from guix_build_service.web.schemas.credentials import CredentialAnswer

_HOST = "the host of the repositories, such as codeberg.org or git.example:3000"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parsers of these commands."""
    about = "keep tokens, passwords or SSH keys for private repositories"
    group = commands.add_parser("credentials", help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False)
    own = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(own, "list", list_credentials, "list the hosts that you keep something for", work=Work.LOOK)
    add = command(
        own,
        "add",
        add_credential,
        "keep a token, password or SSH key for a host",
        "It is asked for, or is the first line of the standard input; it takes the place of an earlier one.",
    )
    add.add_argument(
        "--ssh-key",
        metavar="FILE",
        help="keep the private key of SSH in FILE, which has no passphrase, in the place of one; - is the standard input",
    )
    add.add_argument("host", help=_HOST)
    add.add_argument("--user", help="a user name, where the host wants a certain one; forges that take a token take any")
    delete = command(own, "delete", delete_credential, "forget what you keep for a host")
    delete.add_argument("host", help=_HOST)
    delete.add_argument("--kind", choices=[kind.value for kind in Kind], help="only this, of what you keep")


def list_credentials(call: Call) -> ExitStatus:
    """List."""
    found = call.client.credentials()
    rows = [(each.host, _moment(each.created), _moment(each.used), _state(each), _kind(each)) for each in found]
    text = table(("HOST", "KEPT (UTC)", "USED (UTC)", "STATE", "KIND"), rows) if rows else ""
    call.output.give([each.model_dump(mode="json") for each in found], text)
    if not rows:
        call.output.note("You keep nothing. Public repositories need nothing.")
    return ExitStatus.DONE


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if moment is not None else "never"


def _state(kept: CredentialAnswer) -> str:
    return "refused by its host" if kept.refused is not None else "accepted" if kept.used is not None else "not tried yet"


def _kind(kept: CredentialAnswer) -> str:
    return f"{kept.kind} {kept.fingerprint}".strip()


def add_credential(call: Call) -> ExitStatus:
    """Keep."""
    host = call.options.host
    if call.options.ssh_key is not None:
        if call.options.user is not None:
            raise CommandMisused("A key is for whichever user an address names.", hint="Leave --user out.")
        kept = call.client.keep_ssh_key(host, _read_key(call.options.ssh_key))
        call.output.give(kept.model_dump(mode="json"), f"Kept for {short(kept.host)}: {kept.fingerprint}")
        return ExitStatus.DONE
    secret = call.read_secret(f"Token or password for {short(host)}: ")
    if not secret:
        raise CommandMisused("No token or password was given.", hint="Type it when asked, or send it as a line of input.")
    kept = call.client.keep_credential(host, secret, call.options.user)
    call.output.give(kept.model_dump(mode="json"), f"Kept for {short(kept.host)}.")
    return ExitStatus.DONE


def _read_key(file: str) -> str:
    """Return what is in FILE, the standard input for ``-``.  Raises `CommandMisused`."""
    try:
        with sys.stdin if file == "-" else Path(file).open(encoding="ascii", errors="replace") as opened:
            return opened.read(LONGEST_KEY)
    except OSError as error:
        raise CommandMisused(f"{short(file)} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandMisused("What was given is no text, as a private key of SSH is.") from None


def delete_credential(call: Call) -> ExitStatus:
    """Forget."""
    host = call.options.host
    call.client.forget_credential(host, call.options.kind)
    call.output.give({"deleted": host}, f"Forgot what was kept for {short(host)}.")
    return ExitStatus.DONE
