#!/usr/bin/env bash
# dev-test - the life of a whole site in a folder: up, its parts, its lines, down. With the programs of SALLYPORT_BIN.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=$work/site
other=$work/other

# The site remembers its programs: from here on nobody tells it. A folder of another name, so that it is not the default.
bin_was=$work/bin
ln -s "$(realpath -- "${SALLYPORT_BIN:-$(dirname "${BASH_SOURCE[0]}")/../../build/release/bin}")" "$bin_was"
unset SALLYPORT_BIN

at_end() {
	"$repo/scripts/dev" down --dir "$dir"
	"$repo/scripts/dev" down --dir "$other"
}

dev() {
	"$repo/scripts/dev" "$@" --dir "$dir"
}

# value KEY [HOST] - from the site's lines
value() {
	dev env "${@:2}" | sed -n "s/^$1=//p"
}

# call BODY [HOST] - a call of quote.price; prints the answer and its status
call() {
	curl -s --max-time 20 -w ' %{http_code}' --unix-socket "$(value SALLYPORT_WEB_SOCKET "${@:2}")" \
		-H 'Content-Type: application/json' -d "$1" http://localhost/v1/call/quote.price
}
readonly TWO_ANCHORS='{"sku":"A-1","quantity":2}'
is_answered() {
	[[ $(call "$TWO_ANCHORS" "$@") == *'"cents":9800'*' 200' ]]
}
orders() {
	python3 - "$dir/shop/orders.db" <<-'PYTHON'
		import sqlite3, sys
		print(*sqlite3.connect(sys.argv[1]).execute("SELECT COUNT(*) FROM orders").fetchone())
	PYTHON
}
has_orders() {
	[[ $(orders) == "$1" ]]
}

# Called wrongly ---------------------------------------------------------------------------------------------------

check 'no hosts is exit 2' exits 2 dev up --hosts 0
check 'and said in a sentence' says '--hosts 0: must be a number from 1 to 50' dev up --hosts 0
check 'so are handlers that are none' says 'dev: --handlers foo: must be http+unix:///PATH' dev up --handlers foo
touch "$work/file"
check 'a file for a folder is told' says "dev: $work/file is there and no folder" "$repo/scripts/dev" up --dir "$work/file"
for odd in "$work/file/x" /proc/x; do
	check "a folder that nobody can make is told: $odd" says "dev: cannot write into $odd" "$repo/scripts/dev" up --dir "$odd"
done
check 'a handler elsewhere is exit 2' exits 2 dev up --handlers http://192.0.2.1:80
check 'a spare with the name of a host is exit 2' exits 2 dev up --spare web1
check 'status of no site is exit 1' exits 1 dev status
check 'down of no site is fine' dev down
check 'and said' says "no site in $dir" dev down
long=$work/$(printf 'x%.0s' {1..90})
check 'a folder too deep for sockets is told before anything starts' says 'choose a shorter --dir' \
	"$repo/scripts/dev" up --dir "$long"
check 'and nothing started' not test -e "$long/broker"
check 'a contract that is not there is told' says 'no contract to read' dev up --contract "$work/none.yaml"
for odd in "it's" 'a"b' $'a\nb' 'a #b'; do
	check "the folder $(printf %q "$odd") is refused" exits 2 "$repo/scripts/dev" up --dir "$work/$odd"
done
check 'a contract with a line break in its name is refused' exits 2 dev up --contract $'a\nhandlers = b'
check 'handlers with a line break in their name are refused' exits 2 dev up --handlers $'unix:/a\nnode = b'
check 'a spare with a name too long is refused' says 'at most 40 long' dev up --spare "$(printf 'x%.0s' {1..41})"
cat >"$work/wrong.yaml" <<'YAML'
site: wrong
operations:
  stock.left: {kind: call, deadline: soon}
YAML
check 'a mistake in the contract is told with its line' says "$work/wrong.yaml:3:" dev up --contract "$work/wrong.yaml"
check 'as a no' exits 1 dev up --contract "$work/wrong.yaml"
check 'nothing of all that made a folder' not test -e "$dir"
SALLYPORT_RABBITMQ=$work/none check 'a broker that cannot start is a no' exits 1 dev up
check 'that leaves no empty folder' same '' "$(find "$dir" -type d -empty)"
check 'and nothing that runs' same '' "$(pgrep -f "$dir/" || true)"
check 'and can be removed' dev down --purge
check 'without a trace' not test -e "$dir"
# begun - is the broker on its way?
begun() {
	[[ -s $dir/broker/server/broker.pid ]]
}
check 'SIGINT to it alone ends it' interrupt 20 begun "$repo/scripts/dev" up --dir "$dir"
check 'with sentences only, none of them of bash' not grep -nE ': line [0-9]+: ' "$work/interrupted"
check 'and what it began' same '' "$(pgrep -f "$dir/" || true)"
check 'and leaves nothing behind' not test -e "$dir"

