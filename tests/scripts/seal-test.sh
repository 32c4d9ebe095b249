#!/usr/bin/env bash
# seal-test - sallyport-seal: control messages of operations, and the names of keys. That nodes believe what it makes is
# realm-test's to show.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seal() {
	"$SALLYPORT_BIN/sallyport-seal" "$@"
}
# key_file NAME LINE... - a key file of these lines
key_file() {
	printf '%s\n' 'sallyport-seal-key v1' "${@:2}" | write_file 0600 "$work/$1"
}
# control KEY TYPE BODY
control() {
	printf '%s' "$3" | seal control "$work/$1" "$2"
}
present=$(printf '%02x' {0..31})
key_file one "key present $present"
key_file two "key present $(openssl rand -hex 32)" "key accepted $present"

check 'called without anything it is exit 2' exits 2 seal
check 'with an unknown command too' exits 2 seal open "$work/one"
check 'without a type too' exits 2 seal control "$work/one"
check 'it says how to call it' says 'usage: sallyport-seal control KEYFILE TYPE' seal --help
check 'a key file that is not there is exit 2' exits 2 seal names "$work/none"
chmod 0644 "$work/two"
check 'one that others may read as well' says 'chmod 600' seal names "$work/two"
chmod 0600 "$work/two"
key_file bad 'key present abc'
check 'a mistake in it is told with its line' says "$work/bad:2" control bad control.revoked '{}'
check 'a type that is none is exit 2' exits 2 control one 'Control Revoked' '{}'
check 'an answer that cannot be written is exit 1' exits 1 bash -c "'$SALLYPORT_BIN/sallyport-seal' names '$work/one' >/dev/full"
check 'a body beyond its size is exit 1' exits 1 control one control.revoked "$(printf '%05000d' 0)"

check 'the name of a key, as the seal says it' same '["ea87aefc9b578aba",null]' "$(seal names "$work/one" | jq -c '[.present, .accepted]')"
check 'of two keys, of several files' same '[null,"ea87aefc9b578aba"]' \
	"$(seal names "$work/one" "$work/two" | jq -sc '[.[].accepted]')"

control one control.revoked '{"host":"web1","generation":3}' >"$work/message.json"
check 'a message has what its publisher needs' same \
	'["body_hex","content_encoding","content_type","headers","message_id","type","user_id"]' "$(jq -c keys "$work/message.json")"
check 'is of operations, and sealed' same '["control.revoked","operations","application/json","sealed-v1"]' \
	"$(jq -c '[.type, .user_id, .content_type, .content_encoding]' "$work/message.json")"
check 'with the name of the key in front' same 01ea87aefc9b578aba "$(jq -r '.body_hex[:18]' "$work/message.json")"
check 'and as long as it must be' same $((2 * (30 + 37))) "$(jq '.body_hex | length' "$work/message.json")"
check 'its numbers survive jq' same "$(grep -oE '"(sent-us|epoch)":[0-9]+' "$work/message.json")" \
	"$(jq -c .headers "$work/message.json" | grep -oE '"(sent-us|epoch)":[0-9]+')"
check 'it holds no key' not grep -qF "$present" "$work/message.json"
check 'the next one is another one' not cmp -s "$work/message.json" <(control one control.revoked '{"host":"web1","generation":3}')
