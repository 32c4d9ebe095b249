# shellcheck shell=bash
# shellcheck disable=SC2016 # what stands in single quotes is for another shell
# realm-watch.sh - keeps a watchman in each broker (realm-watch.erl), hears what he says, counts who comes again.
#
# Sourced after base.sh, realm-broker.sh. Uses: jq, mkfifo. One process for each broker holds the way there and passes lines
# on, BROKER first; everything that is remembered is in the one that reads them.

: "${here:?}" "${lib:?}" "${workshop=}" "${metrics=}" "${json=no}" "${state=}" "${reaches=}" "${work=}" "${broker_name=}"
: "${broker_reach=}" "${watch_bound=}" "${watch_alarm_bound=}" "${watch_silence_ms=}" "${watch_times=}" "${watch_within_s=}"
: "${watch_revoke=}" "${watch_pace=}"

readonly WATCH_SILENT_SECONDS=30 # the watchman says every five seconds that he is there
readonly WATCH_LINE_MAX=2048 # no line of his is near that; what is longer is cut, and not understood
readonly WATCH_MESSAGE_REDUCTIONS=600 # what reader and channel compute for one sealed message at 1000 a second (measured)
readonly WATCH_BACK_OFF_SECONDS=30
readonly WATCH_ADVICE_SECONDS=60 # how often the same line is said again

# The way to a broker ---------------------------------------------------------------------------------------------

# watch_script - prints what runs where the broker is: the watchman, for as long as its standard input stays open. Whatever
# ends first takes the others along.
watch_script() {
	local ctl='rabbitmqctl -q eval'
	! is_private || ctl="$(quote "$here/broker") ctl --dir $(quote "${broker_reach#local:}") -q eval"
	printf '{\ntrap "" PIPE\n(\n%s <<'\''ERLANG'\''\n' "$ctl"
	erlang realm-watch BOUND="$watch_bound" ALARM_BOUND="$watch_alarm_bound" SILENCE_MS="$watch_silence_ms" PACE="$watch_pace" \
		MESSAGE_REDUCTIONS="$WATCH_MESSAGE_REDUCTIONS"
	printf 'ERLANG\nkill -TERM 0\n) &\ncat >/dev/null\nkill -TERM 0\n}\n'
}

# watch_hear FD SECONDS - waits for one line, and sets `line`. What came of a line when the time was over is kept in `part`, the
# caller's, for the next time. Fails with 1 at the end, with more than 128 when the time was over and nothing at all came.
watch_hear() {
	local piece='' status=0
	line=
	IFS= read -r -n "$WATCH_LINE_MAX" -t "$2" -u "$1" piece || status=$?
	part+=$piece
	part=${part:0:WATCH_LINE_MAX}
	if ((status == 0)); then
		line=$part part=
	elif ((status > 128)) && [[ -n $piece ]]; then
		return 0
	fi
	return "$status"
}

# watch_once - one way there and back, until it breaks. Sets heard: did the watchman ever answer?
watch_once() {
	local in out line part=
	heard=no
	rm -f -- "$work/in" "$work/out"
	mkfifo -m 0600 "$work/in" "$work/out"
	exec {in}<>"$work/in"
	set -m # a process group of its own
	broker_shell <"$work/in" >"$work/out" 2>"$work/complaints" {in}>&- {lines}>&- &
	way=$!
	set +m
	exec {out}<"$work/out"
	watch_script >&"$in"
	while watch_hear "$out" "$WATCH_SILENT_SECONDS"; do
		[[ $line == event=* ]] || continue
		# was the one who would read it killed?
		kill -0 "$$" 2>/dev/null || break
		heard=yes
		printf '%s %s\n' "$broker_name" "$line" >&"$lines"
	done
	exec {in}>&- {out}<&-
	watch_part
}

# watch_part - ends the way there. Closing its standard input has done that already, unless it hangs.
watch_part() {
	[[ -n ${way:-} ]] || return 0
	kill -TERM -- "-$way" 2>/dev/null || true
	wait "$way" 2>/dev/null || true
	way=
}

# watch_keep - again and again: a broker may be away for a while.
watch_keep() {
	local back_off=1 turn heard way=
	trap 'watch_part; exit 0' HUP INT TERM
	trap - EXIT # the folder is not ours
	exec {turn}<> <(:)
	while :; do
		watch_once
		kill -0 "$$" 2>/dev/null || exit
		[[ $heard == no ]] || back_off=1
		printf '%s event=lost again_in_s=%s\n' "$broker_name" "$back_off" >&"$lines"
		read -rt "$back_off" -u "$turn" || true
		back_off=$((back_off * 2 < WATCH_BACK_OFF_SECONDS ? back_off * 2 : WATCH_BACK_OFF_SECONDS))
	done
}

# What is heard ---------------------------------------------------------------------------------------------------

# watch_log LEVEL EVENT KEY VALUE... - one line of the log.
watch_log() {
	local line key
	if [[ $json == yes ]]; then
		jq -nc '$ARGS.positional | [range(0; length; 2) as $i | {key: .[$i], value: .[$i + 1]}] | from_entries
			| map_values(if test("^(0|[1-9][0-9]{0,14})\\z") then tonumber else . end)' \
			--args t "$(date -u +%Y-%m-%dT%H:%M:%SZ)" level "$1" event "$2" "${@:3}"
		return
	fi
	line="t=$(date -u +%Y-%m-%dT%H:%M:%SZ) level=$1 part=watch event=$2"
	shift 2
	while (($# > 1)); do
		key=$1
		if [[ $2 =~ ^[A-Za-z0-9_./:@+-]+$ ]]; then
			line+=" $key=$2"
		else
			line+=" $key=\"${2//\"/\'}\""
		fi
		shift 2
	done
	printf '%s\n' "$line"
}

# watch_level EVENT
watch_level() {
	case $1 in
	watching | alive | revoked) echo info ;;
	*) echo warn ;;
	esac
}

# watch_needs EVENT - prints what a line of this event must have; numbers with a # before them.
watch_needs() {
	case $1 in
	alive) echo '#connections #held_bytes #memory_alarm #disk_alarm' ;;
	alarm) echo 'state resource' ;;
	paced) echo 'state host' ;;
	closed) echo 'host why' ;;
	esac
}

