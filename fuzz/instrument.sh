#!/bin/sh
# Stands in front of rustc (RUSTC_WRAPPER) and lets libFuzzer see which branches an input takes: in the gateway and
# in the properties, not in what they depend on, so that this is built once for fuzzing and for everything else.
case "$CARGO_PKG_NAME" in
    farthing | farthing-fuzz)
        exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
esac
