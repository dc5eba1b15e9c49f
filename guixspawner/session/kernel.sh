#!/bin/sh
# Goes before a kernel's own command: the same surroundings as in a terminal.
. /run/guix-environment/variables.sh
exec "$@"
