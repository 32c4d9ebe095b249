#!/usr/bin/env bash
# broker-test - the private broker: its life, its secrets, who may do what on it. Starts two real ones.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=$work/'a=b,c~#%'
other=$work/other

at_end() {
	"$repo/scripts/broker" kill --dir "$dir"
	"$repo/scripts/broker" kill --dir "$other"
	"$repo/scripts/broker" down --dir "$dir"
	"$repo/scripts/broker" down --dir "$other"
}

broker() {
	"$repo/scripts/broker" "$1" --dir "$dir" "${@:2}"
}

# value KEY - from the broker's lines
value() {
	(eval "$(broker env)" && printf '%s\n' "${!1}")
}

# Called wrongly ---------------------------------------------------------------------------------------------------

check 'no command is exit 2' exits 2 "$repo/scripts/broker"
check 'no folder is exit 2' exits 2 "$repo/scripts/broker" up
check 'an unknown command is exit 2' exits 2 broker dance
check 'a bad host name is exit 2' exits 2 broker up --hosts 'web1,We_b'
check 'a bad port is exit 2' exits 2 broker up --port 80x
for odd in "it's" 'a b' 'a&b' 'a"b' $'a\nb' $'a\n' 'a:b' 'a[b' 'a\b' 'a*'; do
	check "the folder $(printf %q "$odd") is refused at once" says 'choose another folder' \
		"$repo/scripts/broker" up --dir "$work/$odd"
done
check 'with exit 2' exits 2 "$repo/scripts/broker" up --dir "$work/it's"
check 'a broker that never was is exit 1' exits 1 broker status
check 'to end what never was is fine' broker down
python3 - >"$work/taken" <<'PYTHON' &
import signal, socket
taken = socket.create_server(("127.0.0.1", 0))
print(taken.getsockname()[1], flush=True)
signal.pause()
PYTHON
wait_until 10 test -s "$work/taken"
taken=$(<"$work/taken")
check "a port that somebody else holds is told" says "somebody else holds port $taken" \
	"$repo/scripts/broker" up --dir "$work/third" --port "$taken"
check 'and nothing is left' same '' "$(pgrep -f "$work/third" || true)"
check 'no folder either' not test -e "$work/third"
check 'nothing of all that made a folder' not test -e "$dir"

# begun - has its Erlang machine been started?
begun() {
	[[ -s $work/third/server/broker.pid ]]
}
check 'a start is interrupted' interrupt 20 begun "$repo/scripts/broker" up --dir "$work/third"
check 'nothing of it runs' same '' "$(pgrep -f "$work/third" || true)"
check 'nor its port mapper' not port_answers "$(cut -d' ' -f3 "$work/third/server/ports")"
check 'told in sentences, none of them of bash' not grep -nE ': line [0-9]+: ' "$work/interrupted"
read -r third_ports <"$work/third/server/ports"
echo "${third_ports% *} $taken" >"$work/third/server/ports"
check "one of its own ports that somebody else holds is told" says "somebody else holds port $taken" \
	"$repo/scripts/broker" start --dir "$work/third"
echo "$third_ports" >"$work/third/server/ports"
kill %1
check 'and it can be started then' "$repo/scripts/broker" start --dir "$work/third"
check 'and ended' "$repo/scripts/broker" down --purge --dir "$work/third"

# Life -------------------------------------------------------------------------------------------------------------

"$repo/scripts/broker" up --dir "$other" >"$work/other.env" 2>"$work/other.err" &
check 'it gets up, in a folder with an odd name' broker up --hosts web1,web2 --nodes app1,app2
check 'another one gets up beside it' wait $!
check 'it says nothing but its lines' same '' "$(<"$work/other.err")"
port=$(value BROKER_PORT)
pid=$(value BROKER_PID)
certs=$(value BROKER_CERTS)
check 'the pid is that of the broker itself' same beam.smp "$(</proc/"$pid"/comm)"
check 'up again is fine and changes nothing' same "$(broker env)" "$(broker up)"
check 'the two have different ports' not grep -qx "BROKER_PORT=$port" "$work/other.env"
check 'status tells' says "\"running\":true,\"pid\":$pid,\"port\":$port" broker status --json

# Secrets ----------------------------------------------------------------------------------------------------------

check 'no key and no cookie is for others to read' same '' \
	"$(find "$dir" \( -name '*.key' -o -name '.erlang.cookie' \) -perm /077)"
check 'the folders of keys are closed' same '700 700' \
	"$(stat -c %a "$certs" "$dir/server" | paste -sd' ')"
check 'what the broker has holds no key but its own' same "$dir/server/broker.key" \
	"$(grep -rlE -- '-----BEGIN.*PRIVATE KEY' "$dir/server" | sort)"
check 'the cookie is in no argument list' not grep -qaF -- "$(<"$dir/server/home/.erlang.cookie")" /proc/"$pid"/cmdline

# Doors ------------------------------------------------------------------------------------------------------------

