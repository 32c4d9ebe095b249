#!/usr/bin/env bash
# definitions-test - from the description of a site to the definitions of a broker, without a broker.
set -euo pipefail
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib/border.sh
. "$repo/scripts/lib/border.sh"

# definitions JSON [HOST]
definitions() {
	local text=$1
	shift
	printf '%s\n' "$text" >"$work/site.json"
	border_definitions "$work/site.json" "$@"
}

refuses() {
	local text=$1 why=$2
	exits 5 definitions "$text" && says "$why" definitions "$text"
}

# about FILTER JSON [HOST] - what the definitions say
about() {
	definitions "${@:2}" | jq -c "$1"
}

site='{"hosts": [{"name": "web1"}, {"name": "web2", "generation": 3}], "nodes": [{"name": "app1"}, {"name": "app2"}]}'

check 'a name with capitals is refused' refuses '{"hosts": [{"name": "Web1"}]}' '"Web1" is no name'
check 'a name that would leave its pattern is refused' refuses '{"hosts": [{"name": "a.*"}]}' 'is no name'
check 'a name with a newline is refused' refuses '{"nodes": [{"name": "app1\n"}]}' 'is no name'
check 'a name of 41 letters is refused' refuses "{\"hosts\": [{\"name\": \"$(printf 'a%.0s' {1..41})\"}]}" 'is no name'
check 'a name that is no text is refused' refuses '{"hosts": [{"name": 7}]}' 'is no name'
check 'a name twice is refused' refuses '{"hosts": [{"name": "a"}, {"name": "a"}]}' 'a stands there twice'
check 'a generation of half is refused' refuses '{"hosts": [{"name": "a", "generation": 1.5}]}' 'no whole number'
check 'a generation of nothing is refused' refuses '{"hosts": [{"name": "a", "generation": 0}]}' 'no whole number'
check 'a host that is not there cannot be asked for' says 'no host web9' definitions "$site" web9

check 'the users are the identities with their generation' same \
	'["web.web1.g1","web.web2.g3","app.app1.g1","app.app2.g1"]' "$(about '[.users[].name]' "$site")"
check 'no user has a password, or a tag' same 'true' "$(about 'all(.users[]; .password_hash == "" and .tags == [])' "$site")"
check 'nobody may configure anything' same '["^$"]' "$(about '[.permissions[].configure] | unique' "$site")"
check 'a web host has permissions in its own vhost only' same '[["web.web1.g1","border.web1"],["web.web2.g3","border.web2"]]' \
	"$(about '[.permissions[] | select(.user | startswith("web.")) | [.user, .vhost]]' "$site")"
check 'every pattern of a permission is anchored at both ends' same 'true' \
	"$(about 'all(.permissions[]; (.write, .read) | test("^\\^.*(\\\\z|\\$)$"))' "$site")"
exchanging='{"hosts": [{"name": "a", "generations": [2, 3]}, {"name": "b", "generations": [], "closed": true}, {"name": "c", "limits": {"send": {"length": 7}}}], "nodes": [{"name": "n", "generations": [1, 2]}]}'
check 'two generations while a certificate is exchanged' same '["web.a.g2","web.a.g3","web.c.g1","app.n.g1","app.n.g2"]' \
	"$(about '[.users[].name]' "$exchanging")"
check 'with connections for both' same '16' \
	"$(about '.parameters[] | select(.vhost == "border.a" and .component == "vhost-limits") | .value."max-connections"' "$exchanging")"
check 'nobody may touch a closed crossing' same '0' "$(about '[.permissions[] | select(.vhost == "border.b")] | length' "$exchanging")"
check 'nor connect to it' same '0' \
	"$(about '.parameters[] | select(.vhost == "border.b" and .component == "vhost-limits") | .value."max-connections"' "$exchanging")"
check 'its lanes stay' same '6' "$(about '[.queues[] | select(.vhost == "border.b")] | length' "$exchanging")"
check 'a host has limits of its own' same '7' \
	"$(about '.parameters[] | select(.vhost == "border.c" and .name == "FORAPP.send") | .value.definition."max-length"' "$exchanging")"
check 'the others do not' same '200000' \
	"$(about '.parameters[] | select(.vhost == "border.a" and .name == "FORAPP.send") | .value.definition."max-length"' "$exchanging")"
check 'a broker of the inner vhost alone' same '["inner"]' "$(about '[.vhosts[].name]' "${exchanging/%\}/, \"parts\": [\"inner\"]\}}")"
check 'a broker of the crossings alone' same '["border.a","border.b","border.c"]' \
	"$(about '[.vhosts[].name]' "${exchanging/%\}/, \"parts\": [\"border\"]\}}")"
check 'no queue has the name of an exchange' same '[]' \
	"$(about '[.queues[].name] - ([.queues[].name] - [.exchanges[].name])' "$site")"
check 'every queue has a policy and a bound' same '[]' \
	"$(about '[.queues[] | [.vhost, .name]] - [.policies[] | [.vhost, .name]] +
		([.queues[] | [.vhost, .name]] - [.parameters[] | select(.component == "operator_policy") | [.vhost, .name]])' "$site")"
check 'every queue is bound in length' same 'true' \
	"$(about 'all(.parameters[] | select(.component == "operator_policy"); .value.definition["max-length"] != null)' "$site")"
# shellcheck disable=SC2016 # jq's variables
check 'what dead-letters does so at least once into a queue that is there' same 'true' \
	"$(about '[.queues[] | [.vhost, .name]] as $q | all(.policies[] | select(.definition["dead-letter-exchange"] != null);
		([.vhost, .definition["dead-letter-routing-key"]] | IN($q[])) and .definition["dead-letter-exchange"] == ""
		and .definition["dead-letter-strategy"] == "at-least-once" and .definition.overflow == "reject-publish")' "$site")"
check 'every durable lane has a limit of deliveries, and where to go then' same \
	'["FORAPP.send","FORWEB.push","_FORAPP","control.app1","control.app2"]' \
	"$(about '[.parameters[] | select(.value.definition["delivery-limit"] == 1000) | .name] | unique' "$site")"
check 'only the reply lane and the last tick forget the oldest' same '["FORWEB.reply","_FORAPP.tick"]' \
	"$(about '[.policies[] | select(.definition.overflow == "drop-head") | .name] | unique' "$site")"
check 'the ordered lane has a single active consumer' same '["FORAPP.send"]' \
	"$(about '[.queues[] | select(.arguments["x-single-active-consumer"]) | .name] | unique' "$site")"
check 'a node may hold a pair of connections, twice, to every crossing and the inner vhost' same '12' \
	"$(about '.users[] | select(.name == "app.app1.g1").limits["max-connections"]' "$site")"
check 'a limit of the description wins, the others stay' same '[5,536870912]' \
	"$(about '.parameters[] | select(.name == "FORAPP.send").value.definition | [.["max-length"], .["max-length-bytes"]]' \
		'{"hosts": [{"name": "a"}], "limits": {"send": {"length": 5}}}')"
check 'what a new host adds touches no other vhost' same '["border.web2"]' \
	"$(about '[(.queues, .permissions, .policies, .parameters, .bindings)[].vhost] | unique' "$site" web2)"

conf() {
	border_conf ADDRESS=127.0.0.1 PORT=1 CA=ca CERTIFICATE=c KEY='a&b' DEFINITIONS=d MEMORY=1 "$@"
}
check 'a place nobody filled is an error' says '@DISK_FREE@' conf
check 'a value stands there letter by letter' says 'ssl_options.keyfile = a&b' conf DISK_FREE=1
