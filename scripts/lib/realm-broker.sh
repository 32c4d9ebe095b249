# shellcheck shell=bash
# shellcheck disable=SC2016 # what stands in single quotes is for another shell
# realm-broker.sh - one broker of the realm: what it should be, what it is, and how it gets from one to the other.
#
# Sourced after base.sh, border.sh, realm-state.sh. Uses: jq, ssh. Everything that happens on the broker's machine is one
# shell script that comes through its standard input, so it is the same on this machine, over ssh and in a folder that
# somebody carries there. What goes there holds no key but the broker's own.
#
: "${here:?}" "${lib:?}" "${workshop=}" "${model=}"

readonly BROKER_MEMORY=sallyport_realm # the global parameter in which a broker remembers what was given out (realm-model.jq)

# The broker that the functions below are about stands in broker_name, broker_reach, broker_folder and so on: use_broker
# sets them, and `work`, its folder of work: broker.json, wanted/ (the files as they should be), facts.json, files ("NAME
# SHA256" of what is there), plan.json, done.json (what came of each step), complaints.

# use_broker JSON NAME REACH FOLDER ADDRESS PORT MEMORY DISK
use_broker() {
	broker_name=$2 broker_reach=$3 broker_folder=$4 broker_address=$5 broker_port=$6 broker_memory=$7 broker_disk=$8
	work=$workshop/$broker_name
	mkdir -p -- "$work/wanted"
	printf '%s\n' "$1" >"$work/broker.json"
}

is_private() {
	[[ $broker_reach == local:* ]]
}

conf_name() {
	if is_private; then echo border.conf; else echo rabbitmq.conf; fi
}

# broker_wanted - writes what the broker should have.
broker_wanted() {
	local prefix=$broker_folder/
	# a private broker reads its files from the folder it runs in, whose name may be anything
	! is_private || prefix=
	ask 'description($broker[0].parts)' -c --slurpfile broker "$work/broker.json" >"$work/description.json" ||
		die 'cannot describe the site'
	border_definitions "$work/description.json" | jq --arg memory "$(ask memory -r)" --arg name "$BROKER_MEMORY" \
		'.global_parameters = ((.global_parameters // []) + [{name: $name, value: $memory}])' >"$work/wanted/definitions.json" ||
		die 'cannot make the definitions'
	border_conf ADDRESS="$broker_address" PORT="$broker_port" \
		CA="${prefix}ca.pem" CERTIFICATE="${prefix}broker.pem" KEY="${prefix}broker.key" \
		DEFINITIONS="${prefix}definitions.json" MEMORY="$broker_memory" DISK_FREE="$broker_disk" \
		>"$work/wanted/$(conf_name)" || die 'cannot make rabbitmq.conf'
	cp -- "$BORDER_CONFIG/enabled_plugins" "$BORDER_CONFIG/advanced.config" "${pki:?}/ca.pem" "$work/wanted"
	# a dry run makes no certificate
	if [[ ${dry_run:-no} == yes && ${renewed:-} == "$broker_name" ]] ||
		! cp -- "$pki/broker.$broker_name.pem" "$work/wanted/broker.pem" 2>/dev/null; then
		: >"$work/wanted/broker.pem"
	fi
}

# quote TEXT - prints it as one word of a POSIX shell.
quote() {
	printf "'%s'" "${1//\'/\'\\\'\'}"
}

# Scripts --------------------------------------------------------------------------------------------------------

