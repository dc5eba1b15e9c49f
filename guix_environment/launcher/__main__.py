"""Make one container: ``python -I -S guix_environment/launcher CHANNEL``, with the number of an open socket."""

import sys

# Without `site`, whose start costs more than the container does, nothing of this package is found by itself.
sys.path.insert(0, __file__.rpartition("/guix_environment/")[0])

from guix_environment.launcher.program import main

main(int(sys.argv[1]))
