# realm-lint.jq - every trap we know, asked of a live broker.
#
#   jq -n --slurpfile facts facts.json --slurpfile wanted definitions.json --slurpfile plan plan.json
#      --rawfile conf rabbitmq.conf --argjson broker BROKER --arg sha256 OF-DEFINITIONS --argjson live '[USER…]'
#      -f realm-lint.jq
#
# Prints {name, checks: [{name, asks}…], findings: [{check, wrong, right}…]}. A check without a finding passed. `wrong` says
# what is and where, `right` what would be right; "realm apply" mends what definitions can, a restart the rest.

$facts[0] as $facts | $facts.definitions as $is | $wanted[0] as $should
| ($conf | [splits("\n") | capture("^(?<key>[a-z0-9_.]+) = (?<value>.*)$")] | from_entries) as $conf

| def finding($wrong; $right): {$wrong, $right};

# version("3.10.8") - [3, 10, 8], comparable
def version: [splits("[^0-9]+") | select(. != "") | tonumber][:3];

def in_vhost: "\(.name) in \(.vhost)";

def users_of($definitions): [$definitions.users[].name];
def vhosts_of($definitions): [$definitions.vhosts[].name];
def tags_of: .tags // [] | if type == "string" then split(",") else . end | map(select(. != ""));

# A pattern as the broker takes it; one that it cannot read matches nothing.
def matches($pattern): . as $text | try ($text | test($pattern)) catch false;
def is_anchored: . == "" or (startswith("^") and (endswith("\\z") or endswith("$")) and (test("^\\^[^(]*\\|") | not));

# effective(DEFINITIONS) - what is in force for a queue: of each sort of policy the one of the highest priority
def strongest($queue): [.[] | select(."apply-to" | IN("queues", "all", "classic_queues", "quorum_queues"))
	| select(.pattern as $p | $queue | matches($p))] | max_by(.priority) | .definition // {};
def effective($definitions): . as $queue
	| ([$definitions.policies[]? | select(.vhost == $queue.vhost)] | strongest($queue.name))
	+ ([$definitions.parameters[]? | select(.vhost == $queue.vhost and .component == "operator_policy") | .value]
		| strongest($queue.name));

