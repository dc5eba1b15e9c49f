"""Connect a session: ``python -I -S guix_environment/outbound USER NETWORK ERRORS REFUSED,… -- COMMAND…``."""

import os
import sys

# Without `site`, nothing of this package is found by itself.
sys.path.insert(0, __file__.rpartition("/guix_environment/")[0])

from guix_environment.outbound.program import main

try:
    user, network, errors = map(int, sys.argv[1:4])
    main(user, network, errors, [word for word in sys.argv[4].split(",") if word], sys.argv[6:])
except OSError as error:
    os.write(2, f"{error}\n".encode())
    sys.exit(1)