# Up ---------------------------------------------------------------------------------------------------------------

SALLYPORT_BIN=$bin_was "$repo/scripts/dev" up --dir "$other" --hosts 2 --nodes 2 >"$work/other.out" 2>&1 &
other_up=$!
check 'a site gets up' env SALLYPORT_BIN="$bin_was" "$repo/scripts/dev" up --spare floor --dir "$dir"
check 'a larger one gets up beside it' wait "$other_up"
check 'up again says so' says 'up already' dev up
check 'up with other wishes is a no' exits 1 dev up --hosts 3
check 'that names the way' says "scripts/dev down --dir $dir first" dev up --hosts 3
check 'env: the programs are those it was upped with' same "$bin_was" "$(SALLYPORT_BIN='' value SALLYPORT_BIN)"
check 'all parts are ready' same true "$(dev status --json | jq .ready)"
check 'keys are for nobody else' same '' "$(find "$dir" -name '*.key' -perm /077)"

while read -r kind key; do
	check "env: $key is a $kind" test "-$kind" "$(value "$key")"
done <<'TABLE'
S SALLYPORT_WEB_SOCKET
S SALLYPORT_APP_SOCKET
f SALLYPORT_CA
f SALLYPORT_WEB_CERT
f SALLYPORT_WEB_KEY
f SALLYPORT_WEB_SEAL
f SALLYPORT_APP_CERT
f SALLYPORT_APP_KEY
f SALLYPORT_SPARE_WEB_CERT
f SALLYPORT_SPARE_WEB_KEY
f SALLYPORT_SPARE_APP_CERT
f SALLYPORT_SPARE_APP_KEY
d SALLYPORT_STATE
d SALLYPORT_BIN
TABLE
for part in BROKER AGENT NODE; do
	check "env: the pid of $part is alive" kill -0 "$(value "SALLYPORT_PID_$part")"
done
check 'and started are they' test "$(realpath "/proc/$(value SALLYPORT_PID_AGENT)/exe")" -ef "$bin_was/webapp-agent"
check 'the pid of the agent is the agent' same webapp-agent "$(<"/proc/$(value SALLYPORT_PID_AGENT)/comm")"
check 'env of an unknown host is exit 2' exits 2 dev env web9

# Through it -------------------------------------------------------------------------------------------------------

check 'a call is answered by the shop' is_answered
check "a refusal of the shop is the caller's" says unknown-product call '{"sku":"Z-9","quantity":1}'
check 'an order is accepted' says 202 curl -s -w '%{http_code}' --unix-socket "$(value SALLYPORT_WEB_SOCKET)" \
	-H 'Idempotency-Key: one' -d '{"customer":"c-7","lines":[{"sku":"A-1","quantity":1}]}' \
	http://localhost/v1/send/order.place
check 'and arrives' wait_until 5 has_orders 1
check 'the page asks too' says '98.00' curl -s "$(value SALLYPORT_SHOP_URL)quote" -d 'sku=A-1&quantity=2'
check 'the page orders too' says 'Thank you' curl -s "$(value SALLYPORT_SHOP_URL)order" \
	-d 'form=f1&customer=c-7&sku=B-7&quantity=1'
check 'and that arrives too' wait_until 5 has_orders 2
check 'the command line asks' says '98.00' "$repo/examples/shop/web.py" --socket "$(value SALLYPORT_WEB_SOCKET)" quote A-1 2
dir_was=$dir dir=$other
check 'the second host of the other site is served' is_answered web2
dir=$dir_was

# Parts ------------------------------------------------------------------------------------------------------------

