"""The health check that every container runs, and the watchdog in it.

An engine restarts a container whose main process ends, never one that hangs. So the check itself counts its failures,
and in the end kills the container's processes: `docker-init`, which is PID 1, then ends too, and the restart policy
does the rest. It needs no Docker socket, no further container, and of the image `sh`, `cat` and `timeout`.
"""

from collections.abc import Sequence

FILE = "health.sh"
"""Name of the script, below the folder of the container's files."""

INTERVAL = 5
"""Seconds between the end of a check and the next."""

CHECK_SECONDS = 5
"""How long a check may take; then it is killed and has failed."""

ENGINE_SECONDS = 15
"""The engine's own limit for the script; longer, so that the script always ends by itself and counts."""

_STOPPED = 3
"""Checks in a row that find a stopped process (SIGSTOP) before the watchdog acts: within 15 s."""

_HUNG = 4
"""Checks in a row without an answer: within 40 s."""

_STARTING = 180
"""Failed checks of a program that was never healthy: 15 min at least. A recovery or a first start may take minutes, and
one that is killed starts from the beginning."""

SCRIPT = r"""#!/bin/sh
# health.sh SECONDS STOPPED HUNG REFUSED STARTING COMMAND...
# Runs COMMAND, for SECONDS at most. After too many failures in a row all processes of the container are killed, so that
# the engine starts it anew; each number says how many are too many of a kind. See docs/hardening.md.
set -u
seconds=$1 stopped=$2 hung=$3 refused=$4 starting=$5
shift 5
memory=/tmp/.health # "<yes or no: was healthy> <failures in a row>"; gone when the container starts anew

# state and parent of a process, from its line in /proc; its name in parentheses may hold anything
parse() {
  fields=${1##*) }
  state=${fields%% *}
  fields=${fields#* }
  parent=${fields%% *}
}

# whether a process is the container's own, not that of a `docker exec`, which may be stopped by Ctrl-Z
is_own() {
  own=$1
  while [ "$own" -gt 1 ]; do
    read -r line 2>/dev/null <"/proc/$own/stat" || return 1
    parse "$line"
    own=$parent
  done
  [ "$own" -eq 1 ]
}

find_stopped() {
  found=
  all=$(cat /proc/[0-9]*/stat 2>/dev/null)
  case $all in *') T '*) ;; *) return 1 ;; esac
  set -f
  IFS='
'
  for entry in $all; do
    parse "$entry"
    if [ "$state" = T ] && is_own "${entry%% *}"; then
      # Nothing is lost by letting init go on, and without it nothing of the rest would have an effect.
      if [ "${entry%% *}" = 1 ]; then kill -CONT 1; else found=${entry%%) *}')'; fi
    fi
  done
  unset IFS
  set +f
  [ -n "$found" ]
}

was_healthy=no failures=0
[ ! -e "$memory" ] || read -r was_healthy failures <"$memory"
if find_stopped; then
  why="process $found is stopped" limit=$stopped
else
  read -r before _ </proc/uptime
  if timeout -s KILL "$seconds" "$@"; then
    [ "$was_healthy $failures" = 'yes 0' ] || echo yes 0 >"$memory"
    exit 0
  fi
  read -r after _ </proc/uptime
  why='the health check fails' limit=$refused
  if [ $((${after%.*} - ${before%.*})) -ge 2 ]; then why='no answer to the health check' limit=$hung; fi
fi
failures=$((failures + 1))
echo "$was_healthy $failures" >"$memory"
[ "$was_healthy" = yes ] || limit=$starting
echo "$why ($failures of $limit)"
# A check is started from outside, so it has no parent; elsewhere, `-1` would be all processes of a user.
if [ "$failures" -ge "$limit" ] && [ "$PPID" -eq 0 ]; then
  echo "watchdog: $why, $failures times in a row: the container is started anew" 2>/dev/null >/proc/1/fd/2
  # All but init, which the kernel spares: it ends when its child has. SIGKILL ends stopped processes too.
  kill -KILL -1
fi
exit 1
"""


def command(check: Sequence[str], path: str, stop_seconds: int) -> list[str]:
    """Arguments of a container's health check.

    Args:
        check: the program's own check, without secrets. It asks this program alone: one that fails with a program
            behind it would have healthy containers restarted.
        path: where the container finds `SCRIPT`.
        stop_seconds: how long the program may take to end. Meanwhile it refuses, which must not have it killed.
    """
    refused = stop_seconds // INTERVAL + 2
    limits = (CHECK_SECONDS, _STOPPED, _HUNG, refused, _STARTING)
    return ["sh", path, *map(str, limits), *check]
