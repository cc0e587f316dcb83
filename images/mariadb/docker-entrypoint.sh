#!/bin/bash
# Makes the data folder on first start, as the official image's entrypoint does (MARIADB_DATABASE, MARIADB_USER,
# MARIADB_PASSWORD_FILE, MARIADB_ROOT_PASSWORD_FILE), then becomes the server. Without a root password nobody logs in as
# root.
set -eu
datadir=/var/lib/mysql/data
for argument in "$@"; do
  case "$argument" in --datadir=*) datadir="${argument#--datadir=}" ;; esac
done
defaults=(--no-defaults --socket=/run/mysqld/mysqld.sock --pid-file=/tmp/mysqld.pid --character-set-server=utf8mb4)

quoted() { sed -e "s/[\\\\']/\\\\&/g" "$1"; }

statements() {
  echo "FLUSH PRIVILEGES;"
  echo "CREATE DATABASE \`$MARIADB_DATABASE\`;"
  echo "CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$(quoted "$MARIADB_PASSWORD_FILE")';"
  echo "GRANT ALL ON \`${MARIADB_DATABASE//_/\\_}\`.* TO '$MARIADB_USER'@'%';"
  if [ -n "${MARIADB_ROOT_PASSWORD_FILE:-}" ]; then
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$(quoted "$MARIADB_ROOT_PASSWORD_FILE")';"
  else
    echo "ALTER USER 'root'@'localhost' ACCOUNT LOCK;"
  fi
}

if [ "${1:-}" = mariadbd ]; then
  shift
  if [ ! -d "$datadir/mysql" ]; then
    # Made beside and renamed in the end: a container that was killed half way starts afresh.
    new="$datadir.new"
    rm -rf "$new"
    mariadb-install-db --no-defaults --datadir="$new" --auth-root-authentication-method=normal --skip-test-db
    statements | mariadbd "${defaults[@]}" "$@" --bootstrap --datadir="$new"
    rmdir "$datadir" 2>/dev/null || true
    mv "$new" "$datadir"
  fi
  exec mariadbd "${defaults[@]}" "--datadir=$datadir" "$@"
fi
exec "$@"
