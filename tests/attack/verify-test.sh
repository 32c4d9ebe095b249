#!/usr/bin/env bash
# verify-test - sallyport-probe against a right border, and against borders that were made too open.
set -euo pipefail

# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source=scripts/lib/pki.sh
. "$repo/scripts/lib/pki.sh"
# shellcheck source=scripts/lib/realm-verify.sh
. "$repo/scripts/lib/realm-verify.sh"

: "${SALLYPORT_BIN:=$repo/build/release/bin}"
probe=$SALLYPORT_BIN/sallyport-probe
dir=$work/border
plan=$work/plan.conf
web=web.web1.g2
node=app.app1.g1

at_end() {
	"$repo/scripts/broker" down --purge --dir "$dir"
}

broker() {
	local command=$1
	shift
	"$repo/scripts/broker" "$command" --dir "$dir" "$@"
}

# erl EXPRESSION - evaluated in the broker
erl() {
	broker ctl eval "$1"
}

no_connections() {
	[[ $(erl 'length([P || P <- rabbit_networking:connections()])') == 0 ]]
}

# try [ARGS...] - runs the probe; its JSON is in $work/seen.json, what it complained in $work/said.
try() {
	local code=0
	"$probe" run --json --plan "$plan" "$@" >"$work/seen.json" 2>"$work/said" || code=$?
	return "$code"
}

# seen FILTER - is it true of what the probe printed last?
seen() {
	jq -e "$1" "$work/seen.json" >/dev/null || {
		jq -c 'del(.acts), (.acts[] | select(.ok | not))' "$work/seen.json" | head -n 12
		return 1
	}
}

# catches NAME WEAKENING PATTERN UNDOING - makes the border weaker, and asks that acts of that name are seen to succeed.
catches() {
	local name=$1 weakening=$2 pattern=$3 undoing=$4
	check "weak: $name" catches_it "$weakening" "$pattern"
	erl "$undoing" >/dev/null
}

catches_it() {
	erl "$1" >/dev/null || return 1
	exits 1 try --act "$2" || return 1
	seen '.succeeded >= 1'
}

permissions() {
	printf 'rabbit_auth_backend_internal:set_permissions(<<"%s">>, <<"%s">>, <<"%s">>, <<"%s">>, <<"%s">>, <<"test">>)' "$@"
}

limits() {
	printf 'rabbit_auth_backend_internal:set_user_limits(<<"%s">>, <<"%s">>, <<"test">>)' "$1" "$2"
}

set_env() {
	printf 'application:set_env(rabbit, %s, %s)' "$1" "$2"
}

# what stands in the vhosts: nothing may be left over, nothing may be missing
inventory() {
	erl 'lists:sort([{V,
		lists:sort([amqqueue:get_name(Q) || Q <- rabbit_amqqueue:list(V)]),
		lists:sort([element(2, X) || X <- rabbit_exchange:list(V)]),
		lists:sort([{element(2, B), element(3, B), element(4, B)} || B <- rabbit_binding:list(V)])} || V <- rabbit_vhost:list_names()])'
}

messages() {
	erl "begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"border.web1\">>, queue, <<\"$1\">>)),
		{ok, Ready, _} = rabbit_amqqueue:stat(Q), Ready end"
}

put_message() {
	erl "rabbit_basic:publish(rabbit_misc:r(<<\"border.web1\">>, exchange, <<\"$1\">>), <<\"$2\">>, [], <<\"kept\">>)" >/dev/null
}

# tls_listener PORT OPTIONS - a listener beside the border's own; OPTIONS: made of its options O0
tls_listener() {
	printf 'begin {ok, O0} = application:get_env(rabbit, ssl_options), O = %s,
		rabbit_networking:start_ssl_listener({"127.0.0.1", %d, auto}, O, 2) end' "$2" "$1"
}

# Set up ----------------------------------------------------------------------------------------------------------

broker up --hosts web1,web2 --nodes app1 >/dev/null
# a second generation, so that there is a first that was retired
edited=$(jq '(.hosts[] | select(.name == "web1")).generation = 2' "$dir/state/site.json")
write_file 0644 "$dir/state/site.json" <<<"$edited"
broker up >/dev/null
erl 'rabbit_auth_backend_internal:delete_user(<<"web.web1.g1">>, <<"test">>)' >/dev/null
pki=$dir/state/pki
port=$(broker env | sed -n 's/^BROKER_PORT=//p')
verify_badges "$pki" "$work/badges" "$web"
{
	verify_plan "127.0.0.1:$port" "$pki" "$work/badges" "$web" "$node" web.web2.g1 web.web1.g1
	verify_badge server "$pki/broker"
} >"$plan"

