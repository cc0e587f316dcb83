#!/bin/bash
# Makes the cluster on first start, as the official image's entrypoint does, then becomes the server.
set -eu
if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Made beside and renamed in the end: a container that was killed half way starts afresh.
  new="$PGDATA.new"
  rm -rf "$new"
  initdb -D "$new" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 \
    --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 --data-checksums
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  echo "listen_addresses = '*'" >>"$new/postgresql.conf"
  pg_ctl -D "$new" -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
  psql -h /tmp -U "$POSTGRES_USER" -d postgres -v ON_ERROR_STOP=1 -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
  pg_ctl -D "$new" -m fast -w stop
  rmdir "$PGDATA" 2>/dev/null || true
  mv "$new" "$PGDATA"
fi
exec "$@"
