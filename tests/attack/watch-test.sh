#!/usr/bin/env bash
# watch-test - a web host that makes the broker hold too much, and realm watch, which ends that; the host beside it.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

: "${SALLYPORT_BIN:=$repo/build/release/bin}"
export SALLYPORT_BIN
dir=$work/site
jobs=()

at_end() {
	kill -KILL "${jobs[@]}"
	"$repo/scripts/dev" down --dir "$dir"
}

# erl EXPRESSION - evaluated in the broker
erl() {
	"$repo/scripts/dev" broker ctl eval "$1" --dir "$dir"
}

# value KEY [HOST] - of the site
value() {
	"$repo/scripts/dev" env "${2:-web1}" --dir "$dir" | sed -n "s/^$1=//p"
}

# started LOG COMMAND... - in the background, with its output in LOG; its pid is the last of jobs
started() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 &
	jobs+=("$!")
	disown "$!"
}

# watch LOG ARGS... - a watch of this broker; returns when it watches.
watch() {
	local log=$1
	shift
	started "$log" "$repo/scripts/realm" watch --state "$work/none" --broker "local:$dir/broker" "$@"
	watcher=${jobs[-1]}
	wait_until 30 grep -qE 'event(=|":")watching' "$log"
}

# ends SECONDS PID - does it end of SIGTERM?
ends() {
	kill -TERM "$2" && wait_until "$1" has_gone "$2"
}

# attack MANNER [HOST] - as tests/scripts/ghost.py says, with the real certificate; returns when it is let in.
attack() {
	local host=${2:-web2} log=$work/ghost.${#jobs[@]}
	started "$log" python3 "$repo/tests/scripts/ghost.py" "$port" "$pki" "web.$host.g1" "border.$host" "$1"
	wait_until 20 test -s "$log"
	[[ $(<"$log") == ready* ]]
}

# said N PATTERN LOG - at least N lines?
said() {
	(($(grep -cE "$2" "$3") >= $1))
}

# connections HOST - the processes that serve them
connections() {
	erl "lists:sort([element(6, T) || T <- rabbit_connection_tracking:list(), element(11, T) =:= <<\"web.$1.g1\">>])"
}
counts() {
	[[ $(erl "rabbit_connection_tracking:count_tracked_items_in({user, <<\"web.$1.g1\">>})") == "$2" ]]
}
nobody_watches() {
	[[ $(erl 'whereis(sallyport_watch)') == undefined ]]
}
processes() {
	erl 'length([P || P <- processes(), {current_stacktrace, S} <- [process_info(P, current_stacktrace)],
		lists:keymember(erl_eval, 1, S)])'
}
nothing_left() {
	# who asks is one of them
	nobody_watches && [[ $(processes) -le 1 ]]
}

# calls FROM TO - web1's, that began then (milliseconds since the epoch)
calls() {
	awk -v from="$1" -v to="$2" '$1 >= from && $1 < to' "$work/calls"
}
wall_ms() {
	date +%s%3N
}
# answered - has web1 had an answer that it began to wait for just now?
answered() {
	[[ -n $(calls "$1" 9999999999999 | awk '$3 == 200') ]]
}

"$repo/scripts/dev" up --dir "$dir" --hosts 2 >/dev/null 2>&1
port=$(value SALLYPORT_BROKER_PORT)
pki=$(value SALLYPORT_STATE)/pki
started "$work/calls" python3 "$repo/tests/attack/caller.py" "$(value SALLYPORT_WEB_SOCKET)"
wait_until 10 said 10 ' 200 ok$' "$work/calls"

# Called wrongly ---------------------------------------------------------------------------------------------------

realm() {
	"$repo/scripts/realm" "$@" --state "$work/none"
}
check 'no state folder and no broker: exit 2' exits 2 realm watch
check 'a folder to carry cannot watch: exit 2' exits 2 realm watch --broker "dir:$work/carry"
check 'a bound that is none: exit 2' exits 2 realm watch --broker "local:$dir/broker" --bound much
check 'revoking without a state folder: exit 1' exits 1 realm watch --broker "local:$dir/broker" --revoke

# An alarm ---------------------------------------------------------------------------------------------------------

# So high a bound that nobody is stopped before the alarm.
check 'a watch begins' watch "$work/watch.1" --bound 1GiB --times 2 --metrics "$work/watch.prom"
neighbours=$(connections web1)
erl 'begin erlang:garbage_collect(), {Used, _} = vm_memory_monitor:get_memory_use(bytes),
	vm_memory_monitor:set_vm_memory_high_watermark({absolute, Used + 167772160}) end' >/dev/null
check 'a body that does not end is let in' attack endless
check 'it leads to an alarm' wait_until 20 said 1 'event=alarm .*state=on' "$work/watch.1"
check 'the alarm ends' wait_until 20 said 1 'event=alarm .*state=off' "$work/watch.1"
lasted=$(sed -nE 's/.*event=alarm .*lasted_ms=([0-9]+).*/\1/p' "$work/watch.1" | head -n 1)
check "within 10 s of its beginning (${lasted:-never} ms)" test "${lasted:-99999}" -lt 10000
check 'because the connections of that host were closed' said 1 'event=closed .*host=web2 .*why=holds' "$work/watch.1"
over=$(wall_ms)
check 'web1 gets answers again' wait_until 10 answered "$over"
failures() {
	sort -n "$work/calls" | awk '$3 != 200'
}
failures >"$work/failures"
check 'its calls failed during the alarm' test -s "$work/failures"
check 'by name' same '' "$(awk '!($3 == 503 && $4 == "border-unavailable")' "$work/failures")"
check 'at once' same '' \
	"$(awk '$3 == 503 && ++n && $2 >= 250 { slow++ } END { if (n < 5 || slow > n / 20) print slow + 0, "of", n + 0, "took 250 ms" }' "$work/failures")"
