# shellcheck shell=bash
# lib.sh - small words for testing scripts: each check is one line of output, and the last line counts them.

repo=$(dirname "$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")")
# shellcheck source=scripts/lib/base.sh
. "$repo/scripts/lib/base.sh"
# shellcheck source=scripts/lib/proc.sh
. "$repo/scripts/lib/proc.sh"

passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-test.XXXXXX")

# at_end - ends what the test started; the test may name it anew.
at_end() {
	:
}

finish() {
	local status=$?
	trap - EXIT INT TERM
	at_end >/dev/null 2>&1 || true
	rm -rf -- "$work"
	printf '%d passed, %d failed\n' "$passed" "$failed"
	((failed == 0 && passed > 0 && status == 0)) || exit 1
	exit 0
}
trap finish EXIT
trap 'exit 1' INT TERM

# check NAME COMMAND... - passes when COMMAND succeeds.
check() {
	local name=$1
	shift
	if "$@" >"$work/output" 2>&1; then
		passed=$((passed + 1))
		printf 'ok      %s\n' "$name"
	else
		failed=$((failed + 1))
		printf 'NOT OK  %s\n' "$name"
		head -n 20 "$work/output" | cut -c1-300 | sed 's/^/        | /'
	fi
}

# exits STATUS COMMAND... - does COMMAND end with this status?
exits() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	[[ $got == "$want" ]] || {
		echo "exit status $got, not $want"
		return 1
	}
}

# says TEXT COMMAND... - does COMMAND's output contain TEXT?
says() {
	local want=$1 got
	shift
	got=$("$@" 2>&1) || true
	[[ $got == *"$want"* ]] || {
		printf 'no "%s" in:\n%s\n' "$want" "$got"
		return 1
	}
}

# same WANTED GOT
same() {
	diff <(printf '%s\n' "$1") <(printf '%s\n' "$2")
}

# interrupt SECONDS WHEN COMMAND... - starts COMMAND, and once WHEN is true (a function; its argument is the file of
# COMMAND's output) sends SIGINT to it alone. Passes if it ends of that within SECONDS.
interrupt() {
	local seconds=$1 when=$2 out=$work/interrupted pid got=0
	shift 2
	# what a script starts in the background ignores SIGINT, unless told otherwise
	env --default-signal=INT "$@" >"$out" 2>&1 &
	pid=$!
	wait_until 60 "$when" "$out" || true
	kill -INT "$pid" || true
	wait_until "$seconds" has_gone "$pid" || kill -KILL "$pid"
	wait "$pid" || got=$?
	cat "$out"
	[[ $got == 130 ]] || {
		echo "exit status $got, not 130"
		return 1
	}
}
has_gone() {
	! kill -0 "$1" 2>/dev/null
}

not() {
	! "$@"
}
