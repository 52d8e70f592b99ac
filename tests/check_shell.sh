#!/usr/bin/env bash
# Runs shellcheck on every tracked shell script, found by its first line.
# Usage: tests/check_shell.sh
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t scripts < <(git grep -lIE '^#!.*\b(ba)?sh$|^# shellcheck shell=' -- .ci scripts tests bench)
shellcheck "${scripts[@]}"
