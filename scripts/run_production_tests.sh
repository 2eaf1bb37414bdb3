#!/usr/bin/env bash
# The operations guide's name for `crypto-bot check`: -a all exchanges, -c API compatibility, -s the smallest order too,
# -v every check; or the name of one exchange. Exit status as `crypto-bot check`.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
command="$here/.venv/bin/crypto-bot"
[ -x "$command" ] || command=crypto-bot

usage() {
    echo "usage: $(basename "$0") [-c] [-s] [-v] (-a | EXCHANGE)"
    sed -n '2,3s/^# //p' "$0"
}

arguments=()
while getopts ":acsvh" flag; do
    case $flag in
        a) arguments+=(--all) ;;
        c) arguments+=(--compat) ;;
        s) arguments+=(--orders) ;;
        v) arguments+=(--verbose) ;;
        h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
exec "$command" check "${arguments[@]}" "$@"