listeners() {
	ss -Hltnp | grep "pid=$pid," | awk '{print $4}' | sort
}
check 'it listens on two loopback ports: AMQP and operations' same \
	"$(printf '127.0.0.1:%s\n' "$port" "$(cut -d' ' -f2 "$dir/server/ports")" | sort)" "$(listeners)"

# hello OPTIONS... - opens AMQP over TLS and prints what came back, or the alert
hello() {
	{
		printf 'AMQP\0\0\x09\x01'
		read -rt 2 <> <(:) || true
	} | timeout 10 openssl s_client -quiet -connect "127.0.0.1:$port" -CAfile "$certs/ca.pem" \
		-verify_return_error "$@" 2>&1 | strings
}
with_cert() {
	hello -cert "$1.pem" -key "$1.key"
}
check 'a certificate of the authority is welcome' says EXTERNAL with_cert "$certs/web.web1.g1"
check 'EXTERNAL is the only way in' not says PLAIN with_cert "$certs/web.web1.g1"
check 'nobody without a certificate' says 'certificate required' hello
broker cert --stranger web.web1.g1 >/dev/null
check 'nobody with a certificate of another authority' says 'unknown ca' with_cert "$dir/state/pki-stranger/web.web1.g1"
check "nobody with the broker's own" says 'handshake failure' with_cert "$certs/broker"
check 'nobody with TLS 1.2' says 'protocol version' hello -tls1_2 -cert "$certs/web.web1.g1.pem" -key "$certs/web.web1.g1.key"
check "the broker's certificate is of the authority and for this address" hello -verify_ip 127.0.0.1 \
	-cert "$certs/web.web1.g1.pem" -key "$certs/web.web1.g1.key"
plain() {
	exec 3<>"/dev/tcp/127.0.0.1/$port"
	printf 'AMQP\0\0\x09\x01' >&3
	timeout 5 cat <&3 | strings
}
check 'nobody without TLS' not says AMQPLAIN plain

# Who may do what --------------------------------------------------------------------------------------------------

permissions() {
	broker ctl -q list_permissions -p "$1" --no-table-headers | tr '\t' ' ' | sort
}
check 'there are no other users: no guest' same '[<<"app.app1.g1">>,<<"app.app2.g1">>,<<"web.web1.g1">>,<<"web.web2.g1">>]' \
	"$(broker ctl eval 'lists:sort([proplists:get_value(user, U) || U <- rabbit_auth_backend_internal:list_users()])')"
check 'there are no other vhosts: no /' same '[<<"border.web1">>,<<"border.web2">>,<<"inner">>]' \
	"$(broker ctl eval 'lists:sort(rabbit_vhost:list_names())')"
check 'the permissions of a crossing' same \
	'app.app1.g1 ^$ ^x\.forweb\z ^FORAPP\.(call|send)\z
app.app2.g1 ^$ ^x\.forweb\z ^FORAPP\.(call|send)\z
web.web1.g1 ^$ ^x\.forapp\z ^FORWEB\.(reply|push)\z' "$(permissions border.web1)"
check 'the permissions of the inner vhost' same \
	'app.app1.g1 ^$ ^x\.(self|control)\z ^(_FORAPP(\.tick)?|scheduler|control\.app1)\z
app.app2.g1 ^$ ^x\.(self|control)\z ^(_FORAPP(\.tick)?|scheduler|control\.app2)\z' "$(permissions inner)"

