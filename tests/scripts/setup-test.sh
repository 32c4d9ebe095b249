#!/usr/bin/env bash
# setup-test - what setup tells; installing is not tried here.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A dpkg-query that knows of one package less, and an apt-get that must not be called.
mkdir "$work/bin"
real=$(command -v dpkg-query)
cat >"$work/bin/dpkg-query" <<TEXT
#!/bin/sh
$real "\$@" | sed 's/^shellcheck installed\$/shellcheck config-files/'
TEXT
cat >"$work/bin/apt-get" <<TEXT
#!/bin/sh
touch $work/apt-was-called
exit 100
TEXT
chmod +x "$work/bin/dpkg-query" "$work/bin/apt-get"

with_one_less() {
	PATH=$work/bin:$PATH "$@"
}

check 'all is there' "$repo/scripts/setup" --check
check 'what is missing is named' says 'missing: shellcheck' with_one_less "$repo/scripts/setup" --check
check 'and is a no' exits 1 with_one_less "$repo/scripts/setup" --check
check 'to look installs nothing' not test -e "$work/apt-was-called"
check 'an unknown option is exit 2' exits 2 "$repo/scripts/setup" --all
