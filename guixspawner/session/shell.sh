#!/bin/sh
# A terminal's shell: the environment's programs first, then the session's own tools, and nothing of the server's.
. /run/guix-environment/variables.sh
exec "$SHELL" "$@"