# force(KEYS) - what of these keys is not in force as it should be, on the queues that are there
def force($keys):
	$should.queues[] | . as $queue
	| ($is.queues[] | select(.vhost == $queue.vhost and .name == $queue.name)) as $there
	| ($queue | effective($should)) as $must | ($there | effective($is)) as $does
	| $keys[] | select($must[.] != $does[.])
	| finding("\(.) of \($queue | in_vhost) is \($does[.] // "not set" | tostring)"; $must[.] // "not set" | tostring);

# set(KEY; NAME-IN-CONF) - a setting of the running broker that is not as the configuration says
def set($key; $name): ($facts.settings[$key] // "unset") as $value
	| select($value != $conf[$name]) | finding("\($key) is \($value)"; $conf[$name]);

def doors: [$facts.listeners[] | select(.protocol != "clustering")];
def our_door: [doors[] | select(.protocol == "amqp/ssl" and .port == $broker.listen_port)];
def door($option; $must): our_door[] | .options[$option] as $value
	| select($value != $must) | finding("\($option) of the TLS door is \($value)"; $must);

def lost($kind; f): [$should[$kind][] | f] - [$is[$kind][] | f] | .[];
def strange($kind; f): [$is[$kind][] | f] - [$should[$kind][] | f] | .[];

# The traps: [name, what it asks, findings].
def checks:
	["version", "a broker on which all this was tried, or a later one",
		($facts.rabbitmq | select(version < [3, 10, 8]) | finding("RabbitMQ \(.)"; "3.10.8 or later"))],
	["features", "quorum queues and user limits are switched on",
		(("quorum_queue", "user_limits") | select(IN($facts.flags[]) | not)
			| finding("the feature flag \(.) is off"; "rabbitmqctl enable_feature_flag \(.)"))],
	["listeners", "one door, TLS, where the site says",
		((doors - our_door)[] | finding("listens for \(.protocol) on \(.address):\(.port)"; "no door but TLS on port \($broker.listen_port)")),
		(select(our_door | length == 0) | finding("no TLS door on port \($broker.listen_port)"; "one")),
		(our_door[] | select($broker.listen_address != "0.0.0.0" and .address != $broker.listen_address)
			| finding("the TLS door is on \(.address)"; $broker.listen_address))],
	["distribution", "Erlang's own door is on loopback",
		($facts.listeners[] | select(.protocol == "clustering" and (.address | startswith("127.") or . == "::1" | not))
			| finding("Erlang distribution listens on \(.address):\(.port)"; "127.0.0.1"))],
	["tls-version", "TLS 1.3 and nothing older", door("versions"; "['tlsv1.3']")],
	["tls-peer", "nobody without a certificate", door("verify"; "verify_peer"), door("fail_if_no_peer_cert"; "true")],
	["mechanisms", "EXTERNAL is the only way to log in",
		($facts.settings.auth_mechanisms | select(. != "['EXTERNAL']") | finding("auth_mechanisms are \(.)"; "['EXTERNAL']")),
		($facts.settings.anonymous_login_user | select(IN("unset", "none", "undefined") | not)
			| finding("whoever gives no name is \(.)"; "anonymous_login_user = none"))],
	["login-name", "the certificate's common name is the user", set("ssl_cert_login_from"; "ssl_cert_login_from")],
	["backends", "users are the broker's own, nobody else says who may come in",
		($facts.settings.auth_backends | select(. != "[rabbit_auth_backend_internal]")
			| finding("auth_backends are \(.)"; "[rabbit_auth_backend_internal]"))],
	["plugins", "login by certificate and no other plugin",
		($facts.plugins - ["rabbitmq_auth_mechanism_ssl"] | .[] | finding("the plugin \(.) runs"; "not enabled")),
		(select($facts.plugins | index("rabbitmq_auth_mechanism_ssl") | not) | finding("rabbitmq_auth_mechanism_ssl does not run"; "enabled"))],

	["guest", "the user guest does not exist", ($is.users[] | select(.name == "guest") | finding("there is a user guest"; "none"))],
	["users", "the users are the identities of the site",
		((users_of($is) - users_of($should) - ["guest"])[] | finding("there is a user \(.)"
			+ (if test("^(web|app)\\.") then ": a generation that is over, or a host that was thrown out" else "" end); "none")),
		((users_of($should) - users_of($is))[] | finding("the user \(.) is missing"; "there"))],
	["passwords", "nobody has a password", ($is.users[] | select(.password_hash // "" | . != "") | finding("\(.name) has a password"; "none"))],
	["tags", "nobody has a tag", ($is.users[] | select(tags_of != []) | finding("\(.name) is \(tags_of | join(", "))"; "no tag"))],
	["user-limits", "how many connections and channels each user may have",
		($should.users[] | . as $user | $is.users[] | select(.name == $user.name and .limits != $user.limits)
			| finding("the limits of \(.name) are \(.limits // {} | tojson)"; $user.limits | tojson))],

	["default-vhost", "the vhost / does not exist", (vhosts_of($is)[] | select(. == "/") | finding("there is a vhost /"; "none"))],
	["vhosts", "the vhosts are the crossings of the site and the inner one",
		((vhosts_of($is) - vhosts_of($should) - ["/"])[] | finding("there is a vhost \(.)"; "none")),
		((vhosts_of($should) - vhosts_of($is))[] | finding("the vhost \(.) is missing"; "there"))],
	["vhost-limits", "how many connections and queues each vhost may have",
		($should.parameters[] | select(.component == "vhost-limits") | . as $p
			| ([$is.parameters[] | select(.component == "vhost-limits" and .vhost == $p.vhost) | .value][0]) as $value
			| select(IN($p.vhost; vhosts_of($is)[]) and $value != $p.value)
			| finding("the limits of the vhost \($p.vhost) are \($value // "not set" | tojson)"; $p.value | tojson))],

	["configure", "nobody may declare or delete anything",
		($is.permissions[] | select(.configure != "^$") | finding("\(.user) may configure \(.configure) in \(.vhost)"; "^$"))],
	["anchors", "every pattern of a permission holds at both ends: the broker looks anywhere in a name",
		($is.permissions[] | . as $p | ("configure", "write", "read") | select($p[.] | is_anchored | not)
			| finding("\(.) of \($p.user) in \($p.vhost) is \($p[.])"; "^…\\z"))],
	# which the broker calls amq.default when it asks
	["default-exchange", "nobody may write to the default exchange: it leads into every queue",
		($is.permissions[] | .write as $w | select("amq.default" | matches($w)) | select($w != "") | finding("\(.user) may write to it in \(.vhost) (\($w))"; "no"))],
	["permissions", "who may do what, to the letter",
		([$is.permissions[] | {user, vhost, configure, write, read}] as $have
			| [$should.permissions[] | {user, vhost, configure, write, read}] as $must
			| (($have - $must)[] | . as $p
				| finding("\(.user) in \(.vhost): write \(.write), read \(.read)";
					[$must[] | select(.user == $p.user and .vhost == $p.vhost)][0]
					| if . then "write \(.write), read \(.read)" else "nothing" end)),
			  ($must[] | select(. as $p | $have | all(.user != $p.user or .vhost != $p.vhost))
				| finding("\(.user) may do nothing in \(.vhost)"; "write \(.write), read \(.read)")))],
	["topic-permissions", "there are none: CC and BCC go past them",
		($is.topic_permissions[]? | finding("\(.user) has one in \(.vhost)"; "none"))],

	["lanes", "the queues are the lanes of the site",
		(lost("queues"; in_vhost) | finding("\(.) is missing"; "there")),
		((([$facts.queues[] | in_vhost] + [$is.queues[] | in_vhost] | unique) - [$should.queues[] | in_vhost])[]
			| finding("there is a queue \(.)"; "none"))],
	["lane-types", "stored lanes are quorum queues: classic ones lost confirmed messages",
		($should.queues[] | . as $q | $is.queues[] | select(.vhost == $q.vhost and .name == $q.name)
			| (.arguments["x-queue-type"] // .type // "classic") as $type
			| select($type != $q.arguments["x-queue-type"]) | finding("\($q | in_vhost) is \($type)"; $q.arguments["x-queue-type"])),
		($should.queues[] | . as $q | $is.queues[] | select(.vhost == $q.vhost and .name == $q.name)
			| select(.durable != $q.durable or .auto_delete != $q.auto_delete)
			| finding("\($q | in_vhost): durable \(.durable), auto-delete \(.auto_delete)"; "durable, not auto-delete"))],
	["lane-order", "one consumer at a time where order is promised",
		($should.queues[] | . as $q | $is.queues[] | select(.vhost == $q.vhost and .name == $q.name)
			| (.arguments["x-single-active-consumer"] // false) as $single
			| select($single != ($q.arguments["x-single-active-consumer"] // false))
			| finding("single active consumer of \($q | in_vhost) is \($single)"; ($single | not) | tostring))],
	["lane-arguments", "a queue carries no argument of its own beside its kind",
		($should.queues[] | . as $q | $is.queues[] | select(.vhost == $q.vhost and .name == $q.name)
			| ((.arguments | keys) - ($q.arguments | keys))[] | finding("\($q | in_vhost) has \(.)"; "not set"))],
	["lane-sizes", "every lane has an end: a length and bytes, which do not count headers", force(["max-length", "max-length-bytes"])],
	["lane-overflow", "what is full refuses, or forgets the oldest where that is said", force(["overflow"])],
	["lane-lifetimes", "calls and replies do not outlive whoever waits", force(["message-ttl", "expires"])],
	["delivery-limits", "poison leaves its lane some day", force(["delivery-limit"])],
	["dead-letters", "and then is kept: at least once, in a lane of its own",
		force(["dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy"])],
	["exchanges", "the exchanges are those of the site",
		(lost("exchanges"; "\(in_vhost), \(.type)") | finding("\(.) is missing"; "there")),
		(strange("exchanges"; "\(in_vhost), \(.type)") | finding("there is an exchange \(.)"; "none"))],
	["bindings", "every key leads where it should and nowhere else",
		def arrow: "\(.source) -\(.routing_key)-> \(.destination) (\(.destination_type)) in \(.vhost)";
		(lost("bindings"; arrow) | finding("\(.) is missing"; "there")),
		(strange("bindings"; arrow) | finding("there is a binding \(.)"; "none"))],
	["shared-names", "no queue has the name of an exchange: permissions do not tell them apart",
		([$is.exchanges[] | in_vhost] as $exchanges | $is.queues[] | in_vhost | select(IN($exchanges[])) | finding("both are called \(.)"; "different names"))],
	["policies", "no other policy bends a lane",
		(strange("policies"; in_vhost) | finding("there is a policy \(.)"; "none")),
		([$is.parameters[] | select(.component == "operator_policy") | in_vhost] - [$should.parameters[] | select(.component == "operator_policy") | in_vhost]
			| .[] | finding("there is an operator policy \(.)"; "none"))],
	["parameters", "nothing moves messages behind our back: no shovel, no federation",
		($is.parameters[] | select(.component | IN("operator_policy", "vhost-limits") | not) | finding("there is a \(.component) \(in_vhost)"; "none")),
		($is.global_parameters[]? | select(.name | IN("internal_cluster_id", "cluster_name", "cluster_tags", "sallyport_realm") | not) | finding("there is a global parameter \(.name)"; "none"))],

	["message-size", "no message above it", set("max_message_size"; "max_message_size")],
	["frame-max", "it also bounds how deep a header can nest", set("frame_max"; "frame_max")],
	["channel-max", "channels of one connection", set("channel_max"; "channel_max")],
	["connection-max", "connections in all", set("connection_max"; "connection_max")],
	["heartbeat", "a dead peer is noticed", set("heartbeat"; "heartbeat")],
	["handshakes", "who opens a connection and says nothing is cut",
		set("handshake_timeout"; "handshake_timeout"), set("ssl_handshake_timeout"; "ssl_handshake_timeout")],
	["consumer-timeout", "above the longest window of retries, and not for ever", set("consumer_timeout"; "consumer_timeout")],
	["stuck-peers", "a peer that takes nothing is cut",
		door("keepalive"; $conf["tcp_listen_options.keepalive"]),
		door("send_timeout"; $conf["tcp_listen_options.send_timeout"]),
		door("send_timeout_close"; $conf["tcp_listen_options.send_timeout_close"])],
	["memory", "the broker stops before the machine does",
		($facts.memory_limit_bytes | select(. != $broker.memory_bytes) | finding("the memory limit is \(.) bytes"; "\($broker.memory_bytes)"))],
	["disk", "and before the disk is full",
		($facts.disk_limit_bytes | select(. != $broker.disk_bytes) | finding("the free disk limit is \(.) bytes"; "\($broker.disk_bytes)"))],
	["tracing", "nobody gets a copy of what passes", ($facts.settings.trace_vhosts | select(. != "[]") | finding("traced vhosts are \(.)"; "[]"))],
	["connection-log", "who opens and closes connections cannot fill the log",
		($facts.connection_log | select(. != $conf["log.connection.level"]) | finding("log.connection.level is \(.)"; $conf["log.connection.level"]))],
	["definitions-file", "a restart brings back this state and no older one: the file is loaded at every boot",
		($facts.definitions_file | select(.path == "") | finding("load_definitions is not set"; "set")),
		($facts.definitions_file | select(.path != "" and .sha256 != $sha256)
			| finding("\(.path) is not what the site says (sha256 \(if .sha256 == "" then "none: it cannot be read" else .sha256 end))"; $sha256))],
	["strangers", "whoever is connected is somebody of the site",
		([$facts.connections[].user] | unique - $live | .[] | finding("\(.) is connected"; "no such user"))],
	["alarms", "no alarm is on", ($facts.alarms[] | finding("alarm \(.)"; "none"))],
	["difference", "nothing else differs from the site", ($plan[0].changes[] | finding("\(.act) \(.kind) \(.name)\(if .vhost then " in \(.vhost)" else "" end)"; "no difference (realm plan)"))];

# Each name once, though a check is written as a stream.
[checks | {name: .[0], asks: .[1], findings: .[2:]}]
| {name: $broker.name, checks: map({name, asks}), findings: [.[] | .name as $check | .findings[] | {check: $check} + .]}
