"""What Git runs to be lent a credential (gitcredentials(7), "Custom helpers"): it asks the service over a socket.

Run as ``python -I -S git_credential.py SOCKET get|store|erase``. Of what Git says only which repository it is about is
passed on: with ``store`` and ``erase`` Git also sends the password itself.
"""

import ctypes
import socket
import sys

_ASKED = (b"protocol=", b"host=", b"path=")
_LONGEST = 64 * 1024
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def main(path: str, operation: str) -> None:
    """Ask the service that listens at PATH, and give Git its answer."""
    # The secret comes by here: no other process of the account reads it from our memory.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)
    said = sys.stdin.buffer.read(_LONGEST)
    lines = [operation.encode(), *(line for line in said.split(b"\n") if line.startswith(_ASKED))]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"\n".join(lines) + b"\n\n")
        while answer := connection.recv(_LONGEST):
            sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
