# realm-plan.jq - the difference between what a broker should be and what it is, and how to get from one to the other.
#
#   jq -nc --slurpfile wanted definitions.json --slurpfile live facts.json --slurpfile model realm.json
#      --rawfile files changed --argjson discard '["VHOST" or "VHOST/QUEUE"…]' --argjson prune BOOL -f realm-plan.jq
#
# Prints {changes: [{act, kind, name, vhost?, detail?}…], kept: [what is foreign and stays], change: {delete, import,
# close}}: `change` is what realm-change.erl takes. `files` names those that differ, a line each. Vhosts that were ours once
# go when nothing is in them, those of `discard` whatever is. A vhost that nobody of ours made stays, unless prune. `live`
# is empty when nobody can tell what is there: then everything is imported, and who may not be there is deleted whether he
# is or not.

include "realm-model";

def fields: {
	vhost: "vhosts", user: "users", permission: "permissions", topic_permission: "topic_permissions",
	exchange: "exchanges", queue: "queues", binding: "bindings", policy: "policies", parameter: "parameters",
	global_parameter: "global_parameters"
};

# What makes it this one, and no other.
def identity($kind):
	if $kind | IN("vhost", "user", "global_parameter") then [.name]
	elif $kind == "permission" then [.user, .vhost]
	elif $kind == "topic_permission" then [.user, .vhost, .exchange]
	elif $kind == "binding" then [.vhost, .source, .routing_key, .destination, .destination_type, (.arguments | tojson)]
	elif $kind == "parameter" then [.vhost, .component, .name]
	else [.vhost, .name] end;