# script_head - prints what every script for a broker begins with.
script_head() {
	local folder owner=
	printf 'set -eu\numask 077\n'
	if is_private; then
		folder=${broker_reach#local:}/server
		printf 'broker() { verb=$1; shift; %s "$verb" --dir %s "$@"; }\n' "$(quote "$here/broker")" \
			"$(quote "${broker_reach#local:}")"
		cat <<'SH'
evaluate() { broker ctl eval "$(cat)"; }
start() { broker start >/dev/null; }
restart() { broker stop && broker start >/dev/null; }
enter() {
	mkdir -p "$folder"
	cd "$folder"
	if [ -e ../state/site.json ]; then
		echo 'scripts/broker provisions the broker there itself' >&2
		exit 1
	fi
	[ -e realm ] || echo '{"hosts": [], "nodes": []}' >realm
}
SH
	else
		folder=$broker_folder
		owner=rabbitmq
		# by its standard input: the wrapper of the package hands arguments to a shell
		cat <<'SH'
evaluate() { rabbitmqctl -q -t 60 eval; }
restart() { systemctl restart rabbitmq-server; }
enter() { mkdir -p "$folder" && cd "$folder"; }
SH
	fi
	printf 'folder=%s\nowner=%s\n' "$(quote "$folder")" "$owner"
	cat <<'SH'
# put MODE NAME - standard input, in base64, becomes the file, in one step
put() {
	base64 -d >".realm.$$.$2"
	chmod "$1" ".realm.$$.$2"
	if [ -n "$owner" ] && [ "$(id -u)" = 0 ]; then chgrp "$owner" ".realm.$$.$2"; fi
	mv -f ".realm.$$.$2" "$2"
}
# sweep - what runs left that were killed
sweep() {
	find . -maxdepth 1 \( -name '.realm.*' -o -name 'change.*.json' -o -name 'control.*.json' \) -mmin +60 -exec rm -f {} +
}
tell_files() {
	for name in definitions.json rabbitmq.conf border.conf advanced.config enabled_plugins ca.pem broker.pem; do
		if [ -f "$name" ]; then echo "file $name $(sha256sum <"$name" | cut -d' ' -f1)"; fi
	done
	if [ -f broker.key ]; then echo 'file broker.key there'; fi
}
# answer KIND - an expression on standard input, its value as one line
answer() {
	if value=$(evaluate) && value=$(printf '%s' "$value" | tr -cd 'A-Za-z0-9+/=') && [ -n "$value" ]; then
		echo "$1 $value"
	else
		echo "$1 none"
	fi
}
SH
}

# script_put NAME MODE FILE
script_put() {
	printf "put %s %s <<'BASE64'\n" "$2" "$1"
	base64 <"$3"
	echo BASE64
}

# erlang NAME KEY=VALUE... - prints an expression, with @KEY@ replaced by its value and @CUT@ by realm-cut.erl
erlang() {
	local text pair
	text=$(<"$lib/$1.erl")
	shift
	for pair in CUT="$(<"$lib/realm-cut.erl")" "$@"; do
		text=${text//"@${pair%%=*}@"/"${pair#*=}"}
	done
	printf '%s\n' "$text"
}

script_facts() {
	printf "tell_files\nanswer facts <<'ERLANG'\n"
	cat "$lib/realm-facts.erl"
	echo ERLANG
}

# script_files - the files that differ from what is there
script_files() {
	local name key_mode=0640
	! is_private || key_mode=0600
	for name in $(changed_files); do
		case $name in
		broker.key) script_put "$name" "$key_mode" "$pki/broker.$broker_name.key" ;;
		*) script_put "$name" 0644 "$work/wanted/$name" ;;
		esac
	done
}

# name_order KIND - prints the name of a file for one order of this run: another run may be at it on the same broker, and
# neither may take the other's order for its own.
name_order() {
	printf '%s.%s.%s.json\n' "$1" "$$" "$RANDOM$RANDOM"
}

# where_broker_reads NAME - prints the path under which the broker finds a file of its folder
where_broker_reads() {
	if is_private; then printf '%s\n' "$1"; else printf '%s/%s\n' "$broker_folder" "$1"; fi
}

# script_change [CHANGE] - what the plan or CHANGE says, brought about
script_change() {
	local name
	name=$(name_order change)
	if (($# > 0)); then
		printf '%s\n' "$1"
	else
		jq -c .change "$work/plan.json"
	fi >"$work/change.json"
	script_put "$name" 0644 "$work/change.json"
	printf "answer change <<'ERLANG'\n"
	erlang realm-change FILE="$(where_broker_reads "$name")"
	printf 'ERLANG\nrm -f %s\n' "$name"
}

# script_forget USER... - who was thrown out does not come back with the file that is loaded at a start, whatever becomes
# of this run. Without the file, or without an answer, broker_apply writes it anew later.
script_forget() {
	local user names='' any=''
	for user; do
		names+=",<<\"$user\">>"
		any+=" -e '\"$user\"'"
	done
	printf "if grep -qsF%s definitions.json && value=\$(evaluate <<'ERLANG'\n" "$any"
	erlang realm-forget FILE="$(where_broker_reads definitions.json)" USERS="[${names#,}]"
	cat <<'SH'
ERLANG
); then
	printf '%s' "$value" | tr -cd 'A-Za-z0-9+/=' | base64 -d | gunzip >.realm.$$.left 2>/dev/null || : >.realm.$$.left
	if [ -s .realm.$$.left ]; then base64 <.realm.$$.left | put 0644 definitions.json; fi
	rm -f .realm.$$.left
fi
SH
}

# broker_shell - a shell where the broker is; what it shall do is standard input.
broker_shell() {
	case $broker_reach in
	local | local:*) sh -s ;;
	ssh:*)
		ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10 -- "${broker_reach#ssh:}" \
			'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'
		;;
	esac
}

