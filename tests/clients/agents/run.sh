#!/bin/sh
# A coding agent without a screen, in a folder and a home of its own: `run.sh AGENT MODEL FOLDER`. Its model writes
# `note.txt` there and says so; nobody but the gateway is asked for anything.
set -u
agent=$1 model=$2 folder=$3
bin=$FARTHING_AGENTS/.bin
rm -rf "$folder" && mkdir -p "$folder/home" && cd "$folder" || exit 1
export HOME="$folder/home" CODEX_HOME="$folder/home/codex"
mkdir -p "$CODEX_HOME"
case $agent in
claude-code)
    export ANTHROPIC_BASE_URL="${FARTHING_BASE_URL%/v1}" ANTHROPIC_API_KEY="$FARTHING_KEY"
    export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1 IS_SANDBOX=1
    timeout 240 "$bin/claude" --print "Write note.txt." --model "$model" --dangerously-skip-permissions \
        --verbose --output-format stream-json </dev/null >said.txt 2>log.txt
    ;;
codex)
    timeout 240 "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox --model "$model" \
        -c 'model_provider="farthing"' -c 'model_providers.farthing.name="farthing"' \
        -c "model_providers.farthing.base_url=\"$FARTHING_BASE_URL\"" -c 'model_providers.farthing.wire_api="responses"' \
        -c 'model_providers.farthing.env_key="FARTHING_KEY"' "Write note.txt." </dev/null >said.txt 2>log.txt
    ;;
opencode)
    # It asks for a title while it works: of another model, so that each answer has one asker.
    title=${model%-writes-*}-plain
    cat >opencode.json <<EOF
{ "provider": { "farthing": {
      "npm": "@ai-sdk/openai-compatible",
      "options": { "baseURL": "$FARTHING_BASE_URL", "apiKey": "$FARTHING_KEY" },
      "models": { "$model": {}, "$title": {} } } },
  "small_model": "farthing/$title", "permission": "allow", "autoupdate": false, "share": "disabled" }
EOF
    export OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1 OPENCODE_DISABLE_DEFAULT_PLUGINS=1
    timeout 240 "$FARTHING_AGENTS/opencode-linux-x64-baseline/bin/opencode" run --model "farthing/$model" \
        "Write note.txt." </dev/null >said.txt 2>log.txt
    ;;
aider)
    export OPENAI_API_BASE="$FARTHING_BASE_URL" OPENAI_API_KEY="$FARTHING_KEY" LITELLM_LOCAL_MODEL_COST_MAP=True
    timeout 240 "$FARTHING_AIDER" --model "openai/$model" --weak-model "openai/$model" --edit-format whole --yes-always \
        --no-git --no-check-update --no-show-release-notes --no-show-model-warnings --no-analytics --no-pretty \
        --message "Write note.txt." note.txt </dev/null >said.txt 2>log.txt
    ;;
esac
ended=$?
if [ "$ended" -ne 0 ] || [ "$(cat note.txt)" != "partition 14" ] || ! grep -q "The note is there." said.txt; then
    echo "$agent with $model ended with $ended" && cat said.txt log.txt
    exit 1
fi