# A right border --------------------------------------------------------------------------------------------------

put_message x.forapp send
put_message x.forweb push
before=$(inventory)
started=$(now_ms)
check 'a right border: exit 0' exits 0 try
took=$(($(now_ms) - started))
check 'within 20 s' test "$took" -lt 20000
check 'nothing succeeded, everything is proven' seen '.succeeded == 0 and .unproven == 0 and all(.acts[]; .ok)'
check 'at least 80 forbidden acts with the real credential of the web host' \
	seen '[.acts[] | select(.as == "web" and .sort == "forbidden")] | length >= 80'
check 'every act has a name of its own' seen '[.acts[] | [.as, .name]] | length == (unique | length)'
check 'what is tolerated names its guard' seen '[.acts[] | select(.sort == "tolerated")] | length > 10 and all(.[]; .guard)'
check 'nobody is left out' seen '.left_out == []'
check 'each identity has acts of its own' seen '[.acts[].as] | unique | length == 10'
check 'tried counts what was forbidden' seen '.tried == ([.acts[] | select(.sort == "forbidden")] | length)'
check 'a lane in use is left alone' \
	seen '.acts[] | select(.as == "web" and .name == "queue.purge FORWEB.push") | .observed | startswith("left alone")'
check 'the messages are still there' test "$(messages FORAPP.send) $(messages FORWEB.push)" == '1 1'
check 'nothing was made, nothing is gone' same "$before" "$(inventory)"
check 'for people: a line per act, and the sum' says 'acts tried, 0 succeeded' "$probe" run --plan "$plan" --act 'queue.d*'
check 'the list tries nothing' says 'queue.declare FORAPP.send, of another type' "$probe" list --plan "$plan"
check 'the broker has forgotten all connections' wait_until 10 no_connections

# Too open --------------------------------------------------------------------------------------------------------

right=$(permissions "$web" border.web1 '^$' '^x\\.forapp\\z' '^FORWEB\\.(reply|push)\\z')
catches 'the web host may configure everything' "$(permissions "$web" border.web1 '.*' '^x\\.forapp\\z' '^FORWEB\\.(reply|push)\\z')" \
	'[eq]*.de*' "$right"
check 'and nothing was destroyed' same "$before" "$(inventory)"
catches 'the web host may write everywhere' "$(permissions "$web" border.web1 '^$' '.*' '^FORWEB\\.(reply|push)\\z')" \
	'basic.publish*' "$right"
catches 'the web host may write to the default exchange' "$(permissions "$web" border.web1 '^$' '^(x\\.forapp|amq\\.default)\\z' '^FORWEB\\.(reply|push)\\z')" \
	'basic.publish "" FORAPP.dead' "$right"
catches 'the web host may read everything' "$(permissions "$web" border.web1 '^$' '^x\\.forapp\\z' '.*')" \
	'*FORAPP.send*' "$right"
check 'and nothing was taken' test "$(messages FORAPP.send) $(messages FORWEB.push)" == '1 1'
catches 'the web host may write and read everything' "$(permissions "$web" border.web1 '^$' '.*' '.*')" '*bind*' "$right"
check 'and every binding is as it was' same "$before" "$(inventory)"
catches 'a pattern without anchors' "$(permissions "$web" border.web1 '^$' 'x\\.forapp' '^FORWEB\\.(reply|push)\\z')" \
	'basic.publish x.forapp2 call' "$right"
catches 'a pattern with $ for its end' "$(permissions "$web" border.web1 '^$' '^x\\.forapp$' '^FORWEB\\.(reply|push)\\z')" \
	'basic.publish *forapp?x0a*' "$right"
catches 'a pattern with a dot that is any character' "$(permissions "$web" border.web1 '^$' '^x.forapp\\z' '^FORWEB\\.(reply|push)\\z')" \
	'basic.publish xxforapp call' "$right"
catches 'a pattern for all that begins like FORWEB' "$(permissions "$web" border.web1 '^$' '^x\\.forapp\\z' '^FORWEB')" \
	'basic.consume FORWEB.*' "$right"
catches 'a pattern without regard to case' "$(permissions "$web" border.web1 '^$' '^x\\.forapp\\z' '(?i)^FORWEB\\.(reply|push)\\z')" \
	'basic.consume forweb.reply *' "$right"
catches 'the web host may enter inner' "$(permissions "$web" inner '^$' '^$' '^$')" 'open the vhost inner' \
	"rabbit_auth_backend_internal:clear_permissions(<<\"$web\">>, <<\"inner\">>, <<\"test\">>)"
