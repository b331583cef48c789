#!/bin/sh
# Builds the fuzz targets with the stable toolchain and runs each for so many seconds.
#
#   fuzz/run.sh SECONDS [TARGET…]     all targets where none is named
#
# Starts from what is kept in fuzz/corpus. What else it learns stays in target/fuzz, and so does an input that breaks
# a property: the run ends with status 1 and says where it is.
set -u
cd "$(dirname "$0")/.." || exit 1

seconds=${1:?"usage: fuzz/run.sh SECONDS [TARGET…]"}
shift
[ $# -gt 0 ] || set -- sse body reply said_request said_reply said_stream config prices policy

target=${CARGO_TARGET_DIR:-target}
work=$target/fuzz

# The versions that the gateway is built with; this also saves building them again.
cp Cargo.lock fuzz/Cargo.lock &&
    RUSTC_WRAPPER=$PWD/fuzz/instrument.sh cargo build --manifest-path fuzz/Cargo.toml --target-dir "$target" --bins ||
    exit 1

for name in "$@"; do
    mkdir -p "$work/corpus/$name" "$work/findings" || exit 1
    printf '%s: %s s\n' "$name" "$seconds"
    if ! "$target/debug/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -dict="fuzz/dictionaries/$name.dict" -artifact_prefix="$work/findings/$name-" \
        "$work/corpus/$name" "fuzz/corpus/$name" >"$work/$name.log" 2>&1; then
        tail -n 40 "$work/$name.log" >&2
        echo "$name: an input breaks its property: $work/findings, $work/$name.log" >&2
        exit 1
    fi
    grep '^Done' "$work/$name.log"
done
