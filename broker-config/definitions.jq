# definitions.jq - what stands on the border: a small description of a site becomes RabbitMQ definitions.
#
#   jq -L broker-config -f broker-config/definitions.jq site.json > definitions.json
#
# Description:
#   {"hosts": [{"name": "web1", "generations": [1]}],  web hosts; their crossing is the vhost border.<name>
#    "nodes": [{"name": "app1", "generations": [1]}],  app nodes; they may use every crossing and the inner vhost
#    "limits": {"send": {"length": 1000}},             optional: differs from limits.jq here; a host may have its own
#    "parts": ["border", "inner"]}                     optional: what this broker holds; both unless it says so
# "generations" are those that may log in: two while a certificate is being exchanged, none of a host that was
# revoked. "generation": N is short for one, and neither for [1]. A host that is "closed": true keeps its lanes and what
# is in them, and nobody may touch them.
# With --arg only HOST (placed before the file) it prints what a new host adds to a border that stands already.
#
# What a client could choose is in the arguments of a queue (type, single active consumer) and is for ever; what
# operations may want to change (sizes, times, dead letters) is in policies. Limits are operator policies: they bind
# whatever a queue or policy says.

include "limits";

def name_or_error($what):
	if type == "string" and test("^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\\z") then .
	else error("\($what): \(tojson) is no name: 1 to 40 of a-z, 0-9 and - (not at either end)") end;

def generation_or_error($who):
	if type == "number" and . == floor and . >= 1 and . < 1000000000 then .
	else error("\($who): generation \(tojson) is no whole number from 1") end;

def unique_or_error($what):
	. as $all | (map(.name) | group_by(.) | map(select(length > 1) | .[0])) as $twice
	| if $twice == [] then $all else error("\($what): \($twice[0]) stands there twice") end;