catches 'another web host may enter' "$(permissions web.web2.g1 border.web1 '^$' '^$' '^$')" 'open the vhost of the host*' \
	'rabbit_auth_backend_internal:clear_permissions(<<"web.web2.g1">>, <<"border.web1">>, <<"test">>)'
catches 'no limit of connections' "rabbit_auth_backend_internal:clear_user_limits(<<\"$web\">>, <<\"max-connections\">>, <<\"test\">>)" \
	'more connections*' "$(limits "$web" '{\"max-connections\": 4, \"max-channels\": 8}')"
catches 'no limit of channels' "rabbit_auth_backend_internal:clear_user_limits(<<\"$web\">>, <<\"max-channels\">>, <<\"test\">>)" \
	'more channels*' "$(limits "$web" '{\"max-connections\": 4, \"max-channels\": 8}')"
catches 'PLAIN is offered' "$(set_env auth_mechanisms "['EXTERNAL', 'PLAIN']")" 'be offered*' "$(set_env auth_mechanisms "['EXTERNAL']")"
catches 'guest is back' "begin $(set_env auth_mechanisms "['EXTERNAL', 'PLAIN', 'AMQPLAIN']"),
	rabbit_auth_backend_internal:add_user(<<\"guest\">>, <<\"guest\">>, <<\"test\">>) end" '*as guest' \
	"begin $(set_env auth_mechanisms "['EXTERNAL']"), rabbit_auth_backend_internal:delete_user(<<\"guest\">>, <<\"test\">>) end"
catches 'larger messages' "$(set_env max_message_size 1048576)" '*too large*' "$(set_env max_message_size 262144)"
catches 'larger frames' "$(set_env frame_max 131072)" '* frame above *' "$(set_env frame_max 8192)"
catches 'no limit of what may be agreed on' "begin $(set_env frame_max 0), $(set_env channel_max 0) end" 'agree on no limits' \
	"begin $(set_env frame_max 8192), $(set_env channel_max 16) end"
catches 'the generation before is back' 'rabbit_definitions:import_raw(<<"{\"users\": [{\"name\": \"web.web1.g1\",
	\"password_hash\": \"\", \"hashing_algorithm\": \"rabbit_password_hashing_sha256\", \"tags\": []}]}">>)' '*generation before' \
	'rabbit_auth_backend_internal:delete_user(<<"web.web1.g1">>, <<"test">>)'
catches 'keys of the default exchange lead through x.forapp' 'rabbit_binding:add({binding,
	rabbit_misc:r(<<"border.web1">>, exchange, <<"x.forapp">>), <<"FORAPP.dead">>,
	rabbit_misc:r(<<"border.web1">>, queue, <<"FORAPP.dead">>), []}, <<"test">>)' '*copies*' 'rabbit_binding:remove({binding,
	rabbit_misc:r(<<"border.web1">>, exchange, <<"x.forapp">>), <<"FORAPP.dead">>,
	rabbit_misc:r(<<"border.web1">>, queue, <<"FORAPP.dead">>), []}, <<"test">>)'
catches 'a login may take a minute' "$(set_env handshake_timeout 60000)" 'connect, and be silent behind TLS' "$(set_env handshake_timeout 5000)"
right_node=$(permissions "$node" border.web1 '^$' '^x\\.forweb\\z' '^FORAPP\\.(call|send)\\z')
catches 'an app node may write to x.forapp' "$(permissions "$node" border.web1 '^$' '^x\\.for(web|app)\\z' '^FORAPP\\.(call|send)\\z')" \
	'basic.publish x.forapp call' "$right_node"
catches 'an app node may read FORWEB' "$(permissions "$node" border.web1 '^$' '^x\\.forweb\\z' '^FOR(APP|WEB)\\.')" '*get FORWEB.push' "$right_node"
catches 'an app node may configure inner' "$(permissions "$node" inner '.*' '^x\\.(self|control)\\z' '^(_FORAPP(\\.tick)?|scheduler|control\\.app1)\\z')" \
	'inner: queue.declare*' "$(permissions "$node" inner '^$' '^x\\.(self|control)\\z' '^(_FORAPP(\\.tick)?|scheduler|control\\.app1)\\z')"

# Other doors -----------------------------------------------------------------------------------------------------

spare=$(free_port "$port")
echo "ports = $spare" >>"$plan"
check 'a port that is closed is closed' exits 0 try --act 'connect to port *'
catches 'a listener without TLS' "rabbit_networking:start_tcp_listener({\"127.0.0.1\", $spare, auto}, 2)" 'connect to port *' \
	"rabbit_networking:stop_tcp_listener({\"127.0.0.1\", $spare, auto})"
