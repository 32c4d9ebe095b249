#!/usr/bin/env bash
# realm-test - the border of a site from nothing, on a real broker of its own: made, weakened, exchanged, thrown out,
# interrupted.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$work/'state of a b'
dir=$work/'broker'
port=$(free_port)

at_end() {
	proc_kill "$work/webapp-agent.pid"
	proc_kill "$work/app-node.pid"
	"$repo/scripts/broker" kill --dir "$dir"
	"$repo/scripts/broker" down --dir "$dir"
}

realm() {
	"$repo/scripts/realm" "$@" --state "$state"
}
evaluate() {
	"$repo/scripts/broker" ctl --dir "$dir" eval "$1"
}

# site TEXT... - writes the site file: its first lines, then TEXT
site() {
	{
		printf 'site: shop\ncontract: %s/examples/shop/contract.yaml\n' "$repo"
		printf 'brokers:\n  border1: {at: "127.0.0.1:%s", reach: "local:broker", disk: 64MiB, folder: %s}\n' "$port" "$work/etc"
		((${#} == 0)) || printf '%s\n' "$@"
	} >"$work/site.yaml"
}

# settled - no difference, and no trap?
settled() {
	realm lint >"$work/lint" || {
		grep '^NOT OK' "$work/lint"
		return 1
	}
}

# Called wrongly ---------------------------------------------------------------------------------------------------

check 'no command is exit 2' exits 2 "$repo/scripts/realm"
check 'an unknown command is exit 2' exits 2 realm dance
check 'an option of another command is exit 2' exits 2 realm plan --discard
check 'a host without a name is exit 2' exits 2 realm add-web
check 'a bad name is exit 2' exits 2 realm add-web 'We_b'
check 'a bad reach is exit 2' exits 2 realm plan --broker telnet:x
check 'without a realm it is exit 1' exits 1 realm plan
check 'and says what makes one' says 'realm init' realm plan
check 'a site file that is not there is exit 2' exits 2 realm init "$work/none.yaml"

# The site file ----------------------------------------------------------------------------------------------------

# mistake LINE:COLUMN: KEY: TEXT-PART, YAML... - is that what it says, with exit 2?
mistake() {
	local where=$1 text=$2
	shift 2
	site "$@"
	exits 2 realm init "$work/site.yaml" >"$work/said" 2>&1 || return 1
	grep -F "$work/site.yaml:$where" "$work/said" | grep -qF "$text" || {
		cat "$work/said"
		return 1
	}
}
check 'a key nobody knows' mistake '5:1: colour: ' 'there are site, brokers' 'colour: red'
check 'a bad host name' mistake '6:3: hosts.We_b: ' 'must be 1 to 40 of a-z' 'hosts:' '  We_b:'
check 'a host twice' mistake '7:3: hosts.web1: ' 'written already in line 6' 'hosts:' '  web1:' '  web1:'
check 'a limit out of its range' mistake '5:17: limits.send.length: ' 'from 1 to 100000000' 'limits: {send: {length: 0}}'
check 'a size that is none' mistake '7:15: hosts.web1.limits.call.bytes: ' 'a size like 64MiB' 'hosts:' '  web1: {limits: {call: ' '    {ttl: 5s, bytes: many}}}'
check 'a duration that is none' mistake '5:17: limits.call.ttl: ' 'a duration like 30s' 'limits: {call: {ttl: 5}}'
check 'a limit that only the site can have' mistake '5:25: hosts.web1.limits.deliveries: ' 'nothing is called so here' 'hosts: {web1: {limits: {deliveries: 7}}}'
check 'a host and a node of one name' mistake '6:9: nodes.web1: ' 'there is a host of this name' 'hosts: {web1: }' 'nodes: {web1: }'
check 'a host called inner' mistake '5:9: hosts.inner: ' "app realm's own vhost" 'hosts: {inner: }'
check 'YAML beyond what is allowed' mistake '5:8: hosts: ' 'anchors are not allowed' 'hosts: &a {web1: }'
check 'two mistakes at once' same 2 "$(site 'colour: red' 'hosts: [web1]' && realm init "$work/site.yaml" 2>&1 | wc -l)"
printf 'site: shop\nbrokers: {b1: {at: "h:70000"}, b2: {holds: inner, at: h, reach: telnet}}\n' >"$work/bad.yaml"
bad() {
	realm init "$work/bad.yaml" 2>&1 | cut -d: -f2- | cut -c1-60
}
check 'a broker without a port' says '2:51: brokers.b2.at: "h": must be HOST:PORT' bad
check 'a port that is none' says '2:16: brokers.b1.at: "h:70000": there is no port' bad
printf 'site: shop\nbrokers: {b1: {at: "h:5671", holds: border}}\n' >"$work/bad.yaml"
check 'nobody holds the inner vhost' says '2:1: brokers: none holds the inner vhost' bad
printf 'site: shop\nbrokers: {b1: {at: "h:5671", memory: 128MiB}}\n' >"$work/bad.yaml"
check 'a broker without room to be idle' says '2:30: brokers.b1.memory: "128MiB": must be a size like' bad
check 'none of all that made a folder' not test -e "$state"

example() {
	"$repo/scripts/realm" "$1" "$repo/broker-config/site.example.yaml" --state "$work/example" "${@:2}"
}
check 'the example is without mistakes' example init
limits_of() {
	jq -L "$repo/broker-config" -n 'include "limits"; default_limits | tojson | fromjson'
}
check 'it names every limit, as it is without it' same '' \
	"$(diff <(jq -S '.site.limits' "$work/example/realm.json") <(limits_of | jq -S .))"

topology=$(<"$repo/docs/broker-topology.md")
traps() {
	local name
	while read -r name; do
		[[ $topology == *"\`$name\`"* ]] || echo "$name"
	done < <(realm lint --json | jq -r '.brokers[].checks[].name')
}

# From nothing -----------------------------------------------------------------------------------------------------

site
started=$(now_ms)
check 'init' realm init "$work/site.yaml"
check 'init again is fine' realm init "$work/site.yaml"
check 'apply starts a private broker' says '  done' realm apply
check 'a host' realm add-web web1
check 'another one' realm add-web web2
check 'a node' realm add-app app1
check 'lint finds nothing' settled
took=$((($(now_ms) - started) / 1000))
check "all of it in less than 60 s ($took s)" test "$took" -lt 60
check 'apply again: nothing to change' says 'nothing to change' realm apply
check 'a host again: nothing to change' says 'nothing to change' realm add-web web1
check 'plan says so as JSON' same '[false,"unchanged"]' "$(realm plan --json | jq -c '[.changed, .brokers[0].outcome]')"
check 'lint as JSON' same 'true' "$(realm lint --json | jq '.failed == 0 and .checks > 50')"
check 'docs/broker-topology.md tells of every trap' same '' "$(traps)"
check 'status as JSON' same '["web.web1.g1","web.web2.g1","app.app1.g1"]' \
	"$(realm status --json | jq -c '[.identities[].certificates[].name]')"
check 'a host that has the name of a node is refused' says 'other realm already' realm add-web app1
check 'a dry run says what would be' says '+ vhost border.dry' realm add-web dry --dry-run
check 'and changes nothing' settled

# What is kept where -------------------------------------------------------------------------------------------------

check 'the state folder is closed' same 700 "$(stat -c %a "$state")"
check 'no key of it is for others to read' same '' \
	"$(find "$state" \( -name '*.key' -o -name '*.seal' -o -path '*/seal/*' -o -name realm.json \) -type f -perm /077)"
check 'what the broker has holds no key but its own' same "$dir/server/broker.key" \
	"$(grep -rlE -- '-----BEGIN.*PRIVATE KEY' "$dir/server" | sort)"
seals() {
	local key
	for key in "$state"/seal/*; do
		! grep -rqF -- "$(<"$key")" "$dir/server" || return 1
	done
}
check 'and no sealing key' seals
certificate() {
	openssl x509 -in "$state/pki/$1.pem" -noout -text
}
check 'a certificate is of the authority' openssl verify -CAfile "$state/pki/ca.pem" "$state/pki/web.web1.g1.pem"
check 'for clients only' says 'TLS Web Client Authentication' certificate web.web1.g1
check "the broker's for servers only" says 'TLS Web Server Authentication' certificate broker.border1
check 'and for its address' says 'IP Address:127.0.0.1' certificate broker.border1
check 'on P-256' says 'NIST CURVE: P-256' certificate web.web1.g1

# names FOLDER - what is in it
names() {
	(cd "$1" && printf '%s\n' * | paste -sd' ')
}

# Bundles ------------------------------------------------------------------------------------------------------------

check 'a bundle is a folder' same "$state/bundles/web.web1.g1" "$(realm bundle web1)"
mkdir "$work/host" "$work/node"
check 'or a tar' bash -c "$(printf '%q bundle web1 --tar --state %q | tar -x -C %q' "$repo/scripts/realm" "$state" "$work/host")"
check 'with what a web host needs' same 'ca.pem contract.yaml seal.key web.web1.g1.key web.web1.g1.pem webapp-agent.conf' \
	"$(names "$work/host")"
realm bundle app1 --tar | tar -x -C "$work/node"
check 'a node gets every sealing key' same 'inner.seal web1.seal web2.seal' "$(names "$work/node/seal")"
check 'the same that the host got' cmp "$work/node/seal/web1.seal" "$work/host/seal.key"
check 'and every crossing' grep -qx 'crossings = web1, web2' "$work/node/app-node.conf"
sed -i "s|/run/sallyport|$work|" "$work/host/webapp-agent.conf" "$work/node/app-node.conf"
check 'and the key of the inner vhost' grep -qx 'seal.inner = seal/inner.seal' "$work/node/app-node.conf"
check "the agent accepts its configuration" "$SALLYPORT_BIN/webapp-agent" check --config "$work/host/webapp-agent.conf"
check 'so does the node' "$SALLYPORT_BIN/app-node" check --config "$work/node/app-node.conf"

# gets_ready PROGRAM CONFIG - with a link to the border
gets_ready() {
	grep -q '^ready.border' "$2" || echo 'ready.border = yes' >>"$2"
	if ! proc_spawn_ready "$work/$1.pid" "$work/$1.log" 20 "$SALLYPORT_BIN/$1" run --config "$2" ||
		[[ $READY_LINE != ready ]]; then
		tail -n 5 "$work/$1.log"
		return 1
	fi
}
check 'and crosses the border with it' gets_ready app-node "$work/node/app-node.conf"
check 'so does the agent' gets_ready webapp-agent "$work/host/webapp-agent.conf"
names_of() {
	jq -c "$1"' | [.present, .accepted]'
}
status_of() {
	curl -sS --unix-socket "$1" http://localhost/v1/status
}
check 'the node shows the name of the inner key, as status does' same \
	"$(realm status --json | names_of '.seals[] | select(.name == "inner")')" "$(status_of "$work/node.sock" | names_of .inner.seal)"
check 'the agent that of its own' same \
	"$(realm status --json | names_of '.seals[] | select(.name == "web1")')" "$(status_of "$work/agent.sock" | names_of .seal)"
check 'status shows names, never keys' not grep -qE '[0-9a-f]{64}' <(realm status --json)
check 'status sees them' same '["app.app1.g1","web.web1.g1"]' \
	"$(realm status --json | jq -c '[.identities[].certificates[] | select(.connections > 0) | .name] | sort')"
proc_stop "$work/webapp-agent.pid" 10
proc_stop "$work/app-node.pid" 10

# Tried --------------------------------------------------------------------------------------------------------------

# verify [ARGS...] - what it saw is in $work/seen.json
verify() {
	local code=0
	realm verify --json "$@" >"$work/seen.json" 2>"$work/said" || code=$?
	return "$code"
}
# seen FILTER - is it true of what was seen last?
seen() {
	jq -e "$1" "$work/seen.json" >/dev/null || {
		cat "$work/said"
		jq -c '.hosts, (.acts[] | select(.ok | not))' "$work/seen.json" | head -n 12
		return 1
	}
}
check 'a node is there again' gets_ready app-node "$work/node/app-node.conf"
check 'and an agent' gets_ready webapp-agent "$work/host/webapp-agent.conf"
check 'up does all of it again, while both are connected' realm up "$work/site.yaml" --json
mv "$work/output" "$work/up.json"
check 'it finds no trap' jq -e '.lint.failed == 0 and .lint.checks > 50' "$work/up.json"
jq .verify "$work/up.json" >"$work/seen.json"
: >"$work/said"
check 'it tries what is forbidden: the border is closed' seen .closed
check 'nothing forbidden was done, all is proven' seen '.closed and .succeeded == 0 and .unproven == 0'
check 'at least 80 acts as the web host itself' \
	seen '[.acts[] | select(.host == "web1" and .as == "web" and .sort == "forbidden")] | length >= 80'
check 'of both hosts' seen '[.hosts[].host] == ["web1", "web2"] and all(.hosts[]; .closed and .broker == "border1")'
connected_again() {
	realm status --json | jq -e '[.identities[].certificates[] | select(.connections >= 2) | .name] | sort == ["app.app1.g1", "web.web1.g1"]'
}
check 'both are connected when it is over' wait_until 30 connected_again
proc_stop "$work/webapp-agent.pid" 10
proc_stop "$work/app-node.pid" 10
evaluate 'rabbit_auth_backend_internal:set_permissions(<<"web.web1.g1">>, <<"border.web1">>, <<"^$">>, <<".*">>, <<"^FORWEB\\.(reply|push)\\z">>, <<"t">>)' >/dev/null
check 'a border that was made too open: exit 1' exits 1 verify web1 --metrics "$work/verify.prom"
check 'what could be done is named' seen '.succeeded > 0 and (.closed | not) and all(.acts[]; .host == "web1")'
check 'the metrics say so' grep -q '^sallyport_verify_closed{broker="border1",host="web1"} 0$' "$work/verify.prom"
check 'and people are told' says 'SUCCEEDED  border1: web1: as web: basic.publish' realm verify web1
check 'apply closes it' realm apply
check 'a host that nobody knows: exit 1' exits 1 realm verify web9
check 'a node is not a host' exits 1 realm verify app1
check 'metrics are for verify only' exits 2 realm lint --metrics "$work/verify.prom"

# Weakened -----------------------------------------------------------------------------------------------------------

# found CHECK - did lint find it?
found() {
	jq -e --arg check "$1" 'any(.brokers[].findings[]; .check == $check)' "$work/lint.json"
}
# Each line: the check that must find it, then Erlang that weakens the border. All of the first table are undone by apply.
declare -A weakening
while IFS='|' read -r name expression; do
	weakening[${name// /}]=$expression
	evaluate "begin $expression end" >"$work/output" 2>&1 || check "weakened: $name" false
done <<'TABLE'
guest            | rabbit_auth_backend_internal:add_user(<<"guest">>, <<"guest">>, <<"t">>)
users            | rabbit_auth_backend_internal:add_user(<<"web.web1.g9">>, <<"x">>, <<"t">>)
passwords        | rabbit_auth_backend_internal:change_password(<<"web.web2.g1">>, <<"secret">>, <<"t">>)
tags             | rabbit_auth_backend_internal:set_tags(<<"web.web1.g1">>, [administrator], <<"t">>)
user-limits      | rabbit_auth_backend_internal:set_user_limits(<<"web.web1.g1">>, <<"{\"max-connections\": -1}">>, <<"t">>)
default-vhost    | rabbit_vhost:add(<<"/">>, <<"t">>)
vhost-limits     | rabbit_vhost_limit:set(<<"border.web1">>, [{<<"max-connections">>, 4000}], <<"t">>)
configure        | rabbit_auth_backend_internal:set_permissions(<<"web.web1.g1">>, <<"border.web1">>, <<"^FOR.*\\z">>, <<"^x\\.forapp\\z">>, <<"^FORWEB\\.(reply|push)\\z">>, <<"t">>)
anchors          | rabbit_auth_backend_internal:set_permissions(<<"app.app1.g1">>, <<"border.web2">>, <<"^$">>, <<"x.forweb">>, <<"^FORAPP\\.(call|send)\\z">>, <<"t">>)
default-exchange | rabbit_auth_backend_internal:set_permissions(<<"web.web2.g1">>, <<"border.web2">>, <<"^$">>, <<"^(x\\.forapp|amq\\.default)\\z">>, <<"^FORWEB\\.(reply|push)\\z">>, <<"t">>)
permissions      | rabbit_auth_backend_internal:set_permissions(<<"web.web1.g1">>, <<"border.web2">>, <<"^$">>, <<"^x\\.forapp\\z">>, <<"^$">>, <<"t">>)
topic-permissions| rabbit_auth_backend_internal:set_topic_permissions(<<"web.web1.g1">>, <<"border.web1">>, <<"amq.topic">>, <<".*">>, <<".*">>, <<"t">>)
lanes            | rabbit_amqqueue:declare(rabbit_misc:r(<<"border.web1">>, queue, <<"stray">>), true, false, [], none, <<"t">>)
lane-types       | {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"border.web1">>, queue, <<"FORWEB.push">>)), rabbit_amqqueue:delete(Q, false, false, <<"t">>), rabbit_amqqueue:declare(rabbit_misc:r(<<"border.web1">>, queue, <<"FORWEB.push">>), true, false, [{<<"x-queue-type">>, longstr, <<"classic">>}], none, <<"t">>)
lane-order       | {ok, Q2} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"border.web2">>, queue, <<"FORAPP.send">>)), rabbit_amqqueue:delete(Q2, false, false, <<"t">>), rabbit_amqqueue:declare(rabbit_misc:r(<<"border.web2">>, queue, <<"FORAPP.send">>), true, false, [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"t">>)
lane-sizes       | rabbit_policy:delete_op(<<"border.web1">>, <<"FORAPP.send">>, <<"t">>)
delivery-limits  | ok
lane-overflow    | rabbit_policy:set(<<"border.web2">>, <<"late">>, <<"^FORAPP">>, [{<<"overflow">>, <<"drop-head">>}], 99, <<"queues">>, <<"t">>)
policies         | ok
dead-letters     | rabbit_policy:delete(<<"border.web1">>, <<"FORAPP.send">>, <<"t">>)
lane-lifetimes   | rabbit_policy:delete_op(<<"border.web1">>, <<"FORAPP.call">>, <<"t">>)
exchanges        | rabbit_exchange:declare(rabbit_misc:r(<<"border.web1">>, exchange, <<"FORAPP.call">>), fanout, true, false, false, [], <<"t">>)
shared-names     | ok
bindings         | rabbit_binding:add({binding, rabbit_misc:r(<<"border.web1">>, exchange, <<"x.forapp">>), <<"reply">>, rabbit_misc:r(<<"border.web1">>, queue, <<"FORWEB.reply">>), []}, <<"t">>)
parameters       | rabbit_runtime_parameters:set_global(mine, <<"x">>, <<"t">>)
TABLE
realm lint --json >"$work/lint.json" || true
for name in "${!weakening[@]}"; do
	check "lint finds a weakened border: $name" found "$name"
done
check 'lint says no' exits 1 realm lint
check 'plan names what is wrong' says '- user guest' realm plan
check 'apply mends it' realm apply
check 'all of it' settled

# What definitions cannot mend.
while IFS='|' read -r name expression back; do
	name=${name// /}
	evaluate "begin $expression end" >/dev/null
	realm lint --json >"$work/lint.json" || true
	check "lint finds a weakened border: $name" found "$name"
	evaluate "begin $back end" >/dev/null
done <<TABLE
mechanisms   | application:set_env(rabbit, auth_mechanisms, ['EXTERNAL', 'PLAIN'])     | application:set_env(rabbit, auth_mechanisms, ['EXTERNAL'])
frame-max    | application:set_env(rabbit, frame_max, 131072)                          | application:set_env(rabbit, frame_max, 8192)
message-size | application:set_env(rabbit, max_message_size, 134217728)                | application:set_env(rabbit, max_message_size, 262144)
login-name   | application:set_env(rabbit, ssl_cert_login_from, distinguished_name)    | application:set_env(rabbit, ssl_cert_login_from, common_name)
listeners    | rabbit_networking:start_tcp_listener({"127.0.0.1", $(free_port "$port")}, 1) | [rabbit_networking:stop_tcp_listener({"127.0.0.1", P}) || {listener, _, amqp, _, _, P, _} <- rabbit_networking:active_listeners()]
memory       | vm_memory_monitor:set_vm_memory_high_watermark(0.9)                     | vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1073741824})
tracing      | rabbit_trace:start(<<"border.web1">>)                                   | rabbit_trace:stop(<<"border.web1">>)
TABLE
cp "$dir/server/definitions.json" "$work/definitions.json"
jq '.users += [{name: "web.web1.g0", password_hash: "", tags: []}]' "$work/definitions.json" >"$dir/server/definitions.json"
realm lint --json >"$work/lint.json" || true
check 'lint finds a definitions file that would bring somebody back' found definitions-file
check 'apply mends that too' realm apply
check 'to the letter' cmp "$work/definitions.json" "$dir/server/definitions.json"
check 'a vhost that is none of ours stays' says 'none of ours and stays' \
	bash -c "$(printf '%q ctl --dir %q eval %q && %q plan --state %q' "$repo/scripts/broker" "$dir" \
		'rabbit_vhost:add(<<"mine">>, <<"t">>)' "$repo/scripts/realm" "$state")"
check 'unless it shall go' realm apply --prune
check 'the border is whole again' settled

# Exchanged ----------------------------------------------------------------------------------------------------------

users() {
	evaluate 'lists:sort([proplists:get_value(user, U) || U <- rabbit_auth_backend_internal:list_users()])'
}
# publish GENERATION NAME - web1 publishes until it is thrown out
publish() {
	python3 "$repo/tests/scripts/publisher.py" "$port" "$state/pki/ca.pem" "$state/pki/$1.pem" "$state/pki/$1.key" \
		"border.$2" >"$work/$1.out" 2>&1 &
	publisher=$!
	wait_until 10 grep -q . "$work/$1.out"
}
check 'rotate: a generation more' realm rotate web1
check 'both may log in' same '[<<"app.app1.g1">>,<<"web.web1.g1">>,<<"web.web1.g2">>,<<"web.web2.g1">>]' "$(users)"
check 'the bundle has the new one' test -s "$state/bundles/web.web1.g2/web.web1.g2.key"
check 'a third one waits' says 'two generations already' realm rotate web1
check 'the border is whole meanwhile' settled
publish web.web1.g1 web1
check 'the old one is not ended while only it is connected' says 'carry the bundle' realm rotate web1 --retire
publish web.web1.g2 web1
check 'but when the new one is too' realm rotate web1 --retire
check 'it is out' wait_until 5 grep -q 'CONNECTION_FORCED' "$work/web.web1.g1.out"
check 'and the new one is not' same ready "$(<"$work/web.web1.g2.out")"
check 'the user is gone' same '[<<"app.app1.g1">>,<<"web.web1.g2">>,<<"web.web2.g1">>]' "$(users)"
kill "$publisher" 2>/dev/null || true
check 'verify, after a rotation' verify web1 --metrics "$work/verify.prom"
check 'the metrics say that it is closed' grep -qx 'sallyport_verify_closed{broker="border1",host="web1"} 1' "$work/verify.prom"
check 'for others to read' same 644 "$(stat -c %a "$work/verify.prom")"
check 'tries the generation before: it is refused' \
	seen 'any(.acts[]; .as == "previous" and .ok) and all(.hosts[]; .left_out == [])'

key_of() {
	sed -n "s/^key $1 //p" "$state/bundles/$2"
}
old=$(key_of present web.web1.g2/seal.key)
check 'a new sealing key is accepted first' realm rotate web1 --seal
new=$(key_of accepted web.web1.g2/seal.key)
check 'beside the old one' same "$old ${#old} ${#new}" "$(key_of present web.web1.g2/seal.key) 64 64"
check 'then everybody seals with it' realm rotate web1 --seal
check 'and accepts the old one' same "$new $old" "$(key_of present app.app1.g1/seal/web1.seal) $(key_of accepted app.app1.g1/seal/web1.seal)"
check 'then that one goes' realm rotate web1 --seal
check 'everywhere' same "$new " "$(key_of present app.app1.g1/seal/web1.seal) $(key_of accepted web.web1.g2/seal.key)"
check 'the old key is on no disk' not grep -rqF "$old" "$state"
check "the broker's certificate is exchanged too" realm rotate border1
check 'with the border whole' settled

# Thrown out ---------------------------------------------------------------------------------------------------------

# The node of before web1 was exchanged: nobody has carried it a new bundle.
check 'the node is there' gets_ready app-node "$work/node/app-node.conf"
inner_is_ready() {
	status_of "$work/node.sock" | jq -e .inner.ready
}
check 'also in the inner vhost' wait_until 20 inner_is_ready
publish web.web1.g2 web1
publish web.web2.g1 web2
revoked_at=$(date +%s.%N)
check 'revoke, which tells the node' says 'told: app1' realm revoke web1
# By the broker's word, or by the socket's end where that came first.
has_ended() { (($(wc -l <"$work/web.web1.g2.out") > 1)); }
check 'its connection is ended' wait_until 10 has_ended
read -r confirmed last _ < <(tail -n 1 "$work/web.web1.g2.out")
check "the last of $confirmed messages was accepted within a second" \
	python3 -c "import sys; sys.exit(not 0 <= $last - $revoked_at <= 1)"
check 'the other host goes on' same ready "$(<"$work/web.web2.g1.out")"
told_of() {
	status_of "$work/node.sock" | jq -c '[.revoked[] | [.host, .told, .configured, .shut]], [.crossings[].host]' | paste -sd' '
}
check 'the node has closed that crossing' same '[["web1",2,0,true]] ["web2"]' "$(told_of)"
check 'and believes nobody who has not the key' same 0 \
	"$(evaluate 'begin ok = rabbit_basic:publish(rabbit_misc:r(<<"inner">>, exchange, <<"x.control">>), <<>>, [{content_type, <<"application/json">>}, {message_id, <<"01a2042b-cc03-79ea-bc3c-e9ab1fb12774">>}, {type, <<"control.revoked">>}, {user_id, <<"operations">>}], <<"{\"host\":\"web2\",\"generation\":1}">>), 0 end')"
has_refused() {
	status_of "$work/node.sock" | jq -e '.orders.unsealed == 1 and ([.crossings[].host] == ["web2"])'
}
check 'as it says' wait_until 10 has_refused
proc_stop "$work/app-node.pid" 10
check 'nobody has the certificate renewed' same '[<<"app.app1.g1">>,<<"web.web2.g1">>]' "$(users)"
refused() {
	timeout 10 python3 "$repo/tests/scripts/publisher.py" "$port" "$state/pki/ca.pem" "$state/pki/$1.pem" "$state/pki/$1.key" "border.web1"
}
check 'it cannot come back' says '0 0.0 ' refused web.web1.g2
check 'nor as what it was before' says '0 0.0 ' refused web.web1.g1
# In the lane, or where the node put what was not sealed.
check 'what it sent stays as evidence' same true \
	"$(evaluate 'lists:sum([begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"border.web1">>, queue, Name)), {ok, N, _} = rabbit_amqqueue:stat(Q), N end || Name <- [<<"FORAPP.send">>, <<"FORAPP.dead">>]]) > 0')"
check 'the border is whole' settled
check 'the new bundle of the node says the same' grep -qx 'crossings = web2' "$state/bundles/app.app1.g1/app-node.conf"
check 'and who was thrown out' grep -qx 'crossings.revoked = web.web1.g2' "$state/bundles/app.app1.g1/app-node.conf"
kill "$publisher" 2>/dev/null || true
"$repo/scripts/broker" stop --dir "$dir"
check 'the broker starts again' "$repo/scripts/broker" start --dir "$dir"
check 'without it' same '[<<"app.app1.g1">>,<<"web.web2.g1">>]' "$(users)"
"$repo/scripts/broker" stop --dir "$dir"
check 'plan says that it is away' says 'does not answer' realm plan
check 'apply starts it again' says '  done' realm apply
check 'revoke again is fine' says 'nothing to change' realm revoke web1
check 'a node that is away is told later' says 'not told yet, because not connected: app1' realm revoke web1
site 'hosts: {web1: }'
check 'the site file does not bring it back' says 'revoked; it stays so' realm apply
site
check 'its messages are not thrown away unasked' says 'holds messages' realm remove web1
check 'but when asked' realm remove web1 --discard
check 'it comes back as somebody new' realm add-web web1
check 'of a generation that never was' same '[<<"app.app1.g1">>,<<"web.web1.g3">>,<<"web.web2.g1">>]' "$(users)"
check 'verify, after it was thrown out and came back' verify web1
check 'what it was before is refused' seen 'any(.acts[]; .as == "previous" and .ok)'
check 'the nodes know it is somebody new' grep -qx 'crossings.revoked = web.web1.g2' "$state/bundles/app.app1.g1/app-node.conf"
check 'with a sealing key that never was' not grep -qF "$new" "$state/bundles/web.web1.g3/seal.key"

# Interrupted --------------------------------------------------------------------------------------------------------

realm add-web twin1 >"$work/twin1" 2>&1 &
twin=$!
check 'two runs at once: one waits' realm add-web twin2
check 'and both do it' wait "$twin"
check 'completely' settled

# A run that is killed somewhere, with all that it started.
for number in 1 2 3 4 5 6 7 8; do
	setsid "$repo/scripts/realm" add-web "cut$number" --state "$state" >/dev/null 2>&1 &
	run=$!
	exec {turn}<> <(:)
	read -rt "0.$((SRANDOM % 80 + 10))" -u "$turn" || true
	exec {turn}<&-
	kill -KILL -- "-$run" 2>/dev/null || true
	wait "$run" 2>/dev/null || true
done
check 'what was killed eight times is continued' realm add-web cut1 cut2 cut3 cut4 cut5 cut6 cut7 cut8
check 'to the same end' same '[["active",1,[1]]]' \
	"$(jq -c '[.hosts | to_entries[] | select(.key | startswith("cut")) | .value | [.status, .last, .live]] | unique' "$state/realm.json")"
check 'with every key and certificate' same '8 8 8' \
	"$(find "$state" -name 'web.cut*.g1.pem' -path '*/pki/*' | wc -l) $(find "$state" -name 'web.cut*.g1.key' -path '*/pki/*' | wc -l) $(find "$state/seal" -name 'cut*.1' | wc -l)"
(
	exec {held}>"$state/.lock"
	flock "$held"
	wait_until 60 test -e "$work/let-go"
) &
holder=$!
wait_until 10 not flock -n "$state/.lock" true
publish web.cut1.g1 cut1
realm revoke cut1 >"$work/revoked" 2>&1 &
revoking=$!
check 'somebody is thrown out though another run is busy' wait_until 10 grep -q CONNECTION_FORCED "$work/web.cut1.g1.out"
: >"$work/let-go"
wait "$holder"
check 'and when that has ended, for good' wait "$revoking"
: >"$state/revoked.cut2"
check 'a revocation that was killed is continued by whatever runs next' says '- user web.cut2.g1' realm apply
check 'and is told once' not test -e "$state/revoked.cut2"
check 'the border is whole after that' settled
"$repo/scripts/realm" watch --state "$state" --times 1 --revoke >"$work/watch" 2>&1 &
watcher=$!
wait_until 30 grep -q event=watching "$work/watch"
python3 "$repo/tests/scripts/ghost.py" "$port" "$state/pki" web.cut3.g1 border.cut3 endless >"$work/ghost" 2>&1 &
ghost=$!
check 'a watch that may revoke does so' wait_until 60 grep -q 'event=revoked .*host=cut3 status=0' "$work/watch"
check 'for good' same revoked "$(jq -r .hosts.cut3.status "$state/realm.json")"
kill -KILL "$ghost" 2>/dev/null || true
kill -TERM "$watcher"
check 'and ends when it shall' wait "$watcher"
check 'with the border whole' settled
check 'nothing half is left' same '' "$(find "$state" -name '*.new' -o -name '.work.*' -o -name '*.names.*')"

# Ways to a broker ---------------------------------------------------------------------------------------------------

# On the PATH of the "other machine": what the package has there, and a way there.
mkdir "$work/bin"
printf '#!/bin/sh\nexec %s ctl --dir %s "$@"\n' "'$repo/scripts/broker'" "'$dir'" >"$work/bin/rabbitmqctl"
# shellcheck disable=SC2016
printf '#!/bin/sh\nprintf "%%s\\n" "$@" >>%s\nfor last; do :; done\nexec sh -c "$last"\n' "'$work/ssh.argv'" >"$work/bin/ssh"
chmod +x "$work/bin/rabbitmqctl" "$work/bin/ssh"
over_there() {
	PATH=$work/bin:$PATH realm "$@" --broker ssh:border1
}
check 'over ssh, with the real rabbitmqctl' says 'done' over_there apply
check 'a user more is found there' says '- user guest' \
	bash -c "$(declare -f over_there realm evaluate); $(declare -p work repo state dir); evaluate 'rabbit_auth_backend_internal:add_user(<<\"guest\">>, <<\"guest\">>, <<\"t\">>)'; over_there apply"
check 'and gone' says 'nothing to change' over_there plan
check 'no secret was in an argument list' not grep -qE 'BEGIN|[0-9a-f]{64}' "$work/ssh.argv"
check 'the files there hold no key but its own' same "$work/etc/broker.key" "$(grep -rlE -- '-----BEGIN.*PRIVATE KEY' "$work/etc")"
check 'its configuration names them there' grep -qx "load_definitions = $work/etc/definitions.json" "$work/etc/rabbitmq.conf"
printf '#!/bin/sh\necho "border1: no route to host" >&2\nexit 255\n' >"$work/bin/ssh"
check 'a machine that is not reached is exit 1' exits 1 over_there apply
check 'and named' says 'border1 (ssh:border1): not reached, run it again: border1: no route to host' over_there plan

check 'a folder to carry there' says 'written' realm apply --broker "dir:$work/carry"
check 'holds no key but the broker s own' not grep -qE "$(cat "$state"/seal/* | paste -sd'|')" "$work/carry/install"
evaluate 'rabbit_auth_backend_internal:delete_user(<<"web.twin1.g1">>, <<"t">>)' >/dev/null
check 'its script does there what would be done here' env PATH="$work/bin:$PATH" bash -c "cd / && '$work/carry/install'"
check 'what it found lies in the folder that is carried, for its owner alone' same 600 "$(stat -c %a "$work/carry/answers")"
check 'the user is back' says web.twin1.g1 users
check 'and what it brings back is understood' says 'nothing to change' realm plan --broker "dir:$work/carry"

# Two brokers, one of them away.
printf 'site: shop\nbrokers:\n  border1: {at: "127.0.0.1:%s", reach: "local:broker", disk: 64MiB}\n  inner1: {at: "127.0.0.1:1", holds: inner, reach: "ssh:nowhere"}\n' \
	"$port" >"$work/two.yaml"
half() {
	PATH=$work/bin:$PATH realm apply --site "$work/two.yaml"
}
check 'the site file is not read where that is not said' exits 2 realm add-web late --site "$work/two.yaml"
check 'one of two brokers away is exit 1' exits 1 half
check 'what could be done was done' says '): nothing to change' half
check 'and the other is named' says 'inner1 (ssh:nowhere): not reached, run it again' half
half_revoke() {
	PATH=$work/bin:$PATH realm revoke cut4
}
check 'nodes that cannot be told: exit 1' exits 1 half_revoke
check 'and said so' says 'inner1 (ssh:nowhere): the app nodes could not be told there, run it again' half_revoke
check 'which is remembered' test -e "$state/untold.cut4"
realm apply --site "$work/site.yaml" >/dev/null 2>&1 || true
check 'a broker that the site file names no more is removed, reached or not' realm remove inner1
check 'the next runs tell them' realm apply
check 'and then forget it' not test -e "$state/untold.cut4"

# Kept ---------------------------------------------------------------------------------------------------------------

check 'a backup' realm backup "$work/backup.tar.gz"
check 'is for its owner alone' same 600 "$(stat -c %a "$work/backup.tar.gz")"
check 'has all of it' says './pki/ca.key' tar -tzf "$work/backup.tar.gz"
mkdir "$work/again"
tar -C "$work/again" -xzf "$work/backup.tar.gz"
check 'from which the realm goes on' says 'nothing to change' "$repo/scripts/realm" apply --state "$work/again" \
	--broker "local:$dir"
check 'and is not overwritten' exits 1 realm backup "$work/backup.tar.gz"
