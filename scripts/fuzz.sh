#!/usr/bin/env bash
# Runs every fuzzer of the module for FUZZTIME (default 10s) each, and stops at the
# first that finds something. A module without any fuzzer is a failure too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10s}
found=0
while IFS=: read -r file line; do
  name=${line#func }
  name=${name%%(*}
  found=$((found + 1))
  echo "== $name in $(dirname "$file") for $fuzztime"
  go test -run '^$' -fuzzminimizetime 10x -fuzz "^$name\$" -fuzztime "$fuzztime" "$(dirname "$file")"
done < <(grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sort)

((found > 0)) || { echo "fuzz.sh: no fuzzer in this module" >&2; exit 1; }
echo "fuzz.sh: $found fuzzers ran"