def parties($what):
	map((.name | name_or_error($what)) as $name | {
		$name,
		generations: [(.generations // [.generation // 1])[] | generation_or_error("\($what) \($name)")],
		limits: (.limits // {}),
		closed: (.closed // false)
	}) | unique_or_error($what);

def identities($realm): .name as $name | [.generations[] | "\($realm).\($name).g\(.)"];
def web_users: identities("web");
def app_users: identities("app");
def crossing: "border.\(.name)";

def literal: gsub("\\."; "\\.");  # a name as a pattern

# Things ---------------------------------------------------------------------------------------------------------

def exchange($vhost; $name; $type):
	{vhost: $vhost, name: $name, type: $type, durable: true, auto_delete: false, internal: false, arguments: {}};

def queue($vhost; $name; $arguments):
	{vhost: $vhost, name: $name, durable: true, auto_delete: false, arguments: $arguments};

def classic: {"x-queue-type": "classic"};
def quorum: {"x-queue-type": "quorum"};
def ordered: quorum + {"x-single-active-consumer": true};

def binding($vhost; $exchange; $key; $queue):
	{vhost: $vhost, source: $exchange, destination: $queue, destination_type: "queue", routing_key: $key, arguments: {}};

def policy($vhost; $queue; $definition):
	{vhost: $vhost, name: $queue, pattern: "^\($queue | literal)\\z", "apply-to": "queues", priority: 10,
	 definition: $definition};

# An operator policy, which definitions keep among the parameters.
def bound($vhost; $queue; $definition):
	{vhost: $vhost, component: "operator_policy", name: $queue,
	 value: {pattern: "^\($queue | literal)\\z", "apply-to": "queues", priority: 10, definition: $definition}};

def refuse: {overflow: "reject-publish"};
def forget_oldest: {overflow: "drop-head"};

# At-least-once needs reject-publish. The target is named by the default exchange, to which no user may write.
def dead_to($queue): refuse + {
	"dead-letter-exchange": "", "dead-letter-routing-key": $queue, "dead-letter-strategy": "at-least-once"};

def size($limit): {"max-length": $limit.length, "max-length-bytes": $limit.bytes};
def lifetime($ttl_ms): {"message-ttl": $ttl_ms};
def deliveries($limits): {"delivery-limit": $limits.deliveries};

def permission($user; $vhost; $write; $read):
	{user: $user, vhost: $vhost, configure: "^$", write: $write, read: $read};

# A user without a password: only its certificate logs it in.
def user($name; $connections; $channels):
	{name: $name, password_hash: "", hashing_algorithm: "rabbit_password_hashing_sha256", tags: [],
	 limits: {"max-connections": $connections, "max-channels": $channels}};

def vhost_bound($vhost; $connections; $queues):
	{vhost: $vhost, component: "vhost-limits", name: "limits",
	 value: {"max-connections": $connections, "max-queues": $queues}};

# Parts ----------------------------------------------------------------------------------------------------------

# One crossing: its vhost, its lanes, who may do what there.
def border($site_limits; $nodes):
	crossing as $v
	| ($site_limits * .limits) as $limits
	| (if .closed then [] else web_users end) as $web
	| (if .closed then [] else [$nodes[] | app_users[]] end) as $app
	| [
		queue($v; "FORAPP.call"; classic),
		queue($v; "FORAPP.send"; ordered),
		queue($v; "FORAPP.dead"; quorum),
		queue($v; "FORWEB.reply"; classic),
		queue($v; "FORWEB.push"; quorum),
		queue($v; "FORWEB.dead"; quorum)
	] as $queues
	| {
		vhosts: [{name: $v}],
		exchanges: [exchange($v; "x.forapp"; "direct"), exchange($v; "x.forweb"; "direct")],
		queues: $queues,
		bindings: [
			binding($v; "x.forapp"; "call"; "FORAPP.call"),
			binding($v; "x.forapp"; "send"; "FORAPP.send"),
			binding($v; "x.forweb"; "reply"; "FORWEB.reply"),
			binding($v; "x.forweb"; "push"; "FORWEB.push")
		],
		policies: [
			policy($v; "FORAPP.call"; refuse),
			policy($v; "FORAPP.send"; dead_to("FORAPP.dead")),
			policy($v; "FORAPP.dead"; refuse),
			policy($v; "FORWEB.reply"; forget_oldest),
			policy($v; "FORWEB.push"; dead_to("FORWEB.dead")),
			policy($v; "FORWEB.dead"; refuse)
		],
		parameters: [
			bound($v; "FORAPP.call"; size($limits.call) + lifetime($limits.call.ttl_ms)),
			bound($v; "FORAPP.send"; size($limits.send) + deliveries($limits)),
			bound($v; "FORAPP.dead"; size($limits.dead)),
			bound($v; "FORWEB.reply"; size($limits.reply) + lifetime($limits.reply.ttl_ms)),
			bound($v; "FORWEB.push"; size($limits.push) + deliveries($limits)),
			bound($v; "FORWEB.dead"; size($limits.dead)),
			vhost_bound($v; $limits.connections * ($web + $app | length); $queues | length)
		],
		users: ($web | map(user(.; $limits.connections; $limits.channels))),
		permissions: (
			($web | map(permission(.; $v; "^x\\.forapp\\z"; "^FORWEB\\.(reply|push)\\z")))
			+ ($app | map(permission(.; $v; "^x\\.forweb\\z"; "^FORAPP\\.(call|send)\\z")))
		)
	};

# The vhost of the back end's own business.
def inner($limits; $nodes): "inner" as $v
	| (ladder | to_entries | map({queue: "_FORAPP.delay.\(.key)", key: "delay.\(.key)", ttl_ms: .value})) as $rungs
	| ($nodes | map("control.\(.name)")) as $controls
	| ([
		queue($v; "_FORAPP"; quorum),
		queue($v; "_FORAPP.dead"; quorum),
		queue($v; "_FORAPP.tick"; quorum),
		# quorum queues ignore "exclusive": two nodes would lead
		queue($v; "scheduler"; classic)
	] + ($rungs | map(queue($v; .queue; quorum)))
	  + ($controls | map(queue($v; .; quorum)))) as $queues
	| {
		vhosts: [{name: $v}],
		exchanges: [exchange($v; "x.self"; "direct"), exchange($v; "x.control"; "fanout")],
		queues: $queues,
		bindings: ([
			binding($v; "x.self"; "now"; "_FORAPP"),
			binding($v; "x.self"; "tick"; "_FORAPP.tick")
		] + ($rungs | map(binding($v; "x.self"; .key; .queue)))
		  + ($controls | map(binding($v; "x.control"; ""; .)))),
		policies: ([
			policy($v; "_FORAPP"; dead_to("_FORAPP.dead")),
			policy($v; "_FORAPP.dead"; refuse),
			policy($v; "_FORAPP.tick"; forget_oldest),
			policy($v; "scheduler"; refuse)
		] + ($rungs | map(policy($v; .queue; dead_to("_FORAPP"))))
		  + ($controls | map(policy($v; .; dead_to("_FORAPP.dead"))))),
		parameters: ([
			bound($v; "_FORAPP"; size($limits.task) + deliveries($limits)),
			bound($v; "_FORAPP.dead"; size($limits.dead)),
			bound($v; "_FORAPP.tick"; {"max-length": 1}),
			bound($v; "scheduler"; {"max-length": 0}),
			vhost_bound($v; $limits.connections * ([$nodes[] | app_users[]] | length); $queues | length)
		] + ($rungs | map(bound($v; .queue; size($limits.delay) + lifetime(.ttl_ms))))
		  + ($controls | map(bound($v; .; size($limits.control) + deliveries($limits))))),
		permissions: [$nodes[] | .name as $node | app_users[]
			| permission(.; $v; "^x\\.(self|control)\\z";
				"^(_FORAPP(\\.tick)?|scheduler|control\\.\($node | literal))\\z")]
	};

# A node is at every crossing and in the inner vhost, so its limits grow with the hosts.
def node_users($limits; $nodes; $hosts):
	{users: [$nodes[] | app_users[] | user(.;
		$limits.connections * (1 + ($hosts | length)); $limits.channels * (1 + ($hosts | length)))]};

def join_parts: reduce .[] as $part ({}; reduce ($part | keys_unsorted[]) as $k (.; .[$k] += $part[$k]));

# Whole ----------------------------------------------------------------------------------------------------------

(default_limits * (.limits // {})) as $limits
| ((.nodes // []) | parties("node")) as $nodes
| ((.hosts // []) | parties("host")) as $hosts
| (.parts // ["border", "inner"]) as $parts
| ($hosts | map(select($ARGS.named.only == null or .name == $ARGS.named.only))) as $asked
| if $ARGS.named.only != null and $asked == [] then error("no host \($ARGS.named.only)") else . end
| [
	(if $parts | index("border") then $asked[] | border($limits; $nodes) else empty end),
	(if $ARGS.named.only == null and $nodes != [] and ($parts | index("inner")) then inner($limits; $nodes) else empty end),
	node_users($limits; $nodes; $hosts)
] | join_parts