# at_broker - runs the script where the broker is, and takes its answers. Fails when that machine cannot be reached or
# the script broke off.
at_broker() {
	local ok=0
	broker_shell <"$work/script" >"$work/answers" 2>"$work/complaints" || ok=1
	take_answers <"$work/answers"
	return "$ok"
}

# script_tell FILE - a control message, published to all app nodes
script_tell() {
	local name
	name=$(name_order control)
	script_put "$name" 0644 "$1"
	printf "answer told <<'ERLANG'\n"
	erlang realm-tell FILE="$(where_broker_reads "$name")"
	printf 'ERLANG\nrm -f %s\n' "$name"
}

# Asking ---------------------------------------------------------------------------------------------------------

# take_answers - reads what a script said: "file NAME SHA256", "facts …", "change …", "told …".
take_answers() {
	local word rest
	: >"$work/files"
	rm -f -- "$work/facts.json" "$work/done.json" "$work/told.json"
	while read -r word rest; do
		case $word in
		file) printf '%s\n' "$rest" >>"$work/files" ;;
		facts) unpack "$rest" >"$work/facts.json" || rm -f -- "$work/facts.json" ;;
		change) unpack "$rest" >"$work/done.json" || rm -f -- "$work/done.json" ;;
		told) unpack "$rest" >"$work/told.json" || rm -f -- "$work/told.json" ;;
		esac
	done
}

unpack() {
	[[ $1 != none ]] && base64 -d <<<"$1" 2>/dev/null | gunzip 2>/dev/null | jq -c . 2>/dev/null
}

