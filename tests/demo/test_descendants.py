"""A run leaves no process behind, not even one whose own parent ended or that does not listen."""

import subprocess
import sys

from demo.settings import CHECKOUT
from guix_environment.process_identity import identify

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"

PARENT = f"""
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
"""

SCRIPT = f"""
import subprocess, sys
from demo.descendants import adopt_orphans, end_descendants
adopt_orphans()
subprocess.run([sys.executable, "-c", {PARENT!r}], check=True)
end_descendants(grace=0.3)
"""


def test_an_orphan_that_does_not_listen_is_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert identify(int(done.stdout)) is None
