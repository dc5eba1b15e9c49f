#!/bin/sh
# Goes before a kernel's own command: the same surroundings as in a terminal.

# When the session's memory is used up, the kernel of the machine ends this before it ends the server (oom_score_adj, proc(5)).
{ echo 800 >/proc/self/oom_score_adj; } 2>/dev/null

. /run/guix-environment/variables.sh
exec "$@"
