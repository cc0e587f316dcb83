#!/bin/bash
# Makes the data folder on first start, as the official image's entrypoint does (MYSQL_DATABASE, MYSQL_USER,
# MYSQL_PASSWORD_FILE, MYSQL_ROOT_PASSWORD_FILE), then becomes the server. Without a root password nobody logs in as root.
set -eu
datadir=/var/lib/mysql/data
for argument in "$@"; do
  case "$argument" in --datadir=*) datadir="${argument#--datadir=}" ;; esac
done
defaults=(--no-defaults --basedir=/opt/mysql --socket=/run/mysqld/mysqld.sock --pid-file=/tmp/mysqld.pid --mysqlx=OFF --character-set-server=utf8mb4)

quoted() { sed -e "s/[\\\\']/\\\\&/g" "$1"; }

statements() {
  echo "CREATE DATABASE \`$MYSQL_DATABASE\`;"
  echo "CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$(quoted "$MYSQL_PASSWORD_FILE")';"
  echo "GRANT ALL ON \`${MYSQL_DATABASE//_/\\_}\`.* TO '$MYSQL_USER'@'%';"
  if [ -n "${MYSQL_ROOT_PASSWORD_FILE:-}" ]; then
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$(quoted "$MYSQL_ROOT_PASSWORD_FILE")';"
  else
    echo "ALTER USER 'root'@'localhost' ACCOUNT LOCK;"
  fi
}

if [ "${1:-}" = mysqld ]; then
  shift
  if [ ! -d "$datadir/mysql" ]; then
    # Made beside and renamed in the end: a container that was killed half way starts afresh.
    new="$datadir.new"
    rm -rf "$new"
    (umask 077 && statements >/tmp/first.sql)
    mysqld "${defaults[@]}" "$@" --initialize-insecure --datadir="$new" --init-file=/tmp/first.sql
    rm /tmp/first.sql
    rmdir "$datadir" 2>/dev/null || true
    mv "$new" "$datadir"
  fi
  exec mysqld "${defaults[@]}" "--datadir=$datadir" "$@"
fi
exec "$@"
