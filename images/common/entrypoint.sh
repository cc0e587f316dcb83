#!/bin/sh
# Exports every file in /run/pulumi-mlflow/env as a variable of that name, then becomes the program. So secrets reach
# programs that read only their environment without standing in `docker inspect` or in an argument list.
set -eu
for file in /run/pulumi-mlflow/env/*; do
  [ -f "$file" ] || continue
  export "${file##*/}=$(cat "$file")"
done
exec "$@"
