#!/usr/bin/env bash
# trial - the border under load: keys are exchanged, a host is thrown out, another one floods it or sends a body without end.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

usage() {
	cat <<'TEXT'
usage: tests/attack/trial.sh [PART…] [OPTIONS]

A site of its own on a private broker, made by scripts/realm, with load on it, and what the border must stand:

  rotate    200 calls and 200 sends a second while certificates and sealing keys are exchanged: no error, no loss
  flood     web2's certificate in hostile hands: web1's p99 beside its idle p99, in turns
  endless   web2 sends a body that does not end: how web1's calls fail, how long the alarm lasts
  revoke    web1 is thrown out under load: how long it is still heard, whether it comes back with the broker

Without PART: all of them. Prints a line for each thing that is asked, and the figures.

  --short         what a test of every change can afford: no flood, less time
  --rounds N      of the flood (5)
  --seconds N     of one half of a round (10)
  --rates LIST    messages a second that the flood offers, commas between; 0: as many as are taken (2000,8000,0)
  --craft WORD    of the flood: sealed, bare (sealed)
  --pace N        realm watch keeps every host to so many messages a second meanwhile (0: nobody watches)
  --most N        the ratio of p99 that is asked for at each rate but 0 (3)
  --json FILE     the figures as JSON too
  -h, --help

SALLYPORT_BIN: the folder of the built programs. Default: build/release/bin.
Exit: 0 all is as it must be, 1 something is not, 2 called wrongly.
TEXT
}

rounds=5 seconds=10 rates=2000,8000,0 craft=sealed pace=0 most=3 json='' short=no
parts=()
while (($# > 0)); do
	case $1 in
	rotate | flood | endless | revoke) parts+=("$1") ;;
	--short) short=yes ;;
	--rounds | --seconds | --rates | --craft | --pace | --most | --json)
		(($# > 1)) || usage_error "$1 wants a value"
		case $1 in
		--rounds | --seconds | --most) is_count "$2" 1 1000 || usage_error "$1 $2: 1 to 1000" ;;
		--pace) is_count "$2" 0 1000000 || usage_error "--pace $2: 0 to 1000000" ;;
		--rates) [[ $2 =~ ^[0-9]{1,6}(,[0-9]{1,6})*$ ]] || usage_error "--rates $2: numbers with commas between" ;;
		--craft) [[ $2 =~ ^(sealed|bare)$ ]] || usage_error "--craft $2: sealed or bare" ;;
		esac
		printf -v "${1#--}" %s "$2"
		shift
		;;
	-h | --help)
		trap - EXIT
		rm -rf -- "$work"
		usage
		exit
		;;
	*) usage_error "what is '$1'?" ;;
	esac
	shift