# What about it may differ.
def value($kind):
	if $kind == "user" then {
		password: (.password_hash // ""),
		tags: (.tags // [] | if type == "string" then split(",") else . end | map(select(. != "")) | sort),
		limits: (.limits // {})}
	elif $kind == "permission" then {configure, write, read}
	elif $kind == "topic_permission" then {write, read}
	elif $kind == "exchange" then {type, durable, auto_delete, internal: (.internal // false), arguments}
	elif $kind == "queue" then {durable, auto_delete, arguments}
	elif $kind == "policy" then {pattern, "apply-to", priority, definition}
	elif $kind | IN("parameter", "global_parameter") then {value}
	else {} end;

# What a broker sets for itself.
def is_own: .kind == "global_parameter" and (.item.name | IN("internal_cluster_id", "cluster_name", "cluster_tags"));

# index - every item under a key of its own
def index: . as $all
	| [fields | to_entries[] | .key as $kind | .value as $field | ($all[$field] // [])[]
		| {kind: $kind, field: $field, item: ., value: value($kind)}
		| select(is_own | not)
		| {key: "\(.kind) \(.item | identity($kind) | tojson)", value: .}]
	| from_entries;

def said: {
	kind,
	name: (if .kind == "permission" or .kind == "topic_permission" then .item.user
		elif .kind == "binding" then "\(.item.source) -\(.item.routing_key)-> \(.item.destination)"
		elif .kind == "parameter" then "\(.item.component) \(.item.name)"
		else .item.name end),
	vhost: .item.vhost
} | del(.vhost | nulls);

# differences(WAS; IS) - "path: old -> new"
def differences($was; $is):
	[$was, $is | paths(type != "object")] | unique | map(select(. as $p | ($was | getpath($p)) != ($is | getpath($p)))
		| select(all(.[]; type == "string"))
		| "\(join(".")): \(. as $p | $was | getpath($p) | tojson) -> \(. as $p | $is | getpath($p) | tojson)") | join(", ");

def deletion: .item as $i
	| if .kind == "user" or .kind == "global_parameter" then {kind, name: $i.name}
	  elif .kind == "vhost" then {kind, name: $i.name, force: ($prune or IN($i.name; $discard[]))}
	  elif .kind == "queue" then {kind, vhost: $i.vhost, name: $i.name, force: IN("\($i.vhost)/\($i.name)"; $discard[])}
	  elif .kind == "permission" or .kind == "topic_permission" then {kind, user: $i.user, vhost: $i.vhost}
	  elif .kind == "binding" then {kind, vhost: $i.vhost, source: $i.source, key: $i.routing_key,
		destination: $i.destination, destination_type: $i.destination_type, plain: ($i.arguments == {})}
	  elif .kind == "parameter" then {kind, vhost: $i.vhost, component: $i.component, name: $i.name}
	  else {kind, vhost: $i.vhost, name: $i.name} end;

def order: {user: 0, permission: 1, topic_permission: 2, policy: 3, parameter: 4, global_parameter: 5, binding: 6, exchange: 7, queue: 8, vhost: 9}[.kind];

def lowered($was; $is):
	any($is.limits | to_entries[]; .value < ($was.limits[.key] // infinite));

($wanted[0] // {}) as $wanted_all
| ($model[0] | former_vhosts) as $ours
| ($model[0] | retired) as $retired
| ($live[0].definitions // null) as $live_all
| ($wanted_all | index) as $want
| (($live_all // {}) | index) as $have
| [$wanted_all.vhosts[]?.name] as $vhosts
| ([$have[] | select(.kind == "vhost") | .item.name] - $vhosts) as $foreign
| [$foreign[] | select($prune or IN($ours[]))] as $doomed
| ($foreign - $doomed) as $kept
| [$have | to_entries[] | select($want[.key] == null) | .value
	# what goes with something else needs no step of its own; what lies in somebody else's vhost is not ours to touch,
	# but who may get at it is
	| select(.kind != "vhost" or IN(.item.name; $doomed[]))
	| select(.item.vhost == null or (IN(.item.vhost; $doomed[]) | not))
	| select(.item.vhost == null or .kind == "permission" or IN(.item.vhost; $vhosts[]))
	| select((.kind | IN("permission", "topic_permission") | not) or $want["user \([.item.user] | tojson)"] != null)] as $gone
| [$want | to_entries[] | select($have[.key] == null) | .value] as $new
| [$want | to_entries[] | select($have[.key] != null and $have[.key].value != .value.value)
	| {was: $have[.key], is: .value}] as $changed
| [$changed[] | select(.is.kind | IN("queue", "exchange")) | .was] as $replaced
| ([$replaced[] | "\(.kind) \(.item.vhost) \(.item.name)"]) as $replaced_names
# what is made anew loses its bindings
| [$want[] | select(.kind == "binding") | select(
	("exchange \(.item.vhost) \(.item.source)", "queue \(.item.vhost) \(.item.destination)") | IN($replaced_names[]))] as $rebound
| ($new + [$changed[].is] + $rebound | unique) as $additions
| ([$gone[], $replaced[]] | sort_by(order) | map(deletion)) as $delete
| {
	changes: ([$files | splits("\n") | select(. != "") | {act: "write", kind: "file", name: .}]
		+ [$gone[] | {act: "delete"} + said]
		+ [$new[] | {act: "add"} + said]
		+ [$changed[] | {act: (if .is.kind | IN("queue", "exchange") then "replace" else "change" end)}
			+ (.is | said) + {detail: differences(.was.value; .is.value)}]),
	kept: [$kept[] | {kind: "vhost", name: .}],
	change: {
		delete: (if $live_all == null then [$retired[] | {kind: "user", name: .}] + [$ours[] | {kind: "vhost", name: ., force: IN($discard[])}]
			else $delete end),
		import: (if $additions == [] then null else $additions | group_by(.field) | map({key: .[0].field, value: map(.item)}) | from_entries end),
		close: ([$changed[] | select(.is.kind == "permission") | .is.item | {user, vhost}]
			+ [$gone[] | select(.kind == "permission" or .kind == "topic_permission") | .item | {user, vhost}]
			+ [$changed[] | select(.is.kind == "user")
				| select(.was.value.password != .is.value.password or .was.value.tags != .is.value.tags
					or ((.is.item.name | startswith("web.")) and lowered(.was.value; .is.value)))
				| {user: .is.item.name, vhost: null}]
			| unique)
	}
}
