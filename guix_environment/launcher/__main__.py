"""Make containers: ``python -I -S guix_environment/launcher CONTROL``, with the number of an open socket to the hub.

A Python takes longer to start than a container does to be made, so one stays for as long as the hub does, and forks.
"""

import os
import signal
import socket
import sys

# Without `site`, whose start costs as much again, nothing of this package is found by itself.
sys.path.insert(0, __file__.rpartition("/guix_environment/")[0])

from guix_environment.launcher import program, requests


def wait_for_request(control: int) -> requests.Request:
    """Return in a child that was forked for a request over CONTROL, with that request's files and nothing else open.

    Ends, without a word, when the hub has closed its end.
    """
    # Nobody waits for the children: each hands over to another process within milliseconds.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    connection = socket.socket(fileno=control)
    while True:
        word, request = requests.receive(connection)
        if not word:
            os._exit(0)
        if request is None:
            continue
        if os.fork() == 0:
            # What is ignored stays so in every program that is started.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.detach()
            request.keep_only_this()
            return request
        request.close()


if __name__ == "__main__":
    # It goes on as nobody's child: the hub need not wait for its end.
    if os.fork():
        os._exit(0)
    program.main(wait_for_request(int(sys.argv[1])).channel)
