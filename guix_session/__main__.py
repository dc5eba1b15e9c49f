"""Start the session: ``python3 -I …/guix_session/__main__.py``, where nothing else tells Python of this package."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from guix_session.start import main, take_secrets

    take_secrets()
    main()