check 'an unknown part is exit 2' exits 2 dev stop agent:web7
check 'the node stops' dev stop node
check 'status sees it' exits 1 dev status
check 'a call is a named error' says deadline-exceeded call "$TWO_ANCHORS"
check 'the node starts' dev start node
check 'calls are answered again' wait_until 3 is_answered
check 'the agent is killed' dev kill agent
check 'and starts' dev start agent
check 'and is of use' wait_until 3 is_answered
echo 'log.level = debug' >"$dir/web1/local.conf"
check 'a line of local.conf' dev restart agent
check 'counts at the next start' grep -qx 'log.level = debug' "$dir/web1/daemon.conf"
rm "$dir/web1/local.conf"
check 'the broker is killed' dev kill broker
check 'a call is a named error at once' says border-unavailable call "$TWO_ANCHORS"
check 'status says who is not ready, and why' says '(not ready: no link to the border)' dev status
check 'in JSON too' says '"why":"no link to the border"' dev status --json
check 'and that is a no' exits 1 dev status
check 'the exit status of rabbitmqctl is passed on' exits 69 dev broker ctl status
check 'an agent that finds no border says so' says 'the border is away' dev restart agent
check 'which is a no' exits 1 dev start agent
check 'but it runs' kill -0 "$(value SALLYPORT_PID_AGENT)"
check 'the broker starts' dev start broker
check 'calls are answered again' wait_until 3 is_answered
check 'the agent has found it too' dev start agent
check 'start of what runs is fine' dev start broker
check 'restart' dev restart handlers
check 'of the handlers loses nothing' wait_until 3 is_answered
check 'logs tell' says event= dev logs agent
check 'the broker is at hand' says border.web1 dev broker ctl eval 'rabbit_vhost:list_names()'

mv "$dir/web1/web.web1.g1.key" "$work/key"
cp "$dir/broker/state/pki/web.floor.g1.key" "$dir/broker/state/pki/web.web1.g1.key"
check 'a part that cannot start says why' says web.web1.g1.key dev restart agent
check 'with exit 1' exits 1 dev restart agent
mv "$work/key" "$dir/broker/state/pki/web.web1.g1.key"
check 'and starts when it can' dev start agent

# Own handlers -----------------------------------------------------------------------------------------------------

check 'down' dev down
check 'twice' dev down
dev env >"$work/env.out" 2>"$work/env.err" && stopped=0 || stopped=$?
check 'env of a site that is down is a no' same 1 "$stopped"
check 'that says so' grep -q 'nothing of the site in' "$work/env.err"
check 'with the lines that are true' grep -qx "SALLYPORT_WEB_SOCKET=$dir/web1/agent.sock" "$work/env.out"
check 'and none of a page that is gone' not grep -q SALLYPORT_SHOP_URL "$work/env.out"
check 'nothing of it runs' same '' "$(pgrep -f "$dir/" || true)"
check 'a site with own handlers and contract gets up' dev up --handlers "http+unix://$work/mine.sock" \
	--contract "$repo/examples/shop/contract.yaml"
mv "$work/output" "$work/said"
check 'nobody answers there yet: that is told' grep -q "warning: nobody answers on http+unix://$work/mine.sock" "$work/said"
python3 "$repo/examples/shop/handlers.py" --listen "http+unix://$work/mine.sock" --database "$work/mine.db" 2>/dev/null &
mine=$!
check 'somebody answers now' wait_until 5 test -S "$work/mine.sock"
check 'nothing is told of it then' not says warning dev up
check 'they are asked' is_answered
check 'the shop is not started' not says handlers dev status
kill "$mine"
check 'down' dev down --purge
cat >"$work/other.yaml" <<'YAML'
site: other
operations:
  quote.price: {kind: call, params: {sku: text(32), quantity: 1..1000}, result: {sku: text(32), quantity: int, cents: int}}
  stock.left: {kind: call, params: {sku: text(32)}, result: {left: int}}
  stock.count: {kind: send, params: {sku: text(32), left: int}}
YAML
check "what the shop's handlers cannot answer is told" says 'they have no stock.left stock.count (' \
	dev up --contract "$work/other.yaml"
check 'the rest is answered' is_answered

# Down -------------------------------------------------------------------------------------------------------------

touch "$dir/mine"
check 'down removes what it made when asked' dev down --purge
check 'and nothing else' same "$dir/mine" "$(find "$dir" -type f)"
check 'the other site is still up' "$repo/scripts/dev" status --dir "$other"
check 'and ends' "$repo/scripts/dev" down --purge --dir "$other"
check 'without a trace' not test -e "$other"