# may USER VHOST KIND NAME PERMISSION - asks the broker's own judge
may() {
	broker ctl eval "try rabbit_access_control:check_resource_access(
		element(2, rabbit_access_control:check_user_login(<<\"$1\">>, [])),
		rabbit_misc:r(<<\"$2\">>, $3, <<\"$4\">>), $5, #{}) of ok -> yes catch _:_ -> no end"
}
while read -r user vhost kind name permission verdict; do
	check "$user may $permission $kind $name in $vhost: $verdict" same "$verdict" \
		"$(may "$user" "$vhost" "$kind" "${name/DEFAULT/}" "$permission")"
done <<'TABLE'
web.web1.g1 border.web1 exchange x.forapp write yes
web.web1.g1 border.web1 exchange x.forappX write no
web.web1.g1 border.web1 exchange xxforapp write no
web.web1.g1 border.web1 exchange x.forweb write no
web.web1.g1 border.web1 exchange amq.direct write no
web.web1.g1 border.web1 exchange DEFAULT write no
web.web1.g1 border.web1 queue FORWEB.reply read yes
web.web1.g1 border.web1 queue FORWEB.push read yes
web.web1.g1 border.web1 queue FORWEB.dead read no
web.web1.g1 border.web1 queue FORAPP.call read no
web.web1.g1 border.web1 queue FORWEB.reply configure no
web.web1.g1 border.web1 queue amq.gen-1 configure no
web.web1.g1 border.web2 exchange x.forapp write no
web.web1.g1 border.web2 queue FORWEB.reply read no
web.web1.g1 inner exchange x.self write no
web.web1.g1 inner queue _FORAPP read no
app.app1.g1 border.web1 queue FORAPP.call read yes
app.app1.g1 border.web1 queue FORAPP.send read yes
app.app1.g1 border.web1 queue FORAPP.dead read no
app.app1.g1 border.web1 exchange x.forweb write yes
app.app1.g1 border.web1 exchange x.forapp write no
app.app1.g1 border.web1 exchange DEFAULT write no
app.app1.g1 inner exchange x.self write yes
app.app1.g1 inner exchange x.control write yes
app.app1.g1 inner exchange DEFAULT write no
app.app1.g1 inner queue scheduler read yes
app.app1.g1 inner queue control.app1 read yes
app.app1.g1 inner queue control.app2 read no
app.app1.g1 inner queue _FORAPP.delay.1s read no
app.app1.g1 inner queue _FORAPP.dead read no
TABLE

# Lanes ------------------------------------------------------------------------------------------------------------

# ready VHOST QUEUE - how many messages wait there
ready() {
	broker ctl eval "{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"$1\">>, queue, <<\"$2\">>)),
		{ok, N, _} = rabbit_amqqueue:stat(Q), N"
}
publish() {
	broker ctl eval "rabbit_basic:publish(rabbit_misc:r(<<\"$1\">>, exchange, <<\"$2\">>), <<\"$3\">>, [], <<\"hello\">>)"
}
has() {
	[[ $(ready "$1" "$2") == "$3" ]]
}
while read -r vhost exchange key queue; do
	publish "$vhost" "$exchange" "${key/NONE/}" >/dev/null
	check "$key of $exchange leads to $queue" wait_until 5 has "$vhost" "$queue" 1
done <<'TABLE'
border.web1 x.forapp call FORAPP.call
border.web1 x.forapp send FORAPP.send
border.web1 x.forweb reply FORWEB.reply
border.web1 x.forweb push FORWEB.push
inner x.self now _FORAPP
inner x.self delay.1h _FORAPP.delay.1h
inner x.control NONE control.app2
TABLE
publish inner x.self delay.1s >/dev/null
check 'what was delayed by a second comes back' wait_until 10 has inner _FORAPP 2
publish inner x.self tick >/dev/null
publish inner x.self tick >/dev/null
check 'only the last tick is kept' wait_until 5 has inner _FORAPP.tick 1
check 'another crossing holds nothing of it' same 0 "$(ready border.web2 FORAPP.send)"

# Changes ----------------------------------------------------------------------------------------------------------

check 'a host is added while it runs' broker add-host late
check 'it has its certificate' openssl verify -CAfile "$certs/ca.pem" "$certs/web.late.g1.pem"
check 'and its permission' same yes "$(may web.late.g1 border.late exchange x.forapp write)"
check 'and the nodes may serve it' same yes "$(may app.app2.g1 border.late queue FORAPP.call read)"
check 'it is removed again' broker remove-host late
check 'with its user' says not_found broker ctl eval 'rabbit_auth_backend_internal:lookup_user(<<"web.late.g1">>)'
check 'to remove what is not there is exit 1' exits 1 broker remove-host late
long=$(printf 'x%.0s' {1..65})
check 'a name too long for a certificate is exit 2' exits 2 broker cert fine "$long"
check 'and says how long it may be' says 'at most 64 long' broker cert "$long"
check 'and nothing is made of the others' not test -e "$certs/fine.pem"
check 'a host name too long is refused' exits 2 broker add-host "${long:0:41}"

# rabbitmqctl's own status, sysexits.h has the names
check 'ctl: no such command' exits 64 broker ctl dance
check 'ctl: no such user' exits 67 broker ctl delete_user nobody
check 'ctl: its options are its own' says '--formatter' broker ctl list_vhosts --help
check 'ctl eval: done' exits 0 broker ctl eval '1 + 1'
check 'ctl eval: nonsense' exits 64 broker ctl eval '1 +'
check 'ctl eval: an error' exits 69 broker ctl eval 'error(oh)'

check 'SIGKILL ends it' broker kill
check 'it is gone' proc_is_gone "$dir/server/broker.pid"
check 'ctl eval: nobody there' exits 69 broker ctl eval '1 + 1'
check 'status says so' exits 1 broker status
check 'it starts again' broker start
check 'on the same port' same "$port" "$(value BROKER_PORT)"
check 'with what was stored' wait_until 10 has border.web1 FORAPP.send 1

# End --------------------------------------------------------------------------------------------------------------

check 'it stops' broker stop
echo "$$ 1" >"$dir/server/broker.pid"
check 'a stranger with its pid is left alone' broker stop
check 'to end it removes what it made when asked' broker down --purge
check 'all of it' not test -e "$dir"
check 'the other one is still up' "$repo/scripts/broker" status --dir "$other"
check 'and ends' "$repo/scripts/broker" down --dir "$other"
check 'no port mapper of theirs is left' not pgrep -f "epmd -address 127.0.0.1 -port $(cut -d' ' -f3 "$other/server/ports")\$"
