#!/usr/bin/env bash
# realm-site-test - a site file that changes between two runs, and what a run then says that reaches no broker: all of them
# are folders to carry.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$work/state

realm() {
	"$repo/scripts/realm" "$@" --state "$state"
}

# site TEXT... - writes the site file, of one broker
site() {
	{
		printf 'site: shop\nbrokers:\n  b1: {at: "127.0.0.1:5671", reach: "dir:carry1"}\n'
		(($# == 0)) || printf '%s\n' "$@"
	} >"$work/site.yaml"
}

# refused COMMAND LINE:COLUMN: KEY: TEXT-PART - exit 2 with that, and the state folder is what it was?
refused() {
	local before
	before=$(<"$state/realm.json")
	exits 2 realm "$1" --site "$work/site.yaml" >"$work/said" 2>&1 || {
		cat "$work/said"
		return 1
	}
	grep -F "$work/site.yaml:$2" "$work/said" | grep -qF "$3" || {
		cat "$work/said"
		return 1
	}
	same "$before" "$(<"$state/realm.json")"
}

site 'hosts: {w1: , w2: }' 'nodes: {n1: }'
check 'init' realm init "$work/site.yaml"

# The other realm ------------------------------------------------------------------------------------------------

site 'hosts: {w1: , n1: }'
check 'a node of the state folder is no host' refused apply '4:15: hosts.n1: ' 'a node of this name (active)'
check 'plan says so too' refused plan '4:15: hosts.n1: ' 'a node of this name'
check 'and init' refused init '4:15: hosts.n1: ' 'a node of this name'
site 'nodes: {w2: }'
check 'a host is no node' refused apply '4:9: nodes.w2: ' 'a host of this name (active)'
site 'hosts: {w1: , w2: }' 'nodes: {n1: }'
check 'the state folder can be used after that' realm plan

# Another site ---------------------------------------------------------------------------------------------------

sed -i 's/^site: shop/site: other/' "$work/site.yaml"
for command in apply plan init; do
	check "the site file of another site: $command" refused "$command" '1:1: site: ' 'the state folder is of the site shop'
done

# Values ---------------------------------------------------------------------------------------------------------

site 'contract: nofile.yaml'
check 'a contract that is not there has a place' refused apply '4:1: contract: ' "cannot read $work/nofile.yaml"
site 'contract: .'
check 'a folder is no contract' refused apply '4:1: contract: ' 'cannot read'
site 'certificates: {lifetime: 1d, renew: 30d}'
check 'renewed before it is made' refused apply '4:30: certificates.renew: ' 'renew (30d) must be shorter than lifetime (1d)'
site 'certificates: {lifetime: 20d}'
check 'or by default' refused apply '4:16: certificates.lifetime: ' 'renew (30d) must be shorter than lifetime (20d)'
site 'certificates: {lifetime: 20d, renew: 5d}'
check 'but not so' realm plan

# Thrown out, where a folder has to be carried -----------------------------------------------------------------------

# bring_back - what install would bring back from a broker that is all it should be
bring_back() {
	python3 - "$work/carry1" <<'PYTHON'
import base64, gzip, hashlib, json, re, sys

folder = sys.argv[1]
install = open(folder + "/install").read()
files = {}
for name, text in re.findall(r"^put \d+ (\S+) <<'BASE64'\n(.*?)^BASE64$", install, re.S | re.M):
    files[name] = base64.b64decode(text)
facts = {"definitions": json.loads(files["definitions.json"]), "connections": []}
with open(folder + "/answers", "w") as out:
    for name, content in files.items():
        if name == "broker.key":
            out.write("file broker.key there\n")
        elif name != "change.json" and name != "control.json":
            out.write("file %s %s\n" % (name, hashlib.sha256(content).hexdigest()))
    out.write("facts %s\n" % base64.b64encode(gzip.compress(json.dumps(facts).encode())).decode())
PYTHON
}
# revoke NAME - leaves what it said on standard output in $work/out, the rest in $work/err
revoke() {
	local code=0
	realm revoke "$1" >"$work/out" 2>"$work/err" || code=$?
	cat "$work/out" "$work/err"
	return "$code"
}

site
check 'everything is written' realm apply
check 'brought back' bring_back
check 'and as it should be' says 'nothing to change' realm plan
check 'nobody is out because a script was written: exit 1' exits 1 revoke w1
check 'that is said' grep -qF "w1 is not out until install has run there: $work/carry1/install" "$work/err"
check 'and nothing else' not grep -qE 'is out|evidence' "$work/out"
check 'nor when nobody ran it' exits 1 revoke w1
check 'it has run' bring_back
check 'the next run says that it is done' revoke w1
check 'it is out' grep -qx 'w1 is out' "$work/out"
check 'with what to know then' grep -q 'stays as evidence' "$work/out"

# A broker that is out of reach.
mkdir "$work/bin"
printf '#!/bin/sh\necho "no route to host" >&2\nexit 255\n' >"$work/bin/ssh"
chmod +x "$work/bin/ssh"
unreached() {
	local code=0
	PATH=$work/bin:$PATH realm revoke w2 --broker ssh:nowhere >"$work/out" 2>"$work/err" || code=$?
	cat "$work/out" "$work/err"
	return "$code"
}
check 'a broker out of reach: exit 1' exits 1 unreached
check 'who is not out everywhere is told so' grep -q 'w2 is not out everywhere: run it again' "$work/err"
check 'and not that all is well' not grep -qE 'is out|evidence' "$work/out"

# A broker that the site file no longer names --------------------------------------------------------------------------

sed 's/b1: .*/&\n  b2: {at: "127.0.0.1:5672", reach: "dir:carry2"}/' "$work/site.yaml" >"$work/two.yaml"
places() {
	sed -n 's/^border.brokers = //p' "$state/bundles/app.n1.g1/app-node.conf"
}
check 'a second broker' realm apply --site "$work/two.yaml"
check 'one of the site file cannot be removed' says 'take it out there, apply, then remove it' realm remove b2
check 'one that is named no more is told of' says 'the broker b2 is no longer in the site file; it stays until: realm remove b2' \
	realm plan --site "$work/site.yaml"
check 'apply keeps it' says 'no longer in the site file' realm apply --site "$work/site.yaml"
check 'the bundles too' same '127.0.0.1:5671, 127.0.0.1:5672' "$(places)"
rm -r "$work/carry2"
check 'revoke reaches it' exits 1 revoke w2
check 'as it says' grep -qF "$work/carry2/install" "$work/err"
check 'until it is removed' says 'b2 is forgotten' realm remove b2
check 'then nobody goes there' not says carry2 realm plan
check 'and no bundle names it' same '127.0.0.1:5671' "$(places)"
check 'nor is its key kept' not test -e "$state/pki/broker.b2.key"
sed 's/b1:/b3:/' "$work/site.yaml" >"$work/renamed.yaml"
check 'a broker of another name is no other one' not says 'the broker b1' realm apply --site "$work/renamed.yaml"
check 'so it is one' same '["b3"]' "$(jq -c '[.site.brokers[].name]' "$state/realm.json")"

# What would be done -------------------------------------------------------------------------------------------------

realm apply >/dev/null
bring_back
check 'nothing would be done' says 'nothing to change' realm apply --dry-run
check 'a new certificate would be, and its key' same '["broker.pem","broker.key"]' \
	"$(realm rotate b3 --dry-run --json | jq -c '[.brokers[0].changes[].name]')"
check 'and is not' says 'nothing to change' realm apply --dry-run
check 'a restart is told too' says '! the broker, restarted' realm apply --restart --dry-run
