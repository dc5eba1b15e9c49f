"""Connect a session: ``python -I -S guix_environment/outbound PROCESS ERRORS REFUSED,… -- COMMAND…``."""

import os
import sys

# Without `site`, nothing of this package is found by itself.
sys.path.insert(0, __file__.rpartition("/guix_environment/")[0])

from guix_environment.outbound.program import main

try:
    main(sys.argv[1], int(sys.argv[2]), [word for word in sys.argv[3].split(",") if word], sys.argv[5:])
except OSError as error:
    os.write(2, f"{error}\n".encode())
    sys.exit(1)
