"""The front door while a restore is under way: everybody may read, and nobody is told that a write was kept."""

CLOSED_PATH = "/tmp/pulumi-mlflow-closed"  # noqa: S108 - in nginx's container, where nobody else is
"""File whose presence closes the door to writers."""

CLOSED = "closed"
"""What the program that closes the door says once it is."""

READS = (
    r"^(GET|HEAD|OPTIONS) |"
    r"^POST /(graphql|(ajax-)?api/[\d.]+/mlflow/"
    r"(([\w-]+/)+(search[\w-]*|get-latest-versions)|traces/(metrics|batchGetInfos|calculate-filter-correlation)))(\?|$)"
)
"""Method and URI of requests that only read: MLflow 3.17.2 sends searches by POST. All else is a write."""

WAITING = "This stack is being restored and takes nothing new until that has ended."
"""The answer to a writer, with 503, after which MLflow's client tries again for minutes."""


def script(conf_path: str, pid_path: str) -> str:
    """A shell script for nginx's container that closes the door for as long as somebody holds its standard input.

    So the door opens by itself when the one who closed it is gone, however he went. What is under way is cut off: its
    client must not be told that it was kept.

    Args:
        conf_path: nginx's configuration.
        pid_path: its file with the process id.

    Returns:
        The script. It prints `CLOSED`; it ends at once where the configuration knows nothing of this.
    """
    return f"""
grep -q '{CLOSED_PATH}' {conf_path} || exit 3
trap 'rm -f {CLOSED_PATH}' EXIT
trap exit HUP INT TERM
: > {CLOSED_PATH}
master=$(cat {pid_path})
for status in /proc/[0-9]*/status; do
  if grep -qs "^PPid:[[:space:]]*$master$" "$status"; then
    process=${{status#/proc/}}
    kill -TERM "${{process%/status}}" 2>/dev/null
  fi
done
echo {CLOSED}
cat > /dev/null
"""
