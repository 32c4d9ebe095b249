#!/usr/bin/env bash
# restore-test - a state folder that comes back from a backup, on a real broker that knows more than it.
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
again() {
	"$repo/scripts/realm" "$@" --state "$work/again" --broker "local:$dir"
}
users() {
	"$repo/scripts/broker" ctl --dir "$dir" eval \
		'lists:sort([proplists:get_value(user, U) || U <- rabbit_auth_backend_internal:list_users()]).' | tr -d '\n '
}

{
	printf 'site: shop\ncontract: contract.yaml\n'
	printf 'brokers:\n  border1: {at: "127.0.0.1:%s", reach: "local:broker", disk: 64MiB}\n' "$port"
	printf 'hosts: {web1: , web2: , web3: }\nnodes: {app1: }\n'
} >"$work/site.yaml"
cp -- "$repo/examples/shop/contract.yaml" "$work/contract.yaml"
check 'a site' realm init "$work/site.yaml"
check 'and its border' says '  done' realm apply
check 'a backup' realm backup "$work/backup.tar.gz"
: >"$state/revoked.web3"
check 'one while a revocation has begun' realm backup "$work/begun.tar.gz"
rm -- "$state/revoked.web3"
check 'remembers it' says './revoked.web3' tar -tzf "$work/begun.tar.gz"

# As on another machine: nothing of the site but the backup.
mkdir -m 0700 "$work/away" "$work/else"
tar -C "$work/else" -xzf "$work/backup.tar.gz"
mv "$work/site.yaml" "$work/contract.yaml" "$work/away"
elsewhere() {
	"$repo/scripts/realm" "$@" --state "$work/else" --broker "local:$dir"
}
check 'a backup is enough for a plan elsewhere' says 'nothing to change' elsewhere plan
check 'and for a bundle, with its contract' exits 0 elsewhere bundle web1
check 'which is the same' cmp "$work/else/bundles/web.web1.g1/contract.yaml" "$work/away/contract.yaml"
check 'and for a backup of its own' elsewhere backup "$work/second.tar.gz"
check 'no half backup is made where the site file is missing' exits 1 realm backup "$work/none.tar.gz"
mv "$work/away/site.yaml" "$work/away/contract.yaml" "$work"

check 'after it: a rotation' realm rotate web1
check 'which is finished' realm rotate web1 --retire --force
check 'one is thrown out' realm revoke web2
check 'one comes' realm add-web web4
check 'the border is whole, and what the broker remembers is no trap' realm lint
check 'here nothing is behind' says 'nothing to change' realm apply

mkdir -m 0700 "$work/again"
tar -C "$work/again" -xzf "$work/backup.tar.gz"
before=$(users)
check 'plan notices that the state is an older one' says 'border1 knows web1 up to g2, this state folder only g1' again plan
check 'exit 1' exits 1 again plan
check 'apply refuses' exits 1 again apply
check 'and says what to do' says 'realm apply --restored' again apply
check 'no generation is given out' exits 1 again rotate web1
check 'nor anybody made' exits 1 again add-web web4
check 'nothing was changed there' same "$before" "$(users)"
check 'nor here' same 1 "$(jq .hosts.web1.last "$work/again/realm.json")"
check 'it goes on above what the broker has seen' again apply --restored
check 'nobody comes back' same '[<<"app.app1.g1">>,<<"web.web1.g3">>,<<"web.web3.g1">>,<<"web.web4.g2">>]' "$(users)"
check 'who was thrown out stays so' says 'web2  revoked' again status
check 'also for the nodes' grep -qx 'crossings.revoked = web.web2.g1' "$work/again/bundles/app.app1.g1/app-node.conf"
check 'there is a bundle of the new generation' test -s "$work/again/bundles/web.web1.g3/web.web1.g3.key"
check 'then it is as any other' says 'nothing to change' again apply
check 'and whole' again lint
: >"$work/again/revoked.web3"
: >"$work/again/untold.web3"
check 'status shows a revocation that broke off' says 'the revocation of web3 is not finished' again status
check 'and that no node was told' says 'not told yet that web3 was revoked' again status
check 'the next run tells them' says 'the message waits for them' again apply
check 'once' not test -e "$work/again/untold.web3"
check 'and finishes it' not test -e "$work/again/revoked.web3"
check 'the folder of before is the older one now' says 'restored from an older copy' realm apply
