#!/bin/sh
# A coding agent without a screen, in a folder and a home of its own: `run.sh AGENT MODEL FOLDER`. Its model writes
# `note.txt` there by a call and says so; nobody but the gateway is asked for anything.
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
    timeout 120 "$bin/claude" --print "Write note.txt." --model "$model" --dangerously-skip-permissions \
        --verbose --output-format stream-json </dev/null >said.txt 2>log.txt
    ;;
codex)
    timeout 120 "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox --model "$model" \
        -c 'model_provider="farthing"' -c 'model_providers.farthing.name="farthing"' \
        -c "model_providers.farthing.base_url=\"$FARTHING_BASE_URL\"" -c 'model_providers.farthing.wire_api="responses"' \
        -c 'model_providers.farthing.env_key="FARTHING_KEY"' "Write note.txt." </dev/null >said.txt 2>log.txt
    ;;
esac
ended=$?
if [ "$ended" -ne 0 ] || [ "$(cat note.txt)" != "partition 14" ] || ! grep -q "The note is there." said.txt; then
    echo "$agent with $model ended with $ended" && cat said.txt log.txt
    exit 1
fi
