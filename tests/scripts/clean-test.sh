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
check 'kills are for outages' exits 2 scripts/test --kills 3
check 'no kills are none' exits 2 scripts/test outages --kills 0
check 'outages are not quick' exits 2 scripts/test outages --quick

# Pages: what they lead to is there, and no page is without a way to it from README.md.
# links PAGE - prints what it leads to, from here; a folder by its own page, if it has one
links() {
	local link
	while read -r link; do
		link=$(realpath -ms --relative-to=. "$(dirname "$1")/$link")
		if [[ -f $link/README.md ]]; then echo "$link/README.md"; else echo "$link"; fi
	done < <(grep -oE '\]\([^)#:]+' "$1" | cut -c3- | sort -u)
}
# reachable PAGE... - prints all pages one comes to from these
reachable() {
	local all=("$@") page link i
	for ((i = 0; i < ${#all[@]}; i++)); do
		page=${all[i]}
		while read -r link; do
			if [[ $link == *.md && " ${all[*]} " != *" $link "* ]]; then all+=("$link"); fi
		done < <(links "$page")
	done
	printf '%s\n' "${all[@]}"
}
for page in README.md docs/*.md examples/*/README.md broker-config/README.md; do
	while read -r link; do
		check "$page leads to $link" test -e "$link"
	done < <(links "$page")
done
known=$(reachable README.md)
for page in docs/*.md; do
	check "one comes to $page" grep -qxF "$page" <<<"$known"
done
while read -r script; do
	check "README.md names $script, which can be run" test -x "$script"
done < <(grep -oE '\bscripts/[a-z-]+' README.md | sort -u)
