#!/usr/bin/env bash
# ghosts-test - clients that vanish without a word hold no place at the border: a real broker, in a network of its own
# whose packets the test may drop.
set -euo pipefail
if [[ -z ${GHOSTS_NETWORK:-} ]]; then
	GHOSTS_NETWORK=shared
	if unshare -Urn true 2>/dev/null; then
		GHOSTS_NETWORK=own exec unshare -Urn "$0"
	fi
	export GHOSTS_NETWORK
fi
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=$work/broker
ghosts=()

at_end() {
	kill -KILL "${ghosts[@]}" || true
	"$repo/scripts/broker" down --dir "$dir"
}

broker() {
	"$repo/scripts/broker" "$1" --dir "$dir" "${@:2}"
}

value() {
	sed -n "s/^$1=//p" "$work/env"
}

# haunt MANNER HOST - one more ghost; returns when it has behaved as it should.
haunt() {
	local log=$work/ghost.${#ghosts[@]}
	rm -f "$log"
	python3 "$repo/tests/scripts/ghost.py" "$(value BROKER_PORT)" "$(value BROKER_CERTS)" \
		"web.$2.g1" "border.$2" "$1" >"$log" 2>&1 &
	ghosts+=("$!")
	disown "$!"
	wait_until 20 test -s "$log"
	cat "$log"
	[[ $(<"$log") == ready* ]]
}

# vanish - they all die at once, without a goodbye of AMQP
vanish() {
	kill -KILL "${ghosts[@]}" 2>/dev/null || true
}

# sever, mend - what goes to or from the ghosts' address is lost, without an answer
sever() {
	ip rule add pref 1 from 127.0.0.2 blackhole && ip rule add pref 2 to 127.0.0.2 blackhole
}
mend() {
	ip rule del pref 1 && ip rule del pref 2
}

# counted HOST - connections that count against its limit
counted() {
	broker ctl eval "rabbit_connection_tracking:count_tracked_items_in({user, <<\"web.$1.g1\">>})"
}
counts() {
	[[ $(counted "$1") == "$2" ]]
}
states() {
	broker ctl eval 'lists:usort([S || P <- rabbit_networking:local_connections(),
		{state, S} <- rabbit_networking:connection_info(P, [state])])'
}
is_state() {
	[[ $(states) == "$1" ]]
}
is_throttled() {
	[[ $(states) =~ flow|blocked ]]
}
is_stuck() {
	grep -qsx stuck "$work/ghost.$((${#ghosts[@]} - 1))"
}

# alarm FRACTION - of the memory, above which publishers are blocked
alarm() {
	broker ctl eval "vm_memory_monitor:set_vm_memory_high_watermark($1)"
}

# asked_soon - are all who are connected asked for a sign of life after ten seconds of silence at most?
asked_soon() {
	local connections
	connections=$(ss -Htno state established "sport = :$(value BROKER_PORT)")
	echo "$connections"
	[[ -n $connections ]] && ! grep -vqE 'keepalive,([0-9](\.[0-9]*ms|sec)|10sec|[0-9]+ms),' <<<"$connections"
}

if [[ $GHOSTS_NETWORK == own ]]; then
	ip link set lo up
	# its rules stand before the one for local addresses
	ip rule add pref 10 lookup local && ip rule del pref 0
fi
broker up --hosts web1,web2 >"$work/env"

check 'a client may do without heartbeats' haunt idle web1
check 'the kernel asks for it, within ten seconds' wait_until 5 asked_soon
vanish
check 'who is killed in silence is gone' wait_until 20 counts web1 0

for _ in 1 2 3; do
	haunt flood web1 >/dev/null || true
	wait_until 20 is_throttled || true
	vanish
done
check 'who is killed while it is throttled is gone' wait_until 20 counts web1 0

haunt partial web1 >/dev/null || true
vanish
check 'who is killed in the middle of a message is gone' wait_until 20 counts web1 0

# An alarm: the broker reads from no publisher, and learns nothing of it. See docs/architecture.md, Known limits.
alarm 0.00001 >/dev/null
check 'a publisher is blocked by an alarm' haunt publish web1
wait_until 10 is_state '[blocked]' || true
vanish
alarm 0.4 >/dev/null
check 'who is killed in an alarm is gone when it ends' wait_until 20 counts web1 0

# One that lives and reads nothing. web2's, so that both clocks run at once.
for _ in {1..30}; do
	broker ctl eval 'rabbit_basic:publish(rabbit_misc:r(<<"border.web2">>, exchange, <<"x.forweb">>), <<"push">>, [],
		binary:copy(<<"x">>, 200000))' >/dev/null
done
check 'a consumer that reads nothing is let in' haunt consume web2

if [[ $GHOSTS_NETWORK == own ]]; then
	for manner in idle partial publish flood; do
		check "a ghost that will be cut off: $manner" haunt "$manner" web1
	done
	check 'the broker counts them' counts web1 4
	check 'a fifth connection is refused' says 'connection limit (4) is reached' haunt idle web1
	kill -STOP "${ghosts[@]: -4}"
	sever
	check 'those whose packets are lost are gone' wait_until 40 counts web1 0
	mend
	check 'the consumer that reads nothing is cut' wait_until 40 counts web2 0
	check 'and the host is let in again' haunt idle web1
else
	echo '# no network namespaces here: lost packets were not tried'
	check 'the consumer that reads nothing is cut' wait_until 40 counts web2 0
fi
