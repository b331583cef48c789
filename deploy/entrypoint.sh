#!/bin/sh
# What the container runs: `farthing` with these arguments.
#
# At the first start there is no configuration yet, and one is written with a fresh virtual key in it, since beyond
# loopback, where a container has to listen, nothing is served without keys. The key is printed this once and kept
# nowhere: the file holds its hash.
set -eu

config=${FARTHING_CONFIG:-/var/lib/farthing/farthing.yaml}

first_start() {
    if [ -z "${OPENAI_API_KEY:-}" ]; then
        echo "farthing: there is no $config and OPENAI_API_KEY is not set; wanted one of them" >&2
        exit 1
    fi
    umask 077
    key=sk-farthing-$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d '=')
    hash=$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)
    cat >"$config.new" <<YAML
# Written at the first start. farthing.example.yaml in the repository explains every key.
server:
  listen: 0.0.0.0:4100
${FARTHING_ADMIN_KEY:+  admin_listen: 0.0.0.0:4101
  admin_key: env:FARTHING_ADMIN_KEY
}providers:
  openai:
    protocol: openai
    base_url: https://api.openai.com/v1
    key: env:OPENAI_API_KEY
    models: ["gpt-*", "chatgpt-*", "o[0-9]*"]
tiers:
  frontier: [openai/gpt-5.6-sol]
  reasoning: [openai/gpt-5.6-terra]
  lightweight: [openai/gpt-5.6-luna]
keys:
  - { sha256: $hash, name: first, team: default }
YAML
    if ! farthing check --config "$config.new" >/dev/null; then
        rm -f "$config.new"
        exit 1
    fi
    cat <<TEXT
farthing: there was no configuration, so $config was written, with one key.
It is shown this once and only its hash is kept:

    $key

Agents use it as their API key. Container logs may keep this text: exchange the key for one that was never printed.
TEXT
    mv "$config.new" "$config"
}

if [ "$*" = serve ] && [ ! -e "$config" ]; then
    first_start
fi
exec farthing "$@"
