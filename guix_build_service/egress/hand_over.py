"""What SSH runs to be connected (ssh_config(5), ``ProxyUseFdpass``): it is handed a connection to a passage, no more.

Run as ``python -I -S hand_over.py SOCKET``; the standard output is a socket to SSH.
"""

import array
import socket
import sys


def main(path: str) -> None:
    """Hand over a connection to the passage that listens at PATH."""
    with socket.socket(socket.AF_UNIX) as passage, socket.socket(fileno=1) as ssh:
        passage.connect(path)
        number = array.array("i", [passage.fileno()])
        ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, number)])


if __name__ == "__main__":
    main(sys.argv[1])
