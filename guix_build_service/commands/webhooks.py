"""The command that has pushes to an environment's repository build ahead."""

import argparse

from guix_build_service.commands.call import Call
from guix_build_service.commands.finding import environment_meant
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.commands.terminal import facts, short
from guix_build_service.commands.words import ENVIRONMENT, command


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = command(
        commands,
        "webhook",
        make_webhook,
        "make a webhook, by which a forge has an environment built when somebody pushes",
        "It prints the addresses and the secret to enter at the forge. The secret is not shown again; a webhook that the "
        "environment had before is no longer taken.",
    )
    parser.add_argument("environment", help=ENVIRONMENT)
    parser.add_argument("--remove", action="store_true", help="forget the environment's webhook in place of making one")


def make_webhook(call: Call) -> ExitStatus:
    """Make one, or forget it."""
    found = environment_meant(call.client, call.options.environment)
    if call.options.remove:
        call.client.remove_webhook(found.id)
        call.output.give({"removed": found.id}, f"The webhook of {short(found.name)} is not taken any more.")
        return ExitStatus.DONE
    made = call.client.make_webhook(found.id)
    rows = [(f"address for {forge}", address) for forge, address in made.addresses.items()]
    call.output.give(made.model_dump(mode="json"), facts([("secret", made.secret), *rows]))
    if any(address.startswith("/") for address in made.addresses.values()):
        call.output.note("The hub's own address, such as https://hub.example.org, goes before each of these.")
    return ExitStatus.DONE
