#!/usr/bin/env bash
# clean-test - every script of the tree is clean, can be run, and tells how to use it.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"

mapfile -t scripts < <(grep -rlIE -m1 '^#!.*\b(ba)?sh$|^# shellcheck shell=' scripts tests/scripts tests/e2e tests/attack \
	tests/fault tests/bench .ci 2>/dev/null | sort)
check 'there are scripts to look at' test "${#scripts[@]}" -gt 8
for script in "${scripts[@]}"; do
	check "$script is clean" shellcheck -x "$script"
	case $script in
	scripts/lib/* | */lib.sh) check "$script is not run by itself" not test -x "$script" ;;
	*) check "$script can be run" test -x "$script" ;;
	esac
	case $script in
	scripts/lib/*) ;;
	scripts/*) check "$script --help tells how" says usage: exits 0 "$script" --help ;;
	esac
done
for script in scripts/broker scripts/dev scripts/setup scripts/test scripts/demo; do
	check "$script refuses an unknown option with exit 2" exits 2 "$script" --dance
done