# watch_understands BROKER FIELD... - fills in `said`, `pairs` and `event`; fails if that is no line of a watchman.
watch_understands() {
	local field key
	(($# > 1)) || return 1
	for field in "${@:2}"; do
		[[ $field =~ ^[a-z_]+= ]] || return 1
		said[${field%%=*}]=${field#*=}
		[[ $field == event=* ]] || pairs+=("${field%%=*}" "${field#*=}")
	done
	event=${said[event]:-}
	[[ $event =~ ^[a-z]+$ ]] || return 1
	for key in $(watch_needs "$event"); do
		[[ -n ${said[${key#'#'}]:-} ]] || return 1
		[[ $key != '#'* || ${said[${key#'#'}]} =~ ^[0-9]+$ ]] || return 1
	done
}

# watch_line BROKER FIELD... - one event. What is none is counted and told, and nothing else comes of it.
watch_line() {
	local broker=${1:--} pairs=() event=
	local -A said=()
	if ! watch_understands "$@"; then
		[[ $broker =~ ^[a-z0-9-]{1,40}$ ]] || broker=-
		malformed[$broker]=$((${malformed[$broker]:-0} + 1))
		watch_log warn malformed broker "$broker" count "${malformed[$broker]}" line "$(tr -cd '[:print:]' <<<"$*" | cut -c1-100)"
		return 0
	fi
	case $event in
	watching) up[$broker]=1 ;;
	alive)
		up[$broker]=1
		connections[$broker]=${said[connections]} held[$broker]=${said[held_bytes]}
		alarmed[$broker memory]=${said[memory_alarm]} alarmed[$broker disk]=${said[disk_alarm]}
		at[$broker]=$(date +%s)
		return
		;;
	lost)
		up[$broker]=0
		pairs+=(err "$(tail -n 1 -- "$workshop/$broker/complaints" 2>/dev/null | tr -d '\000-\037' | cut -c1-200)")
		;;
	alarm)
		if [[ ${said[state]} == on ]]; then
			alarms[$broker ${said[resource]}]=$((${alarms[$broker ${said[resource]}]:-0} + 1))
		fi
		;;
	paced)
		paced[$broker ${said[host]}]=0
		if [[ ${said[state]} == on ]]; then
			paced[$broker ${said[host]}]=1
		fi
		;;
	closed) closed[$broker ${said[host]} ${said[why]}]=$((${closed[$broker ${said[host]} ${said[why]}]:-0} + 1)) ;;
	replaced) replaced=yes ;;
	esac
	watch_log "$(watch_level "$event")" "$event" broker "$broker" "${pairs[@]}"
	if [[ $event == closed && ${said[why]} == holds ]]; then
		watch_count "${said[host]}"
	fi
}

# watch_count HOST - its connections were closed once more; is it enough?
watch_count() {
	local host=$1 now=$EPOCHSECONDS time kept=()
	for time in ${offences[$host]:-} "$now"; do
		((now - time > watch_within_s)) || kept+=("$time")
	done
	# no more is needed to decide
	((${#kept[@]} <= watch_times)) || kept=("${kept[@]: -watch_times}")
	offences[$host]=${kept[*]}
	((${#kept[@]} >= watch_times)) && ((now >= ${advised[$host]:-0})) || return 0
	advised[$host]=$((now + WATCH_ADVICE_SECONDS))
	watch_log warn offender host "$host" times "${#kept[@]}" within_s "$watch_within_s" advice "realm revoke $host"
	[[ $watch_revoke == no ]] || watch_revoke "$host"
}

# watch_revoke HOST - in a process of its own: what else happens is heard meanwhile.
watch_revoke() {
	local host=$1 reach reaching=()
	while read -r reach; do
		reaching+=(--broker "$reach")
	done < <(jq -r '.[] | (if .name == "" then "" else "\(.name)=" end) + .reach' <<<"$reaches")
	{
		local status=0
		trap - EXIT
		"$here/realm" revoke "$host" --state "$state" "${reaching[@]}" >"$workshop/revoke.$host" 2>&1 || status=$?
		printf -- '- event=revoked host=%s status=%s\n' "$host" "$status" >&"$lines"
	} &
}

# watch_metrics - as Prometheus reads them from a text file.
watch_metrics() {
	local key broker rest
	[[ -n $metrics ]] || return 0
	{
		printf '# TYPE sallyport_watch_up gauge\n'
		for key in "${!up[@]}"; do printf 'sallyport_watch_up{broker="%s"} %s\n' "$key" "${up[$key]}"; done
		printf '# TYPE sallyport_watch_at_seconds gauge\n'
		for key in "${!at[@]}"; do printf 'sallyport_watch_at_seconds{broker="%s"} %s\n' "$key" "${at[$key]}"; done
		printf '# TYPE sallyport_watch_connections gauge\n'
		for key in "${!connections[@]}"; do printf 'sallyport_watch_connections{broker="%s"} %s\n' "$key" "${connections[$key]}"; done
		printf '# HELP sallyport_watch_held_bytes most that one identity makes the broker hold\n# TYPE sallyport_watch_held_bytes gauge\n'
		for key in "${!held[@]}"; do printf 'sallyport_watch_held_bytes{broker="%s"} %s\n' "$key" "${held[$key]}"; done
		printf '# TYPE sallyport_watch_alarm gauge\n'
		for key in "${!alarmed[@]}"; do printf 'sallyport_watch_alarm{broker="%s",resource="%s"} %s\n' "${key% *}" "${key#* }" "${alarmed[$key]}"; done
		printf '# TYPE sallyport_watch_alarms_total counter\n'
		for key in "${!alarms[@]}"; do printf 'sallyport_watch_alarms_total{broker="%s",resource="%s"} %s\n' "${key% *}" "${key#* }" "${alarms[$key]}"; done
		printf '# HELP sallyport_watch_paced whether a host is made to wait\n# TYPE sallyport_watch_paced gauge\n'
		for key in "${!paced[@]}"; do printf 'sallyport_watch_paced{broker="%s",host="%s"} %s\n' "${key% *}" "${key#* }" "${paced[$key]}"; done
		printf '# HELP sallyport_watch_malformed_total lines that were not understood\n# TYPE sallyport_watch_malformed_total counter\n'
		for key in "${!malformed[@]}"; do printf 'sallyport_watch_malformed_total{broker="%s"} %s\n' "$key" "${malformed[$key]}"; done
		printf '# HELP sallyport_watch_closed_total how often the connections of a host were closed\n# TYPE sallyport_watch_closed_total counter\n'
		for key in "${!closed[@]}"; do
			read -r broker rest <<<"$key"
			printf 'sallyport_watch_closed_total{broker="%s",host="%s",why="%s"} %s\n' "$broker" "${rest% *}" "${rest#* }" "${closed[$key]}"
		done
	} | write_file 0644 "$metrics" || say "watch: cannot write $metrics"
}

# For the realm ---------------------------------------------------------------------------------------------------

# watch_start - the broker in use gets its process.
watch_start() {
	[[ $broker_reach != dir:* ]] || usage_error "$broker_name: what is carried there ($broker_reach) cannot watch"
	watch_keep &
	keepers+=("$!")
}

# watch_stop - the end: nobody of ours is left, here or in a broker.
watch_stop() {
	trap '' HUP INT TERM
	((${#keepers[@]} == 0)) || kill -TERM "${keepers[@]}" 2>/dev/null || true
	wait
}

# watch_all - until a signal, or until another watch has taken over. watch_bound, watch_alarm_bound, watch_silence_ms,
# watch_times, watch_within_s, watch_pace and watch_revoke are set, and each_broker works.
watch_all() {
	local lines line part='' replaced=no
	local -A malformed=() up=() at=() connections=() held=() alarmed=() alarms=() closed=() paced=() offences=() advised=()
	local -a fields
	keepers=()
	mkfifo -m 0600 "$workshop/lines"
	exec {lines}<>"$workshop/lines"
	trap 'watch_stop; exit 0' HUP INT TERM
	each_broker watch_start
	while [[ $replaced == no ]]; do
		if watch_hear "$lines" 5 && [[ -n $line ]]; then
			read -ra fields <<<"$line"
			watch_line "${fields[@]}"
		fi
		watch_metrics
	done
	watch_stop
	die 'another watch has taken over'
}
