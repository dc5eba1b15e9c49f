#!/bin/sh
# A terminal's shell: the environment's programs first, then the session's own tools, and nothing of the server's.

# As kernel.sh has it: the server is the last to go where memory is used up.
{ echo 800 >/proc/self/oom_score_adj; } 2>/dev/null

. /run/guix-environment/variables.sh
exec "$SHELL" "$@"
