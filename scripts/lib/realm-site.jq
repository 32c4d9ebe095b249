# realm-site.jq - what a site file may say, and what it then means.
#
#   sallyport-yaml site.yaml | jq -L scripts/lib --arg base /folder/of/the/file --slurpfile model realm.json -f realm-site.jq
#
# Prints {"site": …} with every value in its unit and every default filled in, or {"mistakes": [{line, column, key,
# text}…]}: all of them at once, also what the model of the state folder (realm-model.jq) speaks against. The table below
# is the only list of what exists.

include "realm-model";

def KiB: . * 1024;
def MiB: . * 1048576;
def GiB: . * 1073741824;

# Kinds of values. `needs`: fields that must be there.
def name: {is: "text", pattern: "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\\z", what: "1 to 40 of a-z, 0-9 and - (not at either end)"};
def place: {is: "text", pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:[1-9][0-9]{0,4}\\z", port: true,
	what: "HOST:PORT, like border1.example.net:5671"};
def door: {is: "text", pattern: "^[0-9]{1,3}(\\.[0-9]{1,3}){3}:[1-9][0-9]{0,4}\\z", port: true, what: "ADDRESS:PORT, like 0.0.0.0:5671"};
def altname: {is: "text", pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\\z", what: "a name or an address"};
def reach: {is: "text", pattern: "^(local(:[^\\n]+)?|ssh:[A-Za-z0-9][A-Za-z0-9@._-]*|dir:[^\\n]+)\\z",
	what: "local, local:DIR (of scripts/broker), ssh:HOST or dir:PATH"};
def folder: {is: "text", pattern: "^/[A-Za-z0-9._/-]+\\z", what: "an absolute path of plain characters"};
def file: {is: "text", pattern: "^[^\\n]+\\z", what: "a path"};
def word($of): {is: "word", $of};
def count($min; $max): {is: "count", $min, $max};
def size($min; $max): {is: "size", $min, $max};
def duration($min_ms; $max_ms): {is: "duration", min: $min_ms, max: $max_ms};
def struct($fields; $needs): {is: "struct", $fields, $needs};
def named($of): {is: "map", $of};
def several($of): {is: "list", $of};

def lane: {length: count(1; 100000000), bytes: size(64 | KiB; 1024 | GiB)};
def quick_lane: lane + {ttl: duration(1000; 600000)};
def crossing_limits: {
	call: struct(quick_lane; []), reply: struct(quick_lane; []),
	send: struct(lane; []), push: struct(lane; []), dead: struct(lane; []),
	connections: count(2; 100), channels: count(2; 1000)
};
def site_limits: crossing_limits + {
	task: struct(lane; []), delay: struct(lane; []), control: struct(lane; []),
	deliveries: count(10; 1000000)
};
def broker: {
	at: place,
	listen: door,
	names: several(altname),
	holds: word(["border", "inner", "both"]),
	reach: reach,
	folder: folder,
	# idle it uses 130 MB; and after a flood Erlang gives its memory back late, which would be an alarm without end
	memory: size(256 | MiB; 4096 | GiB),
	disk: size(16 | MiB; 65536 | GiB)
};
def site_file: struct({
	site: name,
	brokers: named(struct(broker; ["at"])),
	hosts: named(struct({limits: struct(crossing_limits; [])}; [])),
	nodes: named(struct({}; [])),
	limits: struct(site_limits; []),
	contract: file,
	certificates: struct({lifetime: duration(86400000; 315360000000), renew: duration(3600000; 31536000000)}; [])
}; ["site", "brokers"]);

# Values ---------------------------------------------------------------------------------------------------------

def number_or_null: if type == "number" then . elif type == "string" and test("^[0-9]{1,15}\\z") then tonumber else null end;

def size_or_null:
	if type == "string" and test("^[0-9]{1,9}(KiB|MiB|GiB)\\z") then
		(.[:-3] | tonumber) * ({KiB: 1024, MiB: 1048576, GiB: 1073741824}[.[-3:]])
	else number_or_null end;

def duration_or_null:
	if type == "string" and test("^[0-9]{1,9}(ms|s|m|h|d)\\z") then
		capture("^(?<n>[0-9]+)(?<unit>[a-z]+)\\z")
		| (.n | tonumber) * ({ms: 1, s: 1000, m: 60000, h: 3600000, d: 86400000}[.unit])
	else null end;

def size_text:
	if . % 1073741824 == 0 then "\(. / 1073741824)GiB" elif . % 1048576 == 0 then "\(. / 1048576)MiB"
	elif . % 1024 == 0 then "\(. / 1024)KiB" else tostring end;
def duration_text:
	if . % 86400000 == 0 then "\(. / 86400000)d" elif . % 3600000 == 0 then "\(. / 3600000)h"
	elif . % 1000 == 0 then "\(. / 1000)s" else "\(.)ms" end;

def step($path): if $path == "" then . else "\($path).\(.)" end;

def in_range($kind; $path; f; show):
	f as $n
	| if $n == null or $n < $kind.min or $n > $kind.max then
		{key: $path, text: "\(tojson): must be \({count: "a whole number", size: "a size like 64MiB", duration: "a duration like 30s"}[$kind.is]) from \($kind.min | show) to \($kind.max | show)"}
	  else empty end;

# mistakes(KIND; PATH) - of the value, as a stream
def mistakes($kind; $path):
	if $kind.is == "struct" or $kind.is == "map" then
		(if . == null then {} else . end) as $map
		| if ($map | type) != "object" then {key: $path, text: "\($map | tojson): must be a map"}
		  elif $kind.is == "map" then
			$map | to_entries[] | (.key | step($path)) as $here
			| (.key | mistakes(name; $here)), (.value | mistakes($kind.of; $here))
		  else
			(($kind.needs - ($map | keys))[] | {key: $path, text: "\(.) is missing"}),
			($map | to_entries[] | (.key | step($path)) as $here | .key as $key
				| if $kind.fields | has($key) then .value | mistakes($kind.fields[$key]; $here)
				  else {key: $here, text: "nothing is called so here; there \(if $kind.fields == {} then "is nothing" else "are \($kind.fields | keys_unsorted | join(", "))" end)"} end)
		  end
	elif $kind.is == "list" then
		if type != "array" then {key: $path, text: "\(tojson): must be a list"}
		else to_entries[] | "\($path)[\(.key)]" as $here | .value | mistakes($kind.of; $here) end
	elif $kind.is == "text" then
		(if type == "number" then tostring else . end)
		| if type != "string" or (test($kind.pattern) | not) then {key: $path, text: "\(tojson): must be \($kind.what)"}
		  elif $kind.port and (split(":")[-1] | tonumber) > 65535 then {key: $path, text: "\(tojson): there is no port above 65535"}
		  else empty end
	elif $kind.is == "word" then
		if IN($kind.of[]) then empty else {key: $path, text: "\(tojson): must be one of \($kind.of | join(", "))"} end
	elif $kind.is == "count" then in_range($kind; $path; number_or_null; tostring)
	elif $kind.is == "size" then in_range($kind; $path; size_or_null; size_text)
	else in_range($kind; $path; duration_or_null; duration_text) end;

def default_lifetime: "397d";
def default_renew: "30d";

# What each value may be, and together may not.
def contradictions:
	. as $site
	| (select(.brokers | length == 0) | {key: "brokers", text: "at least one broker is needed"}),
	  (("border", "inner") as $part
		| select([.brokers[] | .holds // "both" | select(IN($part, "both"))] == [])
		| {key: "brokers", text: "none holds the \($part) vhost\(if $part == "border" then "s" else "" end)"}),
	  (.brokers | to_entries | group_by(.value.at)[] | select(length > 1)
		| {key: "brokers.\(.[-1].key).at", text: "\(.[0].value.at) is \(.[0].key) already"}),
	  ((.nodes // {} | keys_unsorted[]) | select(. as $n | $site.hosts // {} | has($n))
		| {key: "nodes.\(.)", text: "there is a host of this name"}),
	  ((.nodes // {}, .hosts // {}) | keys_unsorted[] | select(. == "inner")
		| {key: (if $site.hosts // {} | has("inner") then "hosts.inner" else "nodes.inner" end), text: "inner is the name of the app realm's own vhost"}),
	  (.certificates // {} | (.lifetime // default_lifetime) as $lifetime | (.renew // default_renew) as $renew
		| select(($renew | duration_or_null) >= ($lifetime | duration_or_null))
		| {key: "certificates.\(if .renew then "renew" else "lifetime" end)", text: "renew (\($renew)) must be shorter than lifetime (\($lifetime))"});

# What the state folder is, and this file would make something else of. A name is of one realm for ever.
def conflicts($model):
	(select($model.site != null and $model.site.site != .site)
		| {key: "site", text: "\(.site | tojson): the state folder is of the site \($model.site.site)"}),
	  (("hosts", "nodes") as $kind | .[$kind] // {} | keys_unsorted[] | . as $name
		| ($model | kind_of($name)) as $known | select($known != null and $known != $kind)
		| {key: "\($kind).\(.)", text: "in the state folder there is a \($known[:-1]) of this name (\($model | party($name).status))"});

# Meaning --------------------------------------------------------------------------------------------------------

def lane_limits:
	with_entries(if .key == "ttl" then {key: "ttl_ms", value: (.value | duration_or_null)}
		elif .key == "bytes" then .value |= size_or_null
		else .value |= number_or_null end);
def limits: (. // {}) | map_values(if type == "object" then lane_limits elif . == null then {} else number_or_null end);

def path_from($base): if startswith("/") then . else "\($base)/\(.)" end;
def reach_from($base):
	(. // "local") | if test("^(local|dir):") then capture("^(?<how>[a-z]+):(?<where>.*)\\z") | "\(.how):\(.where | path_from($base))" else . end;

def meaning($base): {
	site,
	brokers: [.brokers | to_entries[] | .key as $name | .value | (.at | split(":")) as $at
		| ((.listen // "0.0.0.0:\($at[1])") | split(":")) as $door | {
		name: $name, at, address: $at[0], port: ($at[1] | tonumber),
		listen_address: $door[0], listen_port: ($door[1] | tonumber),
		names: (.names // []),
		parts: ({border: ["border"], inner: ["inner"], both: ["border", "inner"]}[.holds // "both"]),
		reach: (.reach | reach_from($base)),
		folder: (.folder // "/etc/rabbitmq"),
		memory_bytes: ((.memory // "1GiB") | size_or_null),
		disk_bytes: ((.disk // "1GiB") | size_or_null)
	}],
	hosts: (.hosts // {} | map_values({limits: ((. // {}).limits | limits)})),
	nodes: (.nodes // {} | map_values({})),
	limits: (.limits | limits),
	contract: (if .contract then .contract | path_from($base) else null end),
	lifetime_days: ((.certificates.lifetime // default_lifetime) | duration_or_null / 86400000 | floor),
	renew_ms: ((.certificates.renew // default_renew) | duration_or_null)
};

# place_of(PATH) - where this stands, or what it stands in
def place_of($at; $path):
	if $at[$path] then $at[$path]
	elif $path | test("[.\\[]") then place_of($at; $path | sub("(\\.[^.\\[]*|\\[[0-9]+\\])\\z"; ""))
	else [1, 1] end;

.at as $at
| .value
| [mistakes(site_file; "")] as $wrong
| (if $wrong == [] then [contradictions, conflicts($model[0])] else $wrong end) as $wrong
| if $wrong == [] then {site: meaning($base)}
  else {mistakes: ($wrong | unique | map(place_of($at; .key) as $p | {line: $p[0], column: $p[1]} + .) | sort_by(.line, .column))} end