for door in "takes no certificate|log in without a cert*|lists:keystore(fail_if_no_peer_cert, 1, O0, {fail_if_no_peer_cert, false})" \
	"speaks TLS 1.2|log in over TLS 1.2|lists:keystore(versions, 1, O0, {versions, ['tlsv1.2', 'tlsv1.3']})" \
	"checks no certificate|log in with a certificate signed by itself|lists:keystore(fail_if_no_peer_cert, 1, lists:keystore(verify, 1, O0, {verify, verify_none}), {fail_if_no_peer_cert, false})"; do
	IFS='|' read -r name pattern options <<<"$door"
	spare=$(free_port "$port")
	sed -i "s/^broker = .*/broker = 127.0.0.1:$spare/" "$plan"
	check "weak: a door that $name" catches_it "$(tls_listener "$spare" "$options")" "$pattern"
done
sed -i "s/^broker = .*/broker = 127.0.0.1:$port/" "$plan"

# Nothing proven --------------------------------------------------------------------------------------------------

erl "$(permissions "$web" border.web1 '^$' '^$' '^$')" >/dev/null
check 'a border that allows nothing is not called right: the controls fail' exits 1 try --act '*x.forapp'
check 'they are not proven, and nothing succeeded' seen '.unproven >= 1 and .succeeded == 0'
erl "$right" >/dev/null
check 'all is right again' exits 0 try
sed "s/^broker = .*/broker = 127.0.0.1:$(free_port)/" "$plan" >"$work/nobody.conf"
check 'nobody listens: 111' exits 111 "$probe" run --plan "$work/nobody.conf"
check 'and it says that nothing is proven' says 'nothing is proven' "$probe" run --plan "$work/nobody.conf"

# Called wrongly --------------------------------------------------------------------------------------------------

check 'no command: 2' exits 2 "$probe"
check 'no plan: 2' exits 2 "$probe" run
check 'no such plan: 2' exits 2 "$probe" run --plan "$work/none"
check 'a pattern that fits nothing: 2' exits 2 "$probe" run --plan "$plan" --act 'nothing*'
sed 's/^broker = .*/broker = nowhere/' "$plan" >"$work/wrong.conf"
check 'a wrong address: its line' says "$work/wrong.conf:1:" "$probe" run --plan "$work/wrong.conf"
check 'a wrong address: 2' exits 2 "$probe" run --plan "$work/wrong.conf"
{
	cat "$plan"
	echo 'colour = red'
} >"$work/wrong.conf"
check 'an unknown key: 2' exits 2 "$probe" run --plan "$work/wrong.conf"
sed 's/^node.certificate = .*/node.certificate = \/nowhere\/node.pem/' "$plan" >"$work/wrong.conf"
check 'a certificate that is not there: 2' exits 2 "$probe" run --plan "$work/wrong.conf"
sed -e "s|^node.certificate = .*|node.certificate = $pki/web.web2.g1.pem|" -e "s|^node.key = .*|node.key = $pki/web.web2.g1.key|" \
	"$plan" >"$work/wrong.conf"
check 'a web host for an app node: says what would be right' says 'app.<node>.g<N>' "$probe" run --plan "$work/wrong.conf"
grep -v '^other.key' "$plan" >"$work/wrong.conf"
check 'a certificate without its key: 2' exits 2 "$probe" run --plan "$work/wrong.conf"
check 'help' exits 0 "$probe" --help
"$probe" example >"$work/example.conf"
check 'the example names every key' says 'limit.connections' cat "$work/example.conf"

# What the page promises ------------------------------------------------------------------------------------------

# shellcheck disable=SC2016  # the backticks are the page's
# unknown_tests - what docs/threat-model.md names and the tree does not have
unknown_tests() {
	local page=$repo/docs/threat-model.md name file
	while read -r file; do
		[[ -e $repo/$file ]] || echo "$file"
	done < <(grep -oE 'tests/[a-z0-9_/-]+\.(c|sh)' "$page" | sort -u)
	while read -r name file; do
		grep -q "START_TEST($name)" "$repo/$file" || echo "$name in $file"
	done < <(sed -nE 's/`([a-z_0-9]{12,})` in (tests\/[a-z0-9_\/.]+)/\n\1 \2\n/gp' "$page" | grep -E '^[a-z_0-9]+ tests/')
}
check 'the threat model names many tests' test "$(grep -oE 'tests/[a-z0-9_/-]+\.(c|sh)' "$repo/docs/threat-model.md" | sort -u | wc -l)" -gt 15
check 'and all of them exist' same '' "$(unknown_tests)"
