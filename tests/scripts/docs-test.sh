#!/usr/bin/env bash
# docs-test - docs/local-api.md names what the sources have, and nothing that they have not.
# shellcheck disable=SC2016  # the backticks are the page's
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$repo"

bin=${SALLYPORT_BIN:-$repo/build/release/bin}
page=docs/local-api.md

# problems - each row of PROBLEM_MAP as the page's tables begin: | `name` | status |
problems() {
	sed -nE 's/^[[:space:]]*X\(PROBLEM_[A-Z_]+,[[:space:]]*([0-9]+),[[:space:]]*"([a-z-]+)".*/| `\2` | \1 |/p' \
		shared/http/problem.h
}

# keys PROGRAM - each key of its example as the page's tables begin: | `key` | kind | default |
keys() {
	"$bin/$1" example | awk '
		/^# / { about = substr($0, 3); next }
		/=/ {
			key = $0
			sub(/^#/, "", key)
			sub(/ = .*/, "", key)
			kind = about
			value = "must be given"
			if (match(about, /, default .*$/)) {
				value = "`" substr(about, RSTART + 10) "`"
				kind = substr(about, 1, RSTART - 1)
			} else if (sub(/, may be absent$/, "", kind)) {
				value = "none"
			} else {
				sub(/, must be given$/, "", kind)
			}
			printf "| `%s` | %s | %s |\n", key, kind, value
		}'
}

# metrics - every name that a daemon registers
metrics() {
	grep -rhoE --include='*.c' '"sallyport_[a-z0-9_]+"' webapp-agent app-node shared | tr -d '"' | sort -u
}

# reasons - the label of each verdict of the guard and of each refusal of the local API
reasons() {
	sed -nE 's/^[[:space:]]*X\(GUARD_[A-Z_]+,[[:space:]]*"([a-z-]+)".*/\1/p' app-node/guard.h | grep -vx pass
	grep -oE '\{ "[a-z-]+", &c->[a-z_]+ \}' shared/daemon/probes.c | cut -d'"' -f2
}

# operation_keys - each key of an operation as the contract's reader knows it: | `key` | kinds it stands on |
operation_keys() {
	sed -nE 's/^[[:space:]]*\{ "([a-z]+)", (ON_[A-Z_| ]+), .*/\1 \2/p' shared/contract/contract.c | sed -E '
		s/ON_ALL/all/; s/ON_HANDLED/call, send, task/; s/ON_STORED/send, push, task/; s/ON_([A-Z]+)/\L\1/g; s/ \| /, /g
		s/^([a-z]+) (.*)$/| `\1` | \2 |/'
}

# page_operation_keys - the same as the page's tables have it; a row may have several
page_operation_keys() {
	chapter '5. What a contract says' | sed -nE 's/^\| (`[a-z`, ]+`) \| ([a-z, ]+) \| .*/\1|\2/p' |
		while IFS='|' read -r names kinds; do
			for name in ${names//,/}; do
				printf '| %s | %s |\n' "$name" "$kinds"
			done
		done
}

# chapter TITLE - the page from this heading to the next one of its level
chapter() {
	awk -v title="## $1" '/^## / { inside = ($0 == title) } inside' "$page"
}

# has_row ROW - does the page have a line of a table that begins so?
has_row() {
	awk -v row="$1" 'index($0, row) == 1 { found = 1 } END { exit !found }' "$page" || {
		printf 'no row: %s\n' "$1"
		return 1
	}
}

has_name() {
	grep -qF -- "\`$1\`" "$page"
}

# only_known KNOWN SEEN - is every line of SEEN one of KNOWN?
only_known() {
	local strange
	strange=$(comm -13 <(sort -u <<<"$1") <(sort -u <<<"$2"))
	[[ -z $strange ]] || {
		printf 'not in the sources:\n%s\n' "$strange"
		return 1
	}
}

lines_at_least() {
	(($(wc -l <<<"$2") >= $1))
}

# An extraction that finds nothing would make everything below true.
all_problems=$(problems)
agent_keys=$(keys webapp-agent)
node_keys=$(keys app-node)
all_metrics=$(metrics)
all_reasons=$(reasons)
check 'problem.h has every problem' same "$(grep -cE '^[[:space:]]*X\(PROBLEM_' shared/http/problem.h)" "$(wc -l <<<"$all_problems")"
check 'the example of webapp-agent has keys' lines_at_least 20 "$agent_keys"
check 'the example of app-node has keys' lines_at_least 20 "$node_keys"
check 'the sources have metrics' lines_at_least 30 "$all_metrics"
check 'the sources have reasons' lines_at_least 12 "$all_reasons"

while read -r row; do
	check "problem ${row:0:60}" has_row "$row"
done <<<"$all_problems"
while read -r row; do
	check "key ${row:0:70}" has_row "$row"
done < <(sort -u <<<"$agent_keys"$'\n'"$node_keys")
while read -r name; do
	check "metric $name" has_row "| \`$name\` |"
done <<<"$all_metrics"
while read -r name; do
	check "reason $name" has_name "$name"
done <<<"$all_reasons"

check 'the contract has keys' lines_at_least 15 "$(operation_keys)"
check 'the page has each of them, on its kinds, and no other' same "$(operation_keys | sort)" "$(page_operation_keys | sort)"
check 'no problem on the page is unknown' only_known "$(cut -d'|' -f2,3 <<<"$all_problems")" \
	"$(grep -E '^\| `[a-z-]+` \| [0-9]{3} \|' "$page" | cut -d'|' -f2,3)"
check 'no key on the page is unknown' only_known "$(cut -d'|' -f2 <<<"$agent_keys"$'\n'"$node_keys")" \
	"$(chapter '4. Config files' | grep -E '^\| `' | cut -d'|' -f2)"
check 'no metric on the page is unknown' only_known "$all_metrics" "$(grep -oE 'sallyport_[a-z0-9_]+' "$page")"
