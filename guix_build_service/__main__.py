"""Run the service or its administration: ``python -m guix_build_service``."""

import sys

from guix_build_service.command_line import main

if __name__ == "__main__":
    sys.exit(main())
