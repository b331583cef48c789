#!/bin/sh
# Everything that the tests need, then all of them: formatting, lints, tests with the SDKs of real clients and with
# the inputs that fuzzing starts from, a minute of fuzzing, and the container's file system.
#
#   tests/run.sh              on a fresh Debian with the Rust toolchain alone, or anywhere later
#   tests/run.sh --clients    instead of all that, coding agents at work through the gateway; they are large
#   tests/run.sh --fuzz       instead of all that, ten minutes of fuzzing for each of the nine targets, two at once
#   tests/run.sh --soak       instead of all that, mixed load for ten minutes, or for FARTHING_SOAK_SECONDS
#
# Needs root only where Debian packages are missing. The SDKs are kept under target/ and installed again when the
# files in tests/sdk that pin them change; that goes on while the gateway is compiled. Stops at the first step that
# fails and names it.
set -u
cd "$(dirname "$0")/.." || exit 1

target=${CARGO_TARGET_DIR:-target}
python=$target/sdk-python
python_previous=$target/sdk-python-previous
node=$target/sdk-node
agents=$target/agents
aider=$target/agents-python

started=$(date +%s)

begin() {
    step=$1
    printf '\n== %s (after %s s) ==\n' "$step" "$(($(date +%s) - started))"
}

fail() {
    printf '\n== failed: %s ==\n' "$step" >&2
    # What still installs would be in the way of the next run.
    wait
    exit 1
}

# Does a thing in the background, out of the output's way: `later NAME COMMAND…`.
later() {
    name=$1
    shift
    mkdir -p "$target/later" || exit 1
    rm -f "$target/later/$name.ended"
    { "$@"; echo $? >"$target/later/$name.ended"; } >"$target/later/$name.log" 2>&1 &
}

# Waits for all such things, and fails at the first of these that did.
arrived() {
    wait
    for name in "$@"; do
        begin "$name, installed meanwhile"
        cat "$target/later/$name.log"
        [ "$(cat "$target/later/$name.ended")" = 0 ] || fail
    done
}

# A C compiler for SQLite and TLS, one for C++ for libFuzzer, a Python that can make environments, and npm: the Node
# that the cases run on comes from its registry, since the SDK wants a newer one than Debian has. Postgres is for the mirror:
# its cases start a cluster of their own and need none that runs.
missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v c++ >/dev/null || echo g++
    command -v ar >/dev/null || echo binutils
    command -v python3 >/dev/null || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    command -v npm >/dev/null || echo nodejs npm
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || echo postgresql
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

# Makes the environment $1 from the pinned list $2.
install_python() {
    cmp -s "$2" "$1/installed.txt" && "$1/bin/python" --version && return
    rm -rf "$1" &&
        python3 -m venv "$1" &&
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$2" &&
        "$1/bin/python" -m pip --disable-pip-version-check check &&
        cp "$2" "$1/installed.txt"
}

# Coding agents, with a binary of its own each.
install_agents() {
    cmp -s tests/clients/agents/package-lock.json "$agents/installed.json" && return
    rm -rf "$agents" &&
        mkdir -p "$agents" &&
        cp tests/clients/agents/package.json tests/clients/agents/package-lock.json "$agents" &&
        (cd "$agents" && npm ci --no-audit --no-fund --loglevel=error) &&
        cp tests/clients/agents/package-lock.json "$agents/installed.json"
}

install_node() {
    cmp -s tests/sdk/node/package-lock.json "$node/installed.json" && "$node/node_modules/.bin/node" --version && return
    rm -rf "$node" &&
        mkdir -p "$node" &&
        cp tests/sdk/node/package.json tests/sdk/node/package-lock.json "$node" &&
        (cd "$node" && npm ci --no-audit --no-fund --loglevel=error) &&
        # Some versions of npm leave this link out.
        mkdir -p "$node/node_modules/.bin" &&
        (cd "$node/node_modules/.bin" && ln -sf ../node-linux-*/bin/node node) &&
        "$node/node_modules/.bin/node" --version &&
        cp tests/sdk/node/package-lock.json "$node/installed.json"
}

case ${1-} in
'') ;;
--clients)
    begin "Debian packages"
    install_packages || fail
    begin "Node"
    install_node || fail
    begin "coding agents"
    install_agents || fail
    begin "coding agent for Python"
    install_python "$aider" tests/clients/agents/requirements.txt || fail
    begin "coding agents at work"
    FARTHING_TEST_AGENTS=$(cd "$agents/node_modules" && pwd)
    FARTHING_TEST_AIDER=$(cd "$aider/bin" && pwd)/aider
    PATH=$(cd "$node/node_modules/.bin" && pwd):$PATH
    export FARTHING_TEST_AGENTS FARTHING_TEST_AIDER PATH
    cargo test --test it clients::agents || fail
    begin "everything passed"
    exit
    ;;
--fuzz)
    begin "Debian packages"
    install_packages || fail
    begin "fuzzing, ten minutes a target"
    fuzz/run.sh 600 || fail
    begin "everything passed"
    exit
    ;;
--soak)
    begin "Debian packages"
    install_packages || fail
    begin "soak"
    cargo test --test it -- soak:: --ignored --nocapture || fail
    begin "everything passed"
    exit
    ;;
*)
    echo "unknown argument \`$1\`; wanted \`--clients\`, \`--fuzz\`, \`--soak\` or none" >&2
    exit 2
    ;;
esac

begin "Debian packages"
install_packages || fail

later sdk-python install_python "$python" tests/sdk/requirements.txt
later sdk-python-previous install_python "$python_previous" tests/sdk/requirements-previous.txt
later sdk-node install_node

begin "cargo fmt --check"
cargo fmt --check && cargo fmt --check --manifest-path fuzz/Cargo.toml || fail

# Nothing is compiled a second time there.
if [ -n "${CI-}" ]; then
    export CARGO_INCREMENTAL=0
fi

# Lints and machine code in one pass: Clippy's compiler stands in for the plain one wherever the gateway itself is
# compiled, and dependencies are built once for both.
begin "cargo build, with Clippy's lints"
RUSTC_WORKSPACE_WRAPPER=$(rustc --print sysroot)/bin/clippy-driver
CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
export RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS
cargo build --all-targets || fail

arrived sdk-python sdk-python-previous sdk-node

begin "cargo test"
FARTHING_TEST_PYTHON=$(cd "$python" && pwd)/bin/python
FARTHING_TEST_PYTHON_PREVIOUS=$(cd "$python_previous" && pwd)/bin/python
FARTHING_TEST_NODE_MODULES=$(cd "$node/node_modules" && pwd)
export FARTHING_TEST_PYTHON FARTHING_TEST_PYTHON_PREVIOUS FARTHING_TEST_NODE_MODULES
# Many cases wait for other processes most of the time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"
cargo test || fail

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

unset RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS
begin "fuzzing, a minute in all"
fuzz/run.sh 7 || fail

begin "everything passed"