done
if ((${#parts[@]} == 0)); then
	parts=(rotate flood endless revoke)
	[[ $short == no ]] || parts=(rotate endless revoke)
fi

: "${SALLYPORT_BIN:=$repo/build/release/bin}"
state=$work/state
port=$(free_port)
ASK='{"sku":"A-1"}'
readonly ASK
jobs=()

at_end() {
	local name
	((${#jobs[@]} == 0)) || kill -KILL "${jobs[@]}" 2>/dev/null || true
	for name in web1 web2 app1 keeper; do
		proc_kill "$work/$name.pid"
	done
	"$repo/scripts/broker" kill --dir "$work/broker"
	"$repo/scripts/broker" down --dir "$work/broker"
}

# Words ------------------------------------------------------------------------------------------------------------

realm() {
	"$repo/scripts/realm" "$@" --state "$state"
}

# erl EXPRESSION - evaluated in the broker
erl() {
	"$repo/scripts/broker" ctl --dir "$work/broker" eval "$1"
}

wall_ms() {
	date +%s%3N
}

# figure NAME VALUE UNIT - for the table at the end
figure() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$work/figures"
}

# started LOG COMMAND... - in the background, with its output in LOG; its pid is the last of jobs.
started() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 &
	jobs+=("$!")
	disown "$!"
}

# ended PID SECONDS - SIGTERM, and it is gone.
ended() {
	kill -TERM "$1" 2>/dev/null || true
	wait_until "$2" has_gone "$1"
}

# install NAME - what its bundle holds becomes what its daemon reads.
install() {
	local name=$1 bundle
	bundle=$(realm bundle "$name")
	mkdir -p "$work/$name"
	cp -r -- "$bundle/." "$work/$name"
	sed -i "s|/run/sallyport/handlers|$work/keeper|; s|/run/sallyport/[a-z]*|$work/$name/api|" "$work/$name"/*.conf
	printf 'log.level = warn\n' >>"$(echo "$work/$name"/*.conf)"
}

# begin NAME PROGRAM - its daemon, ready with the border.
begin() {
	proc_spawn_ready "$work/$1.pid" "$work/$1.log" 30 "$SALLYPORT_BIN/$2" run --config "$work/$1/$2.conf" ||
		die "$1 does not start: $(tail -n 3 "$work/$1.log")"
}

# status NAME FILTER - of its status
status() {
	curl -s --max-time 5 --unix-socket "$work/$1/api.sock" http://localhost/v1/status | jq -r "$2"
}
is_reloaded() {
	[[ $(status "$1" '"\(.reload.state) \(.reload.asked)"') == "done $2" ]]
}
# reload NAME... - all of them read what was installed, at once; returns when the last of it has changed.
reload() {
	local name
	local -A asked=()
	for name; do
		asked[$name]=$(status "$name" .reload.asked)
		proc_signal "$work/$name.pid" HUP
	done
	for name; do
		wait_until 40 is_reloaded "$name" $((asked[$name] + 1)) || {
			status "$name" .reload
			return 1
		}
	done
}

# load NAME HOST KIND PACE_MS - a load in the background, until its end is asked for; NAME.json has its figures then.
load() {
	local op=trial.ask
	[[ $3 == call ]] || op=trial.put
	started "$work/$1.load" "$SALLYPORT_BIN/sallyport-load" --socket "$work/$2/api.sock" --op "$op" --kind "$3" --body "$ASK" \
		--warmup 0 --in-flight 256 --pace-ms "$4" --seconds 600 --json "$work/$1.json"
	pids[$1]=${jobs[-1]}
}
# unload NAME... - ends loads.
unload() {
	local name
	for name; do
		ended "${pids[$name]}" 70 || die "the load $name does not end"
	done
}
# of NAME FILTER - of the figures of a load or flood
of() {
	jq -r "$2" "$work/$1.json"
}
# counted HOST WHAT - what the handlers have seen of it: sends, copies
counted() {
	curl -s --max-time 5 --unix-socket "$work/keeper.sock" http://localhost/trial.count -d '{}' | jq -r --arg host "$1" ".[\$host].$2 // 0"
}
has_counted() {
	(($(counted "$1" sends) >= $2))
}

# crosses HOST - is a call of its agent answered?
crosses() {
	[[ $(curl -s --max-time 5 -o /dev/null -w '%{http_code}' --unix-socket "$work/$1/api.sock" \
		http://localhost/v1/call/trial.ask -d "$ASK") == 200 ]]
}

# hostile NAME HOST ARGS... - raw AMQP with the keys of that host, until its end; NAME.json has its figures then.
hostile() {
	local name=$1 host=$2 user
	shift 2
	user=$(sed -n 's/^tls.certificate = \(.*\)[.]pem$/\1/p' "$work/$host/webapp-agent.conf")
	exec "$SALLYPORT_BIN/sallyport-flood" --broker "127.0.0.1:$port" --host "$host" --ca "$work/$host/ca.pem" \
		--certificate "$work/$host/$user.pem" --key "$work/$host/$user.key" --seal "$work/$host/seal.key" \
		--call trial.ask --body "$ASK" --json "$work/$name.json" "$@"
}
# flood NAME HOST ARGS... - the same in the background; returns when it stands.
flood() {
	local name=$1
	rm -f "$work/$name.json"
	started "$work/$name.flood" hostile "$@" --seconds 600
	pids[$name]=${jobs[-1]}
	wait_until 20 grep -q ready "$work/$name.flood"
}

watched() {
	grep -qE "$1" "$work/watch"
}
# begin_watch ARGS... - realm watch in the background
begin_watch() {
	started "$work/watch" "$repo/scripts/realm" watch --state "$state" "$@" # itself, so that its end can be asked for
	watcher=${jobs[-1]}
	wait_until 30 watched 'event=watching' || die "nobody watches: $(tail -n 3 "$work/watch")"
}

# Parts ------------------------------------------------------------------------------------------------------------

# exchange_seal NAME WHO... - a step of a sealing key, and everybody who needs it has it.
exchange_seal() {
	local name=$1 who
	shift
	realm rotate "$name" --seal >/dev/null || return 1
	for who; do
		install "$who"
	done
	reload "$@"
}

# exchange NAME - a new certificate from the first step to the last
exchange() {
	realm rotate "$1" >/dev/null || return 1
	install "$1"
	reload "$1" || return 1
	realm rotate "$1" --retire >/dev/null
}

part_rotate() {
	local before accepted step
	before=$(counted web1 sends)
	load calls web1 call 5
	load sends web1 send 5
	check 'rotate: sends arrive' wait_until 20 has_counted web1 $((before + 200))
	check 'rotate web1 under load, to the end of the old one' exchange web1
	check 'rotate app1 under load, to the end of the old one' exchange app1
	for step in accept use drop; do
		check "the sealing key of web1 under load: $step" exchange_seal web1 web1 app1
	done
	check 'and they go on' wait_until 20 has_counted web1 $(($(counted web1 sends) + 200))
	unload calls sends
	accepted=$(of sends '.statuses."202" // 0')
	check "no call failed ($(of calls .requests) calls, $(of calls '.call.per_second | floor') a second)" same 0 "$(of calls .errors)"
	check "no send failed ($(of sends .requests) sends, $(of sends '.send.per_second | floor') a second)" same 0 "$(of sends .errors)"
	check 'everything that was accepted arrived' wait_until 20 has_counted web1 $((before + accepted))
	check 'and nothing else' same $((before + accepted)) "$(counted web1 sends)"
	check 'the new certificates are in use' same 'web.web1.g2 app.app1.g2' \
		"$(realm status --json | jq -r '[.identities[].certificates[] | select(.connections > 0).name | select(test("1[.]g"))] | join(" ")')"
	figure 'rotate: calls' "$(of calls .requests)" ''
	figure 'rotate: calls that failed' "$(of calls .errors)" ''
	figure 'rotate: p99 of the calls' "$(of calls .call.p99_us)" us
	figure 'rotate: slowest call' "$(of calls .call.max_us)" us
	figure 'rotate: sends accepted' "$accepted" ''
	figure 'rotate: sends that failed' "$(of sends .errors)" ''
	figure 'rotate: sends lost' $((before + accepted - $(counted web1 sends))) ''
	figure 'rotate: sends run twice' "$(counted web1 copies)" ''
}

# p99 - web1's, over so many seconds, at 200 calls a second
p99() {
	"$SALLYPORT_BIN/sallyport-load" --socket "$work/web1/api.sock" --op trial.ask --body "$ASK" --warmup 100 --in-flight 256 \
		--pace-ms 5 --seconds "$seconds" --json "$work/$1.json" >"$work/$1.load" 2>&1 || true
	of "$1" .call.p99_us
}
median() {
	sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
no_connections() {
	[[ $(erl "rabbit_connection_tracking:count_tracked_items_in({user, <<\"$1\">>})") == 0 ]]
}
waiting() {
	erl "begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"border.web2\">>, queue, <<\"$1\">>)),
		{ok, Ready, _} = rabbit_amqqueue:stat(Q), Ready end"
}

is_full() {
	(($(waiting FORAPP.send) >= 900))
}
# Nothing of it is left, at the border or with the node.
is_empty() {
	no_connections web.web2.g1 && erl "[rabbit_amqqueue:purge(Q) || Q <- rabbit_amqqueue:list(<<\"border.web2\">>)]" >/dev/null &&
		[[ $(erl "lists:sum([proplists:get_value(messages, rabbit_amqqueue:info(Q, [messages]))
			|| Q <- rabbit_amqqueue:list(<<\"border.web2\">>)])") == 0 ]]
}

part_flood() {
	local rate round idle busy name full
	# its owner has taken the place of the agent
	ended "$(proc_pid "$work/web2.pid")" 20
	wait_until 20 no_connections web.web2.g1
	[[ $pace == 0 ]] || begin_watch --pace "$pace"
	for rate in ${rates//,/ }; do
		name=${rate/#0/all}
		: >"$work/idle.p99"
		: >"$work/busy.p99"
		: >"$work/ratios"
		for ((round = 1; round <= rounds; round++)); do
			idle=$(p99 idle)
			flood flood web2 --rate "$rate" --craft "$craft" --send trial.keep --send-key A-1 || die 'the flood does not stand'
			wait_until 30 is_full || die "web2's lane does not fill: $(waiting FORAPP.send)"
			busy=$(p99 busy)
			full=$(waiting FORAPP.send)
			ended "${pids[flood]}" 30 || true
			wait_until 60 is_empty || die "web2's lanes do not drain"
			echo "$idle" >>"$work/idle.p99"
			echo "$busy" >>"$work/busy.p99"
			awk -v a="$busy" -v b="$idle" 'BEGIN { printf "%.2f\n", a / b }' >>"$work/ratios"
			say "flood of $name, round $round: idle $idle us, flooded $busy us, $(of flood '"sent \(.sent * 1000 / ([.ran_ms, 1] | max) | floor)/s of \(.offered * 1000 / ([.ran_ms, 1] | max) | floor)/s, errors of web1:"') $(of busy .errors), $full sends wait, load $(cut -d' ' -f1 /proc/loadavg)"
		done
		figure "flood of $name/s: web1's p99 when idle" "$(median <"$work/idle.p99")" us
		figure "flood of $name/s: web1's p99" "$(median <"$work/busy.p99")" us
		figure "flood of $name/s: ratio, median of $rounds" "$(median <"$work/ratios")" x
		figure "flood of $name/s: sent in fact" "$(of flood '.sent * 1000 / ([.ran_ms, 1] | max) | floor')" /s
		figure "flood of $name/s: web1's calls that failed" "$(of busy .errors)" ''
		[[ $rate == 0 ]] || check "a flood of $rate/s: web1's p99 is at most $most x its idle p99 ($(median <"$work/ratios"))" \
			awk -v a="$(median <"$work/ratios")" -v b="$most" 'BEGIN { exit !(a <= b) }'
	done
	[[ $pace == 0 ]] || ended "$watcher" 20
	begin web2 webapp-agent
}

# calls FROM TO - web1's, that began then (milliseconds since the epoch)
calls() {
	awk -v from="$1" -v to="$2" '$1 >= from && $1 < to' "$work/caller"
}
answered() {
	[[ -n $(calls "$1" 9999999999999 | awk '$3 == 200') ]]
}
part_endless() {
	local lasted caller user
	user=$(basename "$(realm bundle web2)")
	started "$work/caller" python3 "$repo/tests/attack/caller.py" "$work/web1/api.sock" trial.ask "$ASK"
	caller=${jobs[-1]}
	begin_watch --bound 1GiB
	check 'endless: web1 is answered' wait_until 10 answered 0
	erl 'begin erlang:garbage_collect(), {Used, _} = vm_memory_monitor:get_memory_use(bytes),
		vm_memory_monitor:set_vm_memory_high_watermark({absolute, Used + 167772160}) end' >/dev/null
	started "$work/ghost" python3 "$repo/tests/scripts/ghost.py" "$port" "$state/pki" "$user" border.web2 endless
	check 'a body without end leads to an alarm' wait_until 30 watched 'event=alarm .*state=on'
	check 'watch ends it' wait_until 30 watched 'event=alarm .*state=off'
	check 'web1 is answered again' wait_until 15 answered "$(wall_ms)"
	ended "$caller" 5
	ended "$watcher" 20
	erl 'vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1073741824})' >/dev/null
	lasted=$(sed -nE 's/.*event=alarm .*lasted_ms=([0-9]+).*/\1/p' "$work/watch" | head -n 1)
	check "within 10 s of its beginning (${lasted:-never} ms)" test "${lasted:-99999}" -lt 10000
	sort -n "$work/caller" | awk '$3 != 200' >"$work/failures"
	check "web1's calls fail meanwhile ($(wc -l <"$work/failures"))" test -s "$work/failures"
	check 'all of them by name: border-unavailable' same '' "$(awk '!($3 == 503 && $4 == "border-unavailable")' "$work/failures")"
	check 'at once' same '' \
		"$(awk '++n && $2 >= 250 { slow++ } END { if (slow > n / 20) print slow + 0, "of", n + 0, "took 250 ms" }' "$work/failures")"
	figure 'endless: the alarm lasted' "${lasted:-}" ms
	figure "endless: web1's calls that failed" "$(wc -l <"$work/failures")" ''
	figure 'endless: of these, not border-unavailable' "$(awk '$4 != "border-unavailable"' "$work/failures" | wc -l)" ''
	figure 'endless: the slowest of these' "$(awk '$2 > most { most = $2 } END { print most + 0 }' "$work/failures")" ms
}

# restarted - is it up again? A start may fail on a busy machine.
restarted() {
	"$repo/scripts/broker" stop --dir "$work/broker" || true
	"$repo/scripts/broker" start --dir "$work/broker"
}

part_revoke() {
	local began raw called took
	load calls web1 call 5
	load sends web1 send 5
	load others web2 call 5
	# beside the agent, whoever owns the host: he sees each confirm, and tries to come back
	flood raw web1 --connections 1 --rate 200 --send trial.put || die 'the raw load does not stand'
	check 'revoke: all of them are answered' wait_until 20 has_counted web1 $(($(counted web1 sends) + 300))
	began=$(wall_ms)
	check 'revoke web1' realm revoke web1
	took=$(($(wall_ms) - began))
	"$SALLYPORT_BIN/sallyport-load" --socket "$work/web1/api.sock" --op trial.ask --body "$ASK" --warmup 0 --calls 400 --pace-ms 5 \
		--json "$work/later.json" >"$work/later.load" 2>&1 || true
	unload calls sends others
	ended "${pids[raw]}" 20
	raw=$(($(of raw .taken_unix_ms) - began))
	called=$(($(of calls .right_unix_ms) - began))
	check "the last message was taken within 1 s of the command's beginning ($raw ms)" test "$raw" -le 1000
	check "the last call was answered then too ($called ms)" test "$called" -le 1000
	check 'the last send was accepted then too' test $(($(of sends .right_unix_ms) - began)) -le 1000
	check 'nothing was afterwards' same 0 "$(of later '.statuses."200" // 0')"
	check "web2's calls went on ($(of others .requests))" same 0 "$(of others .errors)"
	check 'the broker is restarted' wait_until 100 restarted
	check 'after a restart of the broker web2 is answered' wait_until 30 crosses web2
	(hostile again web1 --connections 1 --seconds 3 --send trial.put) >/dev/null
	check "whoever has web1's keys is not let in ($(of again .failed) tries)" same '0 true' "$(of again '"\(.opened) \(.failed > 0)"')"
	check 'nor is its agent' not crosses web1
	figure 'revoke: the command took' "$took" ms
	figure 'revoke: last message taken after' "$raw" ms
	figure 'revoke: last call answered after' "$called" ms
	figure 'revoke: accepted afterwards' "$(of later '.statuses."200" // 0')" ''
	figure "revoke: web2's calls" "$(of others .requests)" ''
	figure 'revoke: of these, failed' "$(of others .errors)" ''
}

# The site ---------------------------------------------------------------------------------------------------------

declare -A pids=()
cat >"$work/site.yaml" <<TEXT
site: trial
contract: $repo/tests/attack/trial.yaml
brokers:
  border1: {at: "127.0.0.1:$port", reach: "local:broker", disk: 64MiB, folder: $work/etc}
hosts:
  web1:
  # full soon, and then what a full lane costs is in the measure
  web2: {limits: {call: {length: 1000}, reply: {length: 1000}, send: {length: 1000}}}
nodes: {app1: }
TEXT
realm init "$work/site.yaml" >/dev/null
realm apply >/dev/null
for name in web1 web2 app1; do
	install "$name"
done
proc_spawn_ready "$work/keeper.pid" "$work/keeper.log" 20 python3 "$repo/tests/attack/keeper.py" "$work/keeper.sock" \
	"$repo/examples/shop" || die "the handlers do not start: $(tail -n 3 "$work/keeper.log")"
begin app1 app-node
begin web1 webapp-agent
begin web2 webapp-agent
: >"$work/figures"
# web1 is gone after the last of them
for part in rotate flood endless revoke; do
	[[ " ${parts[*]} " != *" $part "* ]] || "part_$part"
done
echo
awk -F'\t' '{ printf "%-52s %12s %s\n", $1, $2, $3 }' "$work/figures"
echo
[[ -z $json ]] || jq -Rn --arg cpus "$(nproc)" --arg load "$(cut -d' ' -f1 /proc/loadavg)" \
	'{cpus: ($cpus | tonumber), load: ($load | tonumber), figures: [inputs | split("\t")
		| {name: .[0], value: (.[1] | tonumber? // null), unit: .[2]}]}' "$work/figures" >"$json"
