# shellcheck shell=bash
# base.sh - what every script of this folder needs: messages, deadlines, files that are whole or absent, free ports.
#
# Sourced, never run. Uses: bash 5, coreutils. Never: the broker, the certificates.
# Every function prints its result on stdout and its complaints on stderr; none of them exits but
# die and usage_error.

# Exit codes of all scripts.
readonly EXIT_NO=1
readonly EXIT_USAGE=2

# say TEXT... - one line for the person who runs the script, on stderr: stdout belongs to results.
say() {
	printf '%s\n' "$*" >&2
}

# die TEXT... - the answer is no: say why, exit 1.
die() {
	say "${0##*/}: $*"
	exit "$EXIT_NO"
}

# usage_error TEXT... - called wrongly: say what, point to --help, exit 2.
usage_error() {
	say "${0##*/}: $*"
	say "${0##*/}: see --help"
	exit "$EXIT_USAGE"
}

# need_commands NAME... - dies, naming all that are missing at once.
need_commands() {
	local missing=() name
	for name; do
		command -v "$name" >/dev/null || missing+=("$name")
	done
	((${#missing[@]} == 0)) || die "missing: ${missing[*]} (scripts/setup installs what is needed)"
}

# absolute PATH - prints PATH absolute, without asking that it exists.
absolute() {
	realpath -ms -- "$1"
}

# is_text TEXT - is this one line of UTF-8 without control characters: what may stand in a config file, a message?
is_text() {
	[[ $1 != *[[:cntrl:]]* ]] && iconv -f UTF-8 -t UTF-8 <<<"$1" >/dev/null 2>&1
}

# folder_trouble PATH - prints why a broker could not live in a folder of this name; fails if it could. Its scripts
# evaluate what is quoted and split the rest, shells and sed take & for what it means to them, Erlang has patterns, lists
# and escapes of its own.
folder_trouble() {
	local bad=$'\'"\\`*?[]{}:& ' whole found
	whole=$1$(absolute "$1")
	if ! is_text "$whole"; then
		echo 'it has a line break, another control character or broken UTF-8'
	else
		found=${whole//[^"$bad"]/}
		found=${found:0:1}
		[[ -n $found ]] && printf 'it has %s, which RabbitMQ does not get along with\n' "${found/#' '/blanks}"
	fi
}

# is_name TEXT - is this a name of a host or node: what fits into a certificate's name, a regex, a path?
is_name() {
	[[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$ ]]
}

# is_count TEXT MIN MAX - is this a whole number within the bounds?
is_count() {
	[[ $1 =~ ^[0-9]{1,9}$ ]] && ((10#$1 >= $2 && 10#$1 <= $3))
}

# now_ms - prints a clock in milliseconds, for deadlines within one script.
now_ms() {
	printf '%s\n' $((${EPOCHREALTIME/[.,]/} / 1000))
}

# wait_until SECONDS COMMAND... - runs COMMAND until it succeeds; fails when SECONDS have passed.
wait_until() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)) turn
	shift
	exec {turn}<> <(:)
	until "$@"; do
		if ((${EPOCHREALTIME/[.,]/} >= end)); then
			exec {turn}<&-
			return 1
		fi
		read -rt 0.03 -u "$turn" || true
	done
	exec {turn}<&-
}

# attend COMMAND... - runs COMMAND, the status is its own. bash hears a signal only between two commands, but `wait` it
# leaves at once: so a script with traps runs long commands this way. COMMAND gets a session of its own, so that the
# signal of a terminal comes to this script alone, which decides what ends when.
attended=''
attend() {
	local status=0
	setsid "$@" </dev/null &
	attended=$!
	wait "$attended" || status=$?
	attended=''
	return "$status"
}

# attend_end - ends what attend runs, and returns when it is gone. Nothing there is fine.
attend_end() {
	[[ -n $attended ]] || return 0
	kill -TERM -- "-$attended" 2>/dev/null || true
	while kill -0 "$attended" 2>/dev/null; do
		wait "$attended" 2>/dev/null || true
	done
	attended=''
}

# exit_on_signals - SIGHUP, SIGINT, SIGTERM end the script by way of its EXIT trap, with 128 and their number.
exit_on_signals() {
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# write_file MODE PATH - stdin becomes PATH in one step: readers see the old file or the new one, never half of it.
write_file() {
	local mode=$1 path=$2 tmp
	tmp=$(mktemp "$path.XXXXXX") || return 1
	if ! { cat >"$tmp" && chmod "$mode" "$tmp" && mv -f "$tmp" "$path"; }; then
		rm -f "$tmp"
		return 1
	fi
}

# port_answers PORT - does somebody listen on this loopback port?
port_answers() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port [TAKEN...] - prints a loopback port nobody listens on. It may be taken a moment later: whoever binds
# it must be ready to ask again. Below the kernel's ephemeral range, so that no outgoing connection sits on it.
free_port() {
	local port taken
	for _ in {1..200}; do
		port=$((16000 + SRANDOM % 16000))
		for taken; do
			[[ $port != "$taken" ]] || continue 2
		done
		port_answers "$port" || {
			printf '%s\n' "$port"
			return
		}
	done
	return 1
}

# env_line KEY VALUE - prints KEY=value so that a shell may read it back, whatever the path holds.
env_line() {
	if [[ $2 =~ ^[A-Za-z0-9_./:,@+=-]*$ ]]; then
		printf '%s=%s\n' "$1" "$2"
	else
		printf '%s=%q\n' "$1" "$2"
	fi
}
