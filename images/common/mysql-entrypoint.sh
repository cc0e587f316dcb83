#!/bin/bash
# Makes the data folder of MySQL or MariaDB on first start, as their official images' entrypoints do (MYSQL_DATABASE,
# MYSQL_USER, MYSQL_PASSWORD_FILE, MYSQL_ROOT_PASSWORD_FILE, or the same with MARIADB_), then becomes the server. Without a
# root password nobody logs in as root.
set -eu
server="${1:-}"
case "$server" in
  mysqld) own=(--basedir=/opt/mysql --mysqlx=OFF) ;;
  mariadbd) own=() ;;
  *) exec "$@" ;;
esac
shift
datadir=/var/lib/mysql/data
for argument in "$@"; do
  case "$argument" in --datadir=*) datadir="${argument#--datadir=}" ;; esac
done
defaults=(--no-defaults "${own[@]}" --socket=/run/mysqld/mysqld.sock --pid-file=/tmp/mysqld.pid --character-set-server=utf8mb4)

given() {
  local mariadb="MARIADB_$1" mysql="MYSQL_$1"
  echo "${!mariadb:-${!mysql:-}}"
}

quoted() { sed -e "s/[\\\\']/\\\\&/g" "$1"; }

statements() {
  local database user root
  database="$(given DATABASE)" user="$(given USER)" root="$(given ROOT_PASSWORD_FILE)"
  echo "FLUSH PRIVILEGES;"
  echo "CREATE DATABASE \`$database\`;"
  echo "CREATE USER '$user'@'%' IDENTIFIED BY '$(quoted "$(given PASSWORD_FILE)")';"
  echo "GRANT ALL ON \`${database//_/\\_}\`.* TO '$user'@'%';"
  if [ -n "$root" ]; then
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$(quoted "$root")';"
  else
    echo "ALTER USER 'root'@'localhost' ACCOUNT LOCK;"
  fi
}

if [ ! -d "$datadir/mysql" ]; then
  # Made beside and renamed in the end: a container that was killed half way starts afresh.
  new="$datadir.new"
  rm -rf "$new"
  if [ "$server" = mysqld ]; then
    (umask 077 && statements >/tmp/first.sql)
    mysqld "${defaults[@]}" "$@" --initialize-insecure --datadir="$new" --init-file=/tmp/first.sql
    rm /tmp/first.sql
  else
    mariadb-install-db --no-defaults --datadir="$new" --auth-root-authentication-method=normal --skip-test-db
    statements | mariadbd "${defaults[@]}" "$@" --bootstrap --datadir="$new"
  fi
  rmdir "$datadir" 2>/dev/null || true
  mv "$new" "$datadir"
fi
exec "$server" "${defaults[@]}" "--datadir=$datadir" "$@"
