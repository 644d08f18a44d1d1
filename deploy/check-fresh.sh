#!/usr/bin/env bash
# Proves the set-up from nothing: clones what is committed into a folder with a space in its path, with an
# empty home, and runs `make demo` and `make test` there, each twice in a row. As root it does so for root (whose
# folder is closed to others) and again for an ordinary user. Downloads and builds everything anew: it takes
# a while, and is no part of `make test`.
#
#   deploy/check-fresh.sh              # or: make check-fresh
#   STEPS="demo demo" ARGS="--limit 300" deploy/check-fresh.sh   # the demo alone, over fewer texts
#   FRESH_USER=somebody deploy/check-fresh.sh
set -euo pipefail

STEPS=${STEPS:-"demo demo test test"}
repository=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/batchyard-fresh.XXXXXX")
chmod 711 "$work"
failed=0

say() { printf '==> %s\n' "$*"; }

forget() { rm -rf "$work"; }
trap forget EXIT

# The first account of a person, else nobody: it needs an entry in the password file, as Postgres asks for.
ordinary_user() {
  getent passwd | awk -F: '$3 >= 1000 && $3 < 60000 {print $1; found = 1; exit} END {if (!found) print "nobody"}'
}

# run_as USER HOME COMMAND…: in that user's name, with nothing of this shell's Batchyard, Python or make around.
run_as() {
  local user=$1 home=$2 name become=() shared=()
  local unset=(-u VIRTUAL_ENV -u PYTHONPATH -u PYTHONHOME -u MAKEFLAGS -u MAKELEVEL
    -u XDG_CACHE_HOME -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR)
  shift 2
  for name in $(compgen -e BATCHYARD_ || true); do
    [ "$name" = BATCHYARD_WHEELS ] || unset+=(-u "$name")  # a cache of built bindings may be lent
  done
  # Root's default home is shared by the machine: take one of our own, which others may enter.
  [ "$user" != root ] || shared=(BATCHYARD_HOME="$work/data")
  if [ "$user" != "$(id -un)" ]; then
    become=(setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups)
  fi
  "${become[@]}" env "${unset[@]}" HOME="$home" USER="$user" LOGNAME="$user" "${shared[@]}" "$@"
}

# Processes that a step left behind know the clone by its path.
left_behind() { pgrep -f -- "$1" || true; }

check_user() {
  local user=$1 folder="$work/$1" step number=0
  local clone="$folder/a clone" home="$folder/home"
  say "$user: cloning into '$clone'"
  mkdir -p "$home"
  git clone --quiet "file://$repository" "$clone"
  [ "$user" = "$(id -un)" ] || chown -R "$user:" "$folder"
  chmod 700 "$folder" "$home"
  for step in $STEPS; do
    number=$((number + 1))
    local log="$work/$user-$number-$step.log" started=$SECONDS outcome=ok
    say "$user: make $step (step $number)"
    (cd "$clone" && run_as "$user" "$home" make "$step") >"$log" 2>&1 </dev/null || outcome=FAILED
    sleep 1
    local left
    left=$(left_behind "$clone")
    if [ -n "$left" ]; then
      outcome="FAILED (left running: $(echo "$left" | tr '\n' ' '))"
    fi
    printf '    %-6s %-8s %5d s\n' "$step" "$outcome" $((SECONDS - started))
    if [ "$outcome" != ok ]; then
      failed=1
      tail -n 40 "$log" | sed 's/^/    | /'
      return 0
    fi
    tail -n 3 "$log" | sed 's/^/    | /'
  done
}

if [ "$(id -u)" = 0 ]; then
  check_user root
  check_user "${FRESH_USER:-$(ordinary_user)}"
else
  check_user "$(id -un)"
fi

if [ "$failed" = 0 ]; then
  say "every step passed"
else
  say "a step failed"
  exit 1
fi
