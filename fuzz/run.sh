#!/bin/sh
# Builds the fuzz targets with the stable toolchain and runs each for so many seconds, two at once.
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

# Code that is optimised tries four times as many inputs a second, and is four times as long in the making.
if [ "$seconds" -lt 60 ]; then level=0; else level=1; fi

# The versions that the gateway is built with; this also saves building them again.
cp Cargo.lock fuzz/Cargo.lock &&
    RUSTC_WRAPPER=$PWD/fuzz/instrument.sh cargo build --manifest-path fuzz/Cargo.toml --target-dir "$target" --bins \
        --config "profile.dev.package.farthing.opt-level=$level" || exit 1

fuzz() {
    mkdir -p "$work/corpus/$1" "$work/findings" || return 1
    if ! "$target/debug/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -dict="fuzz/dictionaries/$1.dict" -artifact_prefix="$work/findings/$1-" \
        "$work/corpus/$1" "fuzz/corpus/$1" >"$work/$1.log" 2>&1; then
        tail -n 40 "$work/$1.log" >&2
        echo "$1: an input breaks its property: $work/findings, $work/$1.log" >&2
        return 1
    fi
    printf '%s: %s\n' "$1" "$(grep '^Done' "$work/$1.log")"
}

# Every other target, from the first of those given: one lane; the rest are the other.
lane() {
    while [ $# -gt 0 ]; do
        fuzz "$1" || return 1
        shift
        [ $# -eq 0 ] || shift
    done
}

lane "$@" &
first=$!
shift
lane "$@"
ended=$?
wait "$first" && [ "$ended" -eq 0 ]
