#!/usr/bin/env bash
# watch-test - what realm watch makes of the lines it gets: in pieces, broken, and in the order they come. No broker.
# shellcheck disable=SC2317 # speak is called by what it is given to
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
here=$repo/scripts lib=$repo/scripts/lib
# shellcheck source=scripts/lib/realm-watch.sh
. "$lib/realm-watch.sh"

workshop=$work metrics=$work/metrics watch_times=3 watch_within_s=600
: "$here" "$workshop" "$watch_times" "$watch_within_s"

# In place of what talks to brokers: a script of lines, which ends as another watch would end it.
each_broker() {
	{
		trap - EXIT
		speak >&"$lines"
		echo 'border1 event=replaced' >&"$lines"
	} &
	keepers+=("$!")
}
# a turn has passed in which no line was completed: the metrics are written at the end of each
turn_passes() {
	rm -f -- "$metrics"
	wait_until 30 test -s "$metrics"
	rm -f -- "$metrics"
	wait_until 30 test -s "$metrics"
}
# watched - runs until the end of the script
watched() {
	rm -f -- "$work/lines"
	(
		trap - EXIT
		watch_all
	) >"$work/log" 2>&1 || true
	cat "$work/log"
	grep -q 'another watch has taken over' "$work/log"
}

speak() {
	echo 'border1 event=watching node=a'
	printf 'border1 event=clo'
	turn_passes
	echo 'sed host=web1 why=silent'
}
check 'a line in two pieces, with a pause longer than one turn' watched
check 'is one line' grep -q 'event=closed broker=border1 host=web1 why=silent' "$work/log"
check 'and nothing was thrown away' not grep -q malformed "$work/log"

speak() {
	echo
	echo border1
	echo 'border1 nothing of the kind'
	echo 'border1 =x event=closed'
	echo 'border1 event='
	echo 'border1 event=closed host=web1'
	echo 'border1 event=alive connections=x held_bytes=1 memory_alarm=0 disk_alarm=0'
	echo 'border1 ved_bytes=1 memory_alarm=0'
	head -c 9000 /dev/zero | tr '\0' x
	echo
	echo 'border1 event=closed host=web2 why=silent'
}
check 'lines that are none do not end it' watched
check 'they are counted' grep -q 'event=malformed broker=border1 count=7 ' "$work/log"
check 'also for whoever reads metrics' grep -qx 'sallyport_watch_malformed_total{broker="border1"} 7' "$metrics"
check 'what comes after is heard' grep -q 'event=closed broker=border1 host=web2 why=silent' "$work/log"
