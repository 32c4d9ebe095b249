#!/usr/bin/env bash
# demo-test - the demo from its first line to its last, small; and what it does when it cannot or may not go on. With the
# programs of SALLYPORT_BIN.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export TMPDIR=$work/tmp
mkdir "$TMPDIR"

demo() {
	"$repo/scripts/demo" --calls 100 --sends 50 --rounds 3 "$@"
}

# figure FILTER
figure() {
	jq -e "$1" "$work/figures.json"
}

at_end() {
	local site
	for site in "$TMPDIR"/sallyport-demo.*/site; do
		"$repo/scripts/dev" down --dir "$site"
	done
}

# Called wrongly ---------------------------------------------------------------------------------------------------

check 'no calls is exit 2' exits 2 demo --calls 0
check 'figures into a folder that is not there are told at once' says 'nothing was started' demo --json "$work/none/figures.json"
check 'figures in place of a folder too' exits 1 demo --json "$TMPDIR"

# All of it --------------------------------------------------------------------------------------------------------

check 'it runs' demo --json "$work/figures.json"
cp "$work/output" "$work/said"
check 'every step has its number' same '1 2 3 4 5 6 7 8 9' "$(grep -oE '^[0-9]+\.' "$work/said" | tr -d . | paste -sd' ')"
check 'errors have their names' grep -q 'deadline-exceeded' "$work/said"
check 'and each of their lines is one' grep -qE '^   web.py: try again in [0-9]+ ms$' "$work/said"
check 'the figures are of as many calls as asked for' figure '.calls == 100 and .sends == 50 and .errors == 0'
check 'and of the floor beside them' figure '.floor.p50_us > 0 and .call.p50_us > 0 and .ratio_p50 > 0'
verdict() {
	jq -r 'if .ratio_p50 <= .ratio_p50_limit then "yes" else "no" end' "$work/figures.json"
}
check 'and of what is promised of them' figure '.ratio_p50_limit == 1.6'
check 'whether it was kept is said beside the figures' grep -qE "^call: p50 [0-9.]+ .+ the floor \(at most 1\.6: $(verdict)\), p99" "$work/said"
check 'and in the last line' grep -qE "^   call p50 [0-9]+ us, .* at most 1\.6: $(verdict)" <(tail -n 1 "$work/said")
check 'nothing is left of it' same '' "$(ls "$TMPDIR")"

# Interrupted ------------------------------------------------------------------------------------------------------

in_step() {
	grep -q "^$step\\." "$1"
}
for step in 3 5; do
	check "SIGINT to it alone ends it in step $step" interrupt 30 in_step \
		"$repo/scripts/demo" --calls 100000 --sends 100000
	check 'nothing runs then' same '' "$(pgrep -f "$TMPDIR" || true)"
	check 'and nothing is left' same '' "$(ls "$TMPDIR")"
done
