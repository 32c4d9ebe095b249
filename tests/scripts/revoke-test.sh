#!/usr/bin/env bash
# revoke-test - hosts are thrown out while other runs are busy with the same border, on a real broker.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$work/state
dir=$work/broker
port=$(free_port)

at_end() {
	"$repo/scripts/broker" kill --dir "$dir"
	"$repo/scripts/broker" down --dir "$dir"
}
realm() {
	"$repo/scripts/realm" "$@" --state "$state"
}
evaluate() {
	"$repo/scripts/broker" ctl --dir "$dir" eval "$1"
}
users() {
	evaluate 'lists:sort([proplists:get_value(user, U) || U <- rabbit_auth_backend_internal:list_users()]).' | tr -d '\n '
}
# messages - how many wait for app1
messages() {
	evaluate '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"inner">>, queue, <<"control.app1">>)),
		{ok, Ready, _} = rabbit_amqqueue:stat(Q), Ready.'
}
is_out() {
	grep -q "^$1 is out" "$work/$1"
}
# ends_well NAME PID
ends_well() {
	if ! wait "$2" || ! is_out "$1"; then
		cat "$work/$1"
		return 1
	fi
}
# stays_out NAME - is it in neither of both?
stays_out() {
	! users | grep -qF "web.$1." && ! grep -qF "web.$1." "$dir/server/definitions.json"
}

{
	printf 'site: shop\n'
	printf 'brokers:\n  border1: {at: "127.0.0.1:%s", reach: "local:broker", disk: 64MiB}\n' "$port"
	printf 'hosts: {web1: , web2: , web3: , web4: , web5: }\nnodes: {app1: }\n'
} >"$work/site.yaml"
check 'a site' realm init "$work/site.yaml"
check 'and its border' says '  done' realm apply

# Three at once: each is out, and each is told of.
declare -A pids
for host in web1 web2 web3; do
	realm revoke "$host" >"$work/$host" 2>&1 &
	pids[$host]=$!
done
for host in "${!pids[@]}"; do
	check "$host, one of three at once, is said to be out" ends_well "$host" "${pids[$host]}"
	check "and $host is" stays_out "$host"
done
check 'each of them has its own message' [ "$(messages)" = 3 ]
check 'nothing is left over' [ -z "$(find "$dir/server" -maxdepth 1 \( -name '.realm.*' -o -name 'change.*' -o -name 'control.*' \))" ]

# Another run holds the state: he is out all the same, also when the broker starts again.
exec {held}>"$state/.lock"
flock "$held"
realm revoke web4 >"$work/web4" 2>&1 &
pid=$!
check 'out, though another run is busy' wait_until 20 is_out web4
check 'and told of' wait_until 20 grep -q '^not told yet, because not connected: app1' "$work/web4"
check 'the broker dies' "$repo/scripts/broker" kill --dir "$dir"
check 'and is back' "$repo/scripts/broker" start --dir "$dir"
check 'he is not' stays_out web4
check 'all others are' says 'web.web5.g1' users
flock -u "$held"
check 'the revocation ends well' ends_well web4 "$pid"
check 'nothing else was touched' says 'nothing to change' realm apply
check 'and the border is whole' realm lint
