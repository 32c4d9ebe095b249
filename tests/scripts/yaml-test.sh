#!/usr/bin/env bash
# yaml-test - sallyport-yaml: what scripts read instead of YAML, and what it says of a file that is none.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

yaml() {
	"$SALLYPORT_BIN/sallyport-yaml" "$@"
}
# text TEXT - as a file
text() {
	printf '%b' "$1" >"$work/file.yaml"
	yaml "$work/file.yaml"
}
# gives JSON TEXT - what jq's filter finds in it
gives() {
	same "$1" "$(text "$2" | jq -c .value)"
}
# refuses PLACE-AND-WORDS TEXT - exit 2, with that line
refuses() {
	exits 2 text "$2" && says "$work/file.yaml:$1" text "$2"
}

check 'called without a file it is exit 2' exits 2 yaml
check 'with two as well' exits 2 yaml a b
check 'it says how to call it' says 'usage: sallyport-yaml FILE' yaml --help
check 'a file that is not there is exit 1' exits 1 yaml "$work/none"
check 'a folder too' exits 1 yaml "$work"
check 'an answer that cannot be written is exit 1' exits 1 bash -c \
	"printf 'a: 1\n' >'$work/file.yaml' && '$SALLYPORT_BIN/sallyport-yaml' '$work/file.yaml' >/dev/full"

check 'maps, lists, words' gives '{"a":{"b":[1,"two",{"c":null}]}}' 'a:\n  b: [1, two, {c: }]\n'
check 'what is quoted stays text' gives '{"a":"1","b":"true"}' 'a: "1"\nb: '"'true'"'\n'
check 'booleans are true and false, yes is a word' gives '[true,false,"yes"]' '[true, false, yes]'
check 'whole numbers are numbers' gives '[0,-5,123456789012345]' '[0, -5, 123456789012345]'
check 'what would not stay what it is stays text' gives '["007","-0","1.5","1e3","1234567890123456","0x10"]' \
	'[007, -0, 1.5, 1e3, 1234567890123456, 0x10]'
check 'JSON is read too' gives '{"a":["ä\n"]}' '{"a": ["ä\\n"]}'
check 'each value has its place' same '{"a":[1,1],"a.b":[2,3],"a.b[0]":[2,7],"a.b[1]":[3,5],"a.b[1].c":[3,6]}' \
	"$(text 'a:\n  b: [1,\n    {c: 2}]\n' | jq -c .at)"

check 'a key twice' refuses '2:1: a: this key is written already in line 1' 'a: 1\na: 2\n'
check 'an anchor' refuses '1:4: a: anchors are not allowed' 'a: &x 1\n'
check 'nothing at all' refuses ' the file is empty' ''
check 'a key with a byte 0' refuses '1:1: ' '"a\\0b": 1\n'
check 'braces behind a word' refuses '1:8: a: braces behind a word' 'a: b(1){c: 2}\n'
check 'too deep' refuses '1:' "$(printf '[%.0s' {1..20})$(printf ']%.0s' {1..20})"
check 'keys that are too long together' refuses ' a key and those above it' "$(printf 'a%.0s' {1..900}):\n  $(printf 'b%.0s' {1..900}): 1\n"
check 'all mistakes at once' same 2 "$(text 'a: 1\na: 2\nb: &x 1\n' 2>&1 | wc -l)"