# broker_ask - what is there now. Fails when the machine cannot be reached; a broker that does not run is an answer.
broker_ask() {
	if [[ $broker_reach == dir:* ]]; then
		# what was brought back from there, if somebody did
		: >"$work/answers"
		[[ ! -s ${broker_reach#dir:}/answers ]] || cp -- "${broker_reach#dir:}/answers" "$work/answers"
		take_answers <"$work/answers"
		return
	fi
	{
		script_head
		echo 'cd "$folder" 2>/dev/null || exit 0'
		script_facts
	} >"$work/script"
	at_broker
}

# broker_answers - did it, the last time?
broker_answers() {
	[[ -s $work/facts.json ]]
}

# broker_remembers - prints what it remembers of the realm as a word of JSON, if it answered and does.
broker_remembers() {
	! broker_answers || jq --arg name "$BROKER_MEMORY" \
		'.definitions.global_parameters[]? | select(.name == $name).value | strings' "$work/facts.json"
}

# changed_files - prints the names of files that are not as they should be. The broker's key goes with its certificate.
changed_files() {
	local name sum
	while read -r sum name; do
		name=${name##*/}
		if ! grep -qxF "$name $sum" "$work/files"; then
			printf '%s\n' "$name"
			[[ $name != broker.pem ]] || echo broker.key
		elif [[ $name == broker.pem ]] && ! grep -qxF 'broker.key there' "$work/files"; then
			echo broker.key
		fi
	done < <(sha256sum "$work"/wanted/*)
}

# broker_plan - compares; the result is in plan.json, and in change.json what realm-change.erl takes.
broker_plan() {
	local live=(--argjson live '[]') pruning=false
	! broker_answers || live=(--slurpfile live "$work/facts.json")
	[[ ${prune:-no} == no ]] || pruning=true
	changed_files >"$work/changed"
	jq -nc -L "$lib" --slurpfile wanted "$work/wanted/definitions.json" "${live[@]}" --slurpfile model <(printf '%s' "$model") \
		--rawfile files "$work/changed" --argjson discard "${discard:-[]}" --argjson prune "$pruning" \
		-f "$lib/realm-plan.jq" >"$work/plan.json" || die 'cannot compare'
}

# has_change - is there anything for realm-change.erl?
has_change() {
	[[ $(<"$work/plan.json") != *'"change":{"delete":[],"import":null,"close":[]}}' ]]
}

is_settled() {
	[[ $(<"$work/plan.json") == '{"changes":[],'* ]]
}

# broker_apply - brings it about, and asks again. Fails when the machine cannot be reached.
broker_apply() {
	if [[ $broker_reach == dir:* ]]; then
		dir_write "${broker_reach#dir:}"
		return
	fi
	{
		script_head
		printf 'enter\nsweep\n'
		script_files
		if broker_answers; then
			! has_change || script_change
			[[ ${restart:-no} == no ]] || echo restart
		elif is_private; then
			echo start
		elif [[ ${restart:-no} == yes ]]; then
			echo restart
		fi
		script_facts
	} >"$work/script"
	at_broker
}

# broker_expel USER... - throws users out before anything else is asked or done: user, then connections, then the file that
# is loaded at a start. Fails unless the broker said that each of them is gone. The rest is for broker_apply, at once.
# Not for a folder to carry: nobody is out because a script was written.
broker_expel() {
	local user steps=
	for user; do
		steps+=",{\"kind\":\"user\",\"name\":\"$user\"}"
	done
	{
		script_head
		echo enter
		script_change "{\"delete\":[${steps#,}],\"import\":null,\"close\":[]}"
		script_forget "$@"
	} >"$work/script"
	at_broker && jq -e --argjson steps "[${steps#,}]" \
		'. as $done | all($steps[]; . as $step | any($done[]; .[0] == $step and IN(.[1]; "done", "gone")))' \
		"$work/done.json" >/dev/null 2>&1
}

# holds PART - is this one a broker of "border" or "inner"?
holds() {
	jq -e --arg part "$1" '.parts | index($part)' "$work/broker.json" >/dev/null
}

# broker_tell FILE - publishes a control message. In a folder that is carried it goes along with the rest.
broker_tell() {
	[[ $broker_reach != dir:* ]] || return 0
	{
		script_head
		echo enter
		script_tell "$1"
	} >"$work/script"
	at_broker && [[ -s $work/told.json ]]
}

# A folder to carry: a script that does there what would be done here.
dir_write() {
	local path=$1
	mkdir -p -- "$path" && chmod 0700 -- "$path" || return 1
	: >"$work/files" # who knows what is there by then: all of it goes along
	{
		printf '#!/bin/sh\n# install - run as root on the broker of the border; bring the file "answers" back.\numask 077\nat=$(cd "$(dirname "$0")" && pwd) || exit\nrm -f "$at/answers"\n(\n'
		script_head
		echo enter
		script_files
		printf 'if [ "${1:-}" = --restart ]; then restart; fi\n'
		script_change
		if [[ -s ${workshop:?}/control.json ]] && holds inner; then script_tell "$workshop/control.json"; fi
		script_facts
		printf ') >"$at/answers"\n'
	} | write_file 0700 "$path/install" || return 1
	rm -f -- "$path/answers"
}