check 'its connections were never closed' same "$neighbours" "$(connections web1)"
check 'nobody else was closed' not grep -qE 'event=closed .*host=(web1|app1)' "$work/watch.1"

# Again ------------------------------------------------------------------------------------------------------------

check 'it comes again' attack endless
check 'and is closed again' wait_until 20 said 2 'event=closed .*host=web2 .*why=holds' "$work/watch.1"
check 'the line that throws it out is said' wait_until 5 said 1 'event=offender host=web2 .*advice="realm revoke web2"' "$work/watch.1"
check 'metrics count both' wait_until 10 said 1 '^sallyport_watch_closed_total[{]broker="broker",host="web2",why="holds"[}] [23]$' "$work/watch.prom"
check 'the honest agent of that host is connected again' wait_until 20 counts web2 2
erl 'vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1073741824})' >/dev/null
no_alarm() {
	[[ $(erl 'rabbit_alarm:get_alarms()') == '[]' ]]
}
check 'a broker with more memory has no alarm' wait_until 20 no_alarm
check 'a second watch takes over' watch "$work/watch.2" --json --silence 10s
check 'the first one ends, and says why' wait_until 10 said 1 'another watch has taken over' "$work/watch.1"

# Without an alarm -------------------------------------------------------------------------------------------------

# its events are a JSON document each
event() {
	jq -es --arg event "$1" 'any(.[]; .event == $event and ('"$2"'))' "$work/watch.2" >/dev/null
}
check 'a body that does not end, far from an alarm' attack endless
check 'is closed before there is one' wait_until 20 event closed '.host == "web2" and .why == "holds" and .held_bytes > 32 * 1024 * 1024'
check 'there was none' not event alarm true
check 'one that asks for no heartbeats and says nothing' attack idle
check 'is closed too' wait_until 30 event closed '.host == "web2" and .why == "silent"'
check 'a process that died without a word' erl 'begin
	[exit(element(6, T), kill) || T <- rabbit_connection_tracking:list(), element(11, T) =:= <<"web.web2.g1">>] end'
check 'does not count for ever' wait_until 10 event forgotten '.user == "web.web2.g1"'
check 'the agent finds its place' wait_until 20 counts web2 2

# Too busy ---------------------------------------------------------------------------------------------------------

# busy HOST MS - the reductions that its readers and channels make in that time
busy() {
	erl "begin
		Readers = [element(6, T) || T <- rabbit_connection_tracking:list(), element(11, T) =:= <<\"web.$1.g1\">>],
		All = Readers ++ [element(6, T) || T <- rabbit_channel_tracking:list(), lists:member(element(8, T), Readers)],
		Sum = fun() -> lists:sum([N || Pid <- All, {_, N} <- [process_info(Pid, reductions)]]) end,
		Before = Sum(), timer:sleep($2), Sum() - Before end"
}
suspended() {
	erl 'length([T || T <- rabbit_connection_tracking:list(), process_info(element(6, T), status) =:= {status, suspended}])'
}
is_suspended() {
	[[ $(suspended) != 0 ]]
}
check 'a pace that is none: exit 2' exits 2 realm watch --broker "local:$dir/broker" --pace quick
check 'a watch that keeps hosts to a pace' watch "$work/watch.4" --pace 200 --metrics "$work/pace.prom"
check 'a host that floods is let in' attack flood
ghost=${jobs[-1]}
check 'it is made to wait' wait_until 30 said 1 'event=paced .*state=on host=web2' "$work/watch.4"
# 200 messages are 120000 reductions; without a pace it would be a hundred times as many
check 'and no busier than it may be, by and large' test "$(busy web2 3000)" -le 1200000
check 'a metric says so' wait_until 10 said 1 '^sallyport_watch_paced[{]broker="broker",host="web2"[}] 1$' "$work/pace.prom"
check 'web1 is answered' wait_until 10 answered "$(wall_ms)"
check 'nobody else is made to wait' not grep -qE 'event=paced .*host=(web1|app1)' "$work/watch.4"
check 'nobody was closed' not grep -q 'event=closed' "$work/watch.4"
# what it has said waits in the kernel's buffers, and would be read at that pace
kill -KILL "$ghost"
erl '[exit(element(6, T), kill) || T <- rabbit_connection_tracking:list(), element(11, T) =:= <<"web.web2.g1">>]' >/dev/null
check 'when it is gone, that ends' wait_until 40 said 1 'event=paced .*state=off host=web2' "$work/watch.4"
check 'its agent finds its place again' wait_until 20 counts web2 2
check 'it comes again' attack flood
check 'and is made to wait again' wait_until 30 is_suspended

# Its end ----------------------------------------------------------------------------------------------------------

kill -KILL "$watcher"
check 'a watch that is killed leaves nothing in the broker' wait_until 15 nothing_left
check 'and nobody suspended' same 0 "$(suspended)"
kill -KILL "${jobs[-1]}"
check 'a new one begins' watch "$work/watch.3"
"$repo/scripts/dev" kill broker --dir "$dir"
check 'a broker that dies is said' wait_until 40 said 1 'event=lost' "$work/watch.3"
"$repo/scripts/dev" start broker --dir "$dir" >/dev/null 2>&1
check 'and watched when it is back' wait_until 60 said 2 'event=watching' "$work/watch.3"
check 'SIGTERM ends it' ends 10 "$watcher"
check 'and it leaves nothing in the broker' wait_until 10 nothing_left
check 'web1 has its answers' wait_until 10 answered "$(wall_ms)"
