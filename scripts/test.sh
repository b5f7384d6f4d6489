#!/usr/bin/env bash
# Everything that must hold before a change lands, cheapest first. Prints the counts of every part at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=()
# A failing test's own words say more than the frames above them.
export RUST_BACKTRACE=0

step() { # step NAME COMMAND...: run, show, remember a failure and go on
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" 2>&1 | tee "$log/$name.log"; then
    printf '== %s: ok (%ss)\n' "$name" $((SECONDS - start))
  else
    failed+=("$name")
    printf '== %s: FAILED (%ss)\n' "$name" $((SECONDS - start))
  fi
}

scripts/setup.sh test
step format cargo fmt --all -- --check
step clippy cargo clippy --workspace --all-targets --quiet -- -D warnings
step tidy cargo xtask tidy
# Every step selects the whole workspace: another selection would build the dependencies again, with other features.
step unit cargo test --workspace --lib --bins --test it --quiet
step simulation cargo test --workspace --test conformance -- --nocapture
step release-build cargo build --release --package lateen-cli
# The conformance data with real traffic takes most of an hour: make conformance runs it.
step end-to-end env LATEEN_BIN="$LATEEN" cargo test --workspace --test e2e -- --test-threads=1 --nocapture --skip conformance::

count() { # count WORD: sum of "N WORD" over all closing lines of the test runner
  cat "$log"/*.log | sed -n "s/^test result: .*[^0-9]\([0-9][0-9]*\) $1.*/\1/p" | awk '{s += $1} END {print s + 0}'
}

printf '\n'
grep -hE '^[a-z-]+: passed [0-9]+ of [0-9]+' "$log"/*.log || true
passed=$(count passed) failures=$(count failed) skipped=$(count ignored)
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed steps: %s\n' "${failed[*]}"
  [ "$failures" -gt 0 ] || failures=${#failed[@]}
fi
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failures" "$skipped"
[ ${#failed[@]} -eq 0 ]
