# realm-model.jq - what the state folder remembers of a realm, and each way it may change.
#
#   jq -L scripts/lib 'include "realm-model"; add("hosts"; "web1")' realm.json
#
# The model: {format, site_file, site: (what realm-site.jq made of it), hosts: PARTIES, nodes: PARTIES, seals: {NAME:
# {last, present, accepted}}}. A party: {status: "active" | "revoked" | "removed", last: generation, live: [generations
# that may log in], revoked: the last that was thrown out, if one was}. Numbers only grow: a generation or a key is given out once, whatever became of it, because the broker
# lets in whoever has a certificate of the authority with the name of a user.

def realms: {hosts: "web", nodes: "app"};

def empty_model($site_file): {format: 1, site_file: $site_file, site: null, hosts: {}, nodes: {}, seals: {}};

# kind_of(NAME) - "hosts", "nodes" or null
def kind_of($name): if .hosts[$name] then "hosts" elif .nodes[$name] then "nodes" else null end;
def party($name): .hosts[$name] // .nodes[$name];

def new_seal($name): .seals[$name] |= ((.last // 0) + 1) as $n | {last: $n, present: $n, accepted: null};

def next_generation($kind; $name): .[$kind][$name] |= (((.last // 0) + 1) as $n | . + {last: $n, live: ((.live // []) + [$n])});

# A host that comes back has nothing of what it had: whoever took it may have copied that.
def add($kind; $name):
	if .[$kind][$name].status == "active" then .
	else
		.[$kind][$name] |= {status: "active", last: (.last // 0), live: [], from_site: (.from_site // false)}
			+ (if .revoked then {revoked} elif .status == "revoked" then {revoked: .last} else {} end)
		| next_generation($kind; $name)
		| if $kind == "hosts" then new_seal($name) else . end
	end;

# What the site file names and nobody has heard of is there from now on.
def adopt:
	reduce (("hosts", "nodes") as $kind | (.site[$kind] // {} | keys_unsorted[]) as $name
		| select(.[$kind][$name] == null) | [$kind, $name]) as $new (.; add($new[0]; $new[1]) | .[$new[0]][$new[1]].from_site = true)
	| if .seals.inner then . else new_seal("inner") end;

# take_site(FILE; SITE) - what the site file says from now on. A broker that it no longer names is kept as one of the site,
# with `dropped`, until somebody says that it is off: who is thrown out has to be thrown out there too. The same broker
# under another name is no other one.
def take_site($file; $new):
	.site_file = $file
	| [(.site.brokers // [])[] | select(. as $old | any($new.brokers[]; .name == $old.name
		or (.reach == $old.reach and .folder == $old.folder)) | not) | . + {dropped: true}] as $dropped
	| .site = $new | .site.brokers += $dropped | adopt;

def rotate($name): next_generation(kind_of($name); $name);
def retire($name): .[kind_of($name)][$name].live |= [max];
def revoke($name): .[kind_of($name)][$name] |= (.status = "revoked" | .live = [] | .revoked = .last);
def remove($name): .[kind_of($name)][$name] |= (.status = "removed" | .live = []);

# The next of three steps: all accept the new key; all seal with it; nobody knows the old one.
def rotate_seal($name): .seals[$name] |=
	if .accepted == null then .last += 1 | .accepted = .last
	elif .accepted > .present then {last, present: .accepted, accepted: .present}
	else .accepted = null end;

def identities_of($kind): .[$kind] | to_entries[] | .key as $name | .value.live[] | "\(realms[$kind]).\($name).g\(.)";
def identities: [("hosts", "nodes") as $kind | identities_of($kind)];
def newest($name): kind_of($name) as $kind | "\(realms[$kind]).\($name).g\(.[$kind][$name].live | max)";

def active_hosts: [.hosts | to_entries[] | select(.value.status == "active") | .key];
def active: active_hosts + [.nodes | to_entries[] | select(.value.status == "active") | .key];

# Of each host that was ever thrown out the newest identity: nothing that it or one before it made is believed. As many as
# a node's configuration takes, those that are still there first.
def revoked: [.hosts | to_entries[]
	| (.value.revoked // (if .value.status == "revoked" then .value.last else null end)) as $n | select($n)
	| {gone: (.value.status == "removed"), id: "\(realms.hosts).\(.key).g\($n)"}] | sort_by(.gone) | map(.id) | .[:500];

# Who had a certificate once and may not come in again.
def retired: [("hosts", "nodes") as $kind | .[$kind] | to_entries[] | .key as $name | .value
	| (range(1; .last + 1)) as $n | select(.live | index($n) | not) | "\(realms[$kind]).\($name).g\($n)"];

# Vhosts that were ours; and "/", which a broker makes when nobody tells it otherwise.
def former_vhosts: ["/"] + [.hosts | to_entries[] | select(.value.status == "removed") | "border.\(.key)"];

# What each broker remembers of the realm, in a global parameter, so that a state folder that was restored from an older copy is
# known as such: "REALM.NAME=LAST,FLOOR,REVOKED,STATUS …". LAST is the newest generation that was given out, FLOOR the lowest
# that may log in, or will: both only grow. None of it is secret.
def floor_of: if .live == [] then .last + 1 else (.live | min) end;
def memory: [("hosts", "nodes") as $kind | .[$kind] | to_entries[] | .key as $name | .value
	| "\(realms[$kind]).\($name)=\(.last),\(floor_of),\(.revoked // 0),\(.status)"] | sort | join(" ");
# seen - what stands in such texts, the most of it where brokers differ
def seen: [.[] | scan("(web|app)\\.([a-z0-9-]+)=([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9}),(active|revoked|removed)")
		| {kind: {web: "hosts", app: "nodes"}[.[0]], name: .[1], last: (.[2] | tonumber), floor: (.[3] | tonumber),
			revoked: (.[4] | tonumber), status: .[5]}]
	| group_by([.kind, .name]) | map((map(.revoked) | max) as $revoked | max_by([.last, .floor]) + {$revoked});
# ahead(TEXTS) - of whom brokers remember more than the model
def ahead($texts): . as $m | [$texts | seen[] | . as $e | $m[$e.kind][$e.name] as $p
	| select($p == null or $e.last > $p.last or $e.floor > ($p | floor_of))];
# overtake(TEXTS) - nothing that was given out is given out again, nobody who was thrown out comes back; who is there still gets
# a generation and a sealing key that never were.
def overtake($texts): reduce ahead($texts)[] as $e (.;
	.[$e.kind][$e.name] |= ((. // {from_site: false}) as $p
		| $p + {status: $e.status, last: ([$p.last // 0, $e.last] | max), live: []}
		+ (([$p.revoked // 0, $e.revoked] | max) as $r | if $r > 0 then {revoked: $r} else {} end))
	| if $e.status != "active" then . else next_generation($e.kind; $e.name)
		| if $e.kind == "hosts" then new_seal($e.name) else . end end);

# description(PARTS) - for broker-config/definitions.jq
def description($parts):
	.site.hosts as $said
	| {hosts: [.hosts | to_entries[] | select(.value.status != "removed") | {
		name: .key, generations: .value.live, closed: (.value.status == "revoked"), limits: ($said[.key].limits // {})}],
	nodes: [.nodes | to_entries[] | select(.value.status == "active") | {name: .key, generations: .value.live}],
	limits: .site.limits, parts: $parts};

# What a person should know though nothing is wrong.
def notes:
	(.site.brokers[] | select(.dropped) | "the broker \(.name) is no longer in the site file; it stays until: realm remove \(.name)"),
	(("hosts", "nodes") as $kind | .site[$kind] as $said | .[$kind] | to_entries[] | .key as $name
		| if .value.status == "active" and .value.from_site and ($said | has($name) | not) then
			"\($name) is no longer in the site file; it stays until: realm remove \($name)"
		  elif .value.status != "active" and ($said | has($name)) then
			"\($name) stands in the site file, but was \(.value.status); it stays so until: realm add-\(realms[$kind]) \($name)"
		  else empty end);
