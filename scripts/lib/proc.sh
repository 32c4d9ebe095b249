# shellcheck shell=bash
# proc.sh - background processes kept by files, so that no stranger is ever signalled.
#
# Sourced after base.sh. A pid file holds "PID STARTTIME": a pid alone may by now belong to somebody else.

# proc_started_at PID - prints the start time of a living process in clock ticks since boot; fails if there is none.
proc_started_at() {
	local stat rest
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	rest=${stat##*) }
	# shellcheck disable=SC2086
	set -- $rest
	[[ $1 != [ZX] ]] || return 1
	printf '%s\n' "${20}"
}

# proc_spawn PIDFILE LOGFILE COMMAND... - runs COMMAND in a session of its own, with no open files but its log
# and those in PROC_KEEP_FDS. It writes PIDFILE before it begins, so that nobody who is interrupted here loses it.
proc_spawn() {
	local pidfile=$1 logfile=$2 pid
	shift 2
	(
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			if ((fd > 2)) && [[ " ${PROC_KEEP_FDS:-} " != *" $fd "* ]]; then
				eval "exec $fd>&-" 2>/dev/null || true
			fi
		done
		pid=$BASHPID # a pipeline has others
		write_file 0644 "$pidfile" <<<"$pid $(proc_started_at "$pid")"
		exec setsid "$@"
	) </dev/null >>"$logfile" 2>&1 &
	pid=$!
	disown "$pid" 2>/dev/null || true
	wait_until 10 proc_is_spawned "$pidfile" "$pid"
}

proc_is_spawned() {
	local pid
	{ read -r pid _ <"$1" && [[ $pid == "$2" ]]; } 2>/dev/null || ! kill -0 "$2" 2>/dev/null
}

# proc_spawn_ready PIDFILE LOGFILE SECONDS COMMAND... - the same for a program that takes --ready-fd: returns when it has
# written its line there, which is left in READY_LINE. Fails when it ended instead (no process is left then) or when
# SECONDS passed (it still runs).
proc_spawn_ready() {
	local pidfile=$1 logfile=$2 seconds=$3 fifo=$1.ready both reading ok=0
	shift 3
	rm -f "$fifo"
	mkfifo -m 0600 "$fifo" || return 1
	exec {both}<>"$fifo"
	PROC_KEEP_FDS=3 proc_spawn "$pidfile" "$logfile" "$@" --ready-fd 3 3>"$fifo"
	# only the program holds the writing end from here on, so its death is an end of file
	exec {reading}<"$fifo"
	exec {both}>&-
	rm -f "$fifo"
	READY_LINE=
	# shellcheck disable=SC2034 # the caller reads it
	IFS= read -rt "$seconds" -u "$reading" READY_LINE || ok=1
	exec {reading}<&-
	return "$ok"
}

# proc_pid PIDFILE - prints the pid if that very process is alive; fails otherwise.
proc_pid() {
	local pid started
	{ read -r pid started <"$1"; } 2>/dev/null || return 1
	[[ $pid =~ ^[1-9][0-9]*$ && $(proc_started_at "$pid" || true) == "$started" ]] || return 1
	printf '%s\n' "$pid"
}

proc_is_gone() {
	! proc_pid "$1" >/dev/null
}

# proc_signal PIDFILE SIGNAL - signals the process if it is alive; fails if it is not.
proc_signal() {
	local pid
	pid=$(proc_pid "$1") && kill -"$2" "$pid" 2>/dev/null
}

# proc_stop PIDFILE SECONDS - SIGTERM, and SIGKILL when it has not gone after SECONDS. Removes PIDFILE.
# Fails only if force was needed.
proc_stop() {
	local forced=0
	if proc_signal "$1" TERM && ! wait_until "$2" proc_is_gone "$1"; then
		forced=1
		proc_kill "$1"
	fi
	rm -f "$1"
	return "$forced"
}

# proc_kill PIDFILE - SIGKILL, and returns when it is gone. The pid file stays: it tells that nobody stopped it.
proc_kill() {
	proc_signal "$1" KILL || return 0
	wait_until 10 proc_is_gone "$1"
}

# log_end FILE - prints where the next line of this log will begin.
log_end() {
	stat -c %s -- "$1" 2>/dev/null || echo 0
}

# last_lines FILE [COUNT [FROM]] - the end of a log on stderr, indented: why something did not start. FROM: log_end
# before the start, so that older runs are not blamed.
last_lines() {
	[[ -s $1 ]] || return 0
	say "last lines of $1:"
	tail -c "+$((${3:-0} + 1))" -- "$1" | tail -n "${2:-15}" | sed 's/^/    /' >&2
}
