#!/bin/sh
# Everything that the tests need, then all of them: formatting, lints, tests with the SDKs of real clients, the
# container's file system, and a minute of fuzzing.
#
#   tests/run.sh              on a fresh Debian with the Rust toolchain alone, or anywhere later
#   tests/run.sh --fuzz       only fuzzing, ten minutes for each of the five targets
#
# Needs root only where Debian packages are missing. The Python environment is kept under target/ and made
# again when tests/sdk/requirements.txt changes. Stops at the first step that fails and names it.
set -u
cd "$(dirname "$0")/.." || exit 1

target=${CARGO_TARGET_DIR:-target}
venv=$target/sdk-python

begin() {
    step=$1
    printf '\n== %s ==\n' "$step"
}

fail() {
    printf '\n== failed: %s ==\n' "$step" >&2
    exit 1
}

# A C compiler for SQLite and TLS, one for C++ for libFuzzer, and a Python that can make environments.
missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v c++ >/dev/null || echo g++
    command -v ar >/dev/null || echo binutils
    command -v python3 >/dev/null || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

install_packages() {
    packages=$(missing_packages)
    [ -z "$packages" ] && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing, and only root can install them here:" $packages >&2
        return 1
    fi
    apt-get update -q || return
    # shellcheck disable=SC2086 # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
}

install_python() {
    cmp -s tests/sdk/requirements.txt "$venv/installed.txt" && "$venv/bin/python" -c 'import openai, pytest' && return
    rm -rf "$venv" &&
        python3 -m venv "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r tests/sdk/requirements.txt &&
        "$venv/bin/python" -m pip --disable-pip-version-check check &&
        cp tests/sdk/requirements.txt "$venv/installed.txt"
}

begin "Debian packages"
install_packages || fail

if [ "${1:-}" = --fuzz ]; then
    begin "fuzzing, ten minutes a target"
    fuzz/run.sh 600 || fail
    exit
fi

begin "Python environment with the SDKs"
install_python || fail

begin "cargo fmt --check"
cargo fmt --check || fail

begin "cargo clippy"
cargo clippy --all-targets -- -D warnings || fail

begin "cargo test"
FARTHING_TEST_PYTHON=$(cd "$venv" && pwd)/bin/python cargo test || fail

if cargo deny --version >/dev/null 2>&1; then
    begin "cargo deny check"
    cargo deny check || fail
fi

if [ "$(id -u)" -eq 0 ] && unshare --net true 2>/dev/null; then
    begin "the container's file system"
    unshare --net python3 tests/container.py "$target/debug/farthing" || fail
else
    begin "the container's file system: left out, for want of root or of networks of its own"
fi

begin "fuzzing, a minute in all"
cargo fmt --check --manifest-path fuzz/Cargo.toml || fail
fuzz/run.sh 12 || fail

begin "everything passed"
