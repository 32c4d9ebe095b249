# shellcheck shell=bash
# realm-verify.sh - what sallyport-probe needs to try a border: certificates that must not get in, and the plan.
#
# Sourced after base.sh and pki.sh. Uses: openssl. Never: a broker. What is made here is for the probe alone and goes
# when it has run.

# No host can ever be called so: who shows this name has no user, and never will.
readonly VERIFY_UNKNOWN=web.-.g1

# verify_key_and_request DIR FILE NAME - a key, and a request for a certificate of that name.
verify_key_and_request() {
	pki_make_key "$1/$2.key" &&
		openssl req -new -key "$1/$2.key" -config <(pki_config "$3") -out "$1/$2.csr"
}

# verify_self_signed DIR NAME - self-signed.pem and .key
verify_self_signed() {
	pki_make_key "$1/self-signed.key" &&
		openssl req -new -x509 -sha256 -days 1 -key "$1/self-signed.key" -set_serial "$(pki_serial)" \
			-config <(pki_config "$2" 'basicConstraints = critical, CA:FALSE' 'extendedKeyUsage = clientAuth') \
			-out "$1/self-signed.pem"
}

# verify_stranger DIR NAME - stranger.pem and .key, by an authority made for it
verify_stranger() {
	pki_init "$1/strangers" stranger && pki_issue_client "$1/strangers" "$2" || return 1
	mv -f "$1/strangers/$2.pem" "$1/stranger.pem"
	mv -f "$1/strangers/$2.key" "$1/stranger.key"
	rm -rf -- "$1/strangers"
}

# verify_expired PKI DIR NAME - expired.pem and .key, by the site's own authority, ended long ago. Only "openssl ca" lets
# one say from when to when.
verify_expired() {
	local work=$2/expired.ca
	mkdir -p -- "$work/new" && : >"$work/index" && verify_key_and_request "$2" expired "$3" || return 1
	cat >"$work/config" <<-CONFIG
		[ca]
		default_ca = site
		[site]
		database = $work/index
		new_certs_dir = $work/new
		default_md = sha256
		policy = policy
		rand_serial = yes
		unique_subject = no
		[policy]
		commonName = supplied
		[ext]
		basicConstraints = critical, CA:FALSE
		keyUsage = critical, digitalSignature
		extendedKeyUsage = clientAuth
	CONFIG
	openssl ca -batch -notext -config "$work/config" -extensions ext -cert "$1/ca.pem" -keyfile "$1/ca.key" \
		-startdate 20200101000000Z -enddate 20200102000000Z -in "$2/expired.csr" -out "$2/expired.pem" 2>"$work/said" ||
		{
			cat "$work/said" >&2
			return 1
		}
	rm -rf -- "$work" "$2/expired.csr"
}

# verify_unknown PKI DIR - unknown.pem and .key, by the site's own authority, of a name that has no user
verify_unknown() {
	pki_make_key "$2/unknown.key" &&
		openssl req -new -x509 -sha256 -days 1 -key "$2/unknown.key" -set_serial "$(pki_serial)" \
			-CA "$1/ca.pem" -CAkey "$1/ca.key" \
			-config <(pki_config "$VERIFY_UNKNOWN" 'basicConstraints = critical, CA:FALSE' \
				'keyUsage = critical, digitalSignature' 'extendedKeyUsage = clientAuth') -out "$2/unknown.pem"
}

# verify_badges PKI DIR NAME - all of them in DIR, for the identity NAME. PKI: the folder of the authority.
verify_badges() {
	mkdir -p -- "$2" && chmod 0700 -- "$2" &&
		verify_self_signed "$2" "$3" && verify_stranger "$2" "$3" && verify_expired "$1" "$2" "$3" &&
		verify_unknown "$1" "$2"
}

# verify_badge ROLE PATH - prints the plan's lines for a certificate PATH.pem with its key PATH.key
verify_badge() {
	printf '%s.certificate = %s.pem\n%s.key = %s.key\n' "$1" "$2" "$1" "$2"
}

# verify_plan ADDRESS PKI DIR WEB NODE [OTHER] [PREVIOUS] - prints the plan: the broker's HOST:PORT, the authority's folder,
# that of verify_badges, and identities; empty: there is none.
verify_plan() {
	local address=$1 pki=$2 badges=$3 role
	printf 'broker = %s\nca = %s/ca.pem\n' "$address" "$pki"
	verify_badge web "$pki/$4"
	verify_badge node "$pki/$5"
	[[ -z ${6:-} ]] || verify_badge other "$pki/$6"
	[[ -z ${7:-} ]] || verify_badge previous "$pki/$7"
	for role in self-signed stranger expired unknown; do
		verify_badge "${role//-/_}" "$badges/$role"
	done
}

# For the realm ---------------------------------------------------------------------------------------------------
# From here on realm-state.sh and border.sh are sourced too, and the model is loaded.

# verify_settings HOST BROKER_JSON - prints the plan's lines that follow from the site: limits, vhosts, inner.
verify_settings() {
	# shellcheck disable=SC2016 # jq's variables
	ask 'include "limits"; (default_limits * .site.limits * (.site.hosts[$host].limits // {})) as $limits
		| [active_hosts[] | select(. != $host) | "border.\(.)"] as $others
		| "limit.connections = \($limits.connections)", "limit.channels = \($limits.channels)",
		  "inner = \(if $broker.parts | index("inner") then "yes" else "no" end)",
		  (if $others == [] then empty else "vhosts = \($others[:100] | join(", "))" end)' \
		-r -L "$BORDER_CONFIG" --arg host "$1" --argjson broker "$2"
}

# verify_retired HOST - prints the newest identity of HOST that was given out and may not come in again, if there is one.
verify_retired() {
	local name
	# shellcheck disable=SC2016
	while read -r name; do
		if [[ -s $pki/$name.pem && -s $pki/$name.key ]]; then
			printf '%s\n' "$name"
			return
		fi
	done < <(ask 'retired | map(select(startswith("web.\($host).g"))) | reverse[]' -r --arg host "$1")
}

# verify_host HOST BROKER_JSON FOLDER - tries the border of HOST at a broker; what was seen is in FOLDER/HOST.json.
# Returns what sallyport-probe did: 0 closed, 1 not, 2 called wrongly, 111 not reached.
verify_host() {
	local host=$1 broker=$2 folder=$3 node other web status=0
	# shellcheck disable=SC2016
	{
		web=$(ask 'newest($host)' -r --arg host "$host")
		node=$(ask 'first(.nodes | to_entries[] | select(.value.status == "active") | .key) as $n | newest($n)' -r)
		other=$(ask '. as $model | [active_hosts[] | select(. != $host)][0] // empty | . as $n | $model | newest($n)' -r \
			--arg host "$host")
	}
	if [[ -z $node ]]; then
		say "$host: no app node yet, whose certificate could be tried too"
		return 2
	fi
	(umask 077 && mkdir -p -- "$folder") && verify_badges "$pki" "$folder/$host" "$web" || return 1
	{
		verify_plan "$(jq -r .at <<<"$broker")" "$pki" "$folder/$host" "$web" "$node" "$other" "$(verify_retired "$host")"
		verify_settings "$host" "$broker"
		if [[ -s $pki/broker.$(jq -r .name <<<"$broker").pem ]]; then
			verify_badge server "$pki/broker.$(jq -r .name <<<"$broker")"
		fi
	} | write_file 0600 "$folder/$host.conf" || return 1
	"$(find_program sallyport-probe)" run --json --plan "$folder/$host.conf" >"$folder/$host.json" || status=$?
	rm -rf -- "${folder:?}/$host" "$folder/$host.conf"
	return "$status"
}

# verify_seen HOST BROKER FILE STATUS WHY - prints what was seen of one host at one broker. Nothing there, or what is no
# JSON: nothing is proven, and that is a no.
verify_seen() {
	local seen='{}'
	[[ ! -s $3 ]] || seen=$(jq -c . "$3" 2>/dev/null) || seen='{}'
	# shellcheck disable=SC2016
	jq -c --arg host "$1" --arg broker "$2" --argjson status "$4" --arg why "$5" --arg now "$(date +%s)" '
		{$host, $broker, at_seconds: ($now | tonumber), closed: ($status == 0), tried: (.tried // 0),
		 succeeded: (.succeeded // 0), tolerated: (.tolerated // 0), unproven: (.unproven // 1), left_out: (.left_out // []),
		 acts: [(.acts // [])[] | {$host, $broker} + .]}
		+ (if has("acts") then {} else {why: (if $why == "" then "the probe ended with \($status)" else $why end)} end)' <<<"$seen"
}

# verify_sum - from lines of verify_seen the whole answer.
verify_sum() {
	jq -s '{tried: (map(.tried) | add // 0), succeeded: (map(.succeeded) | add // 0), tolerated: (map(.tolerated) | add // 0),
		unproven: (map(.unproven) | add // 0), closed: (length > 0 and all(.[]; .closed)),
		hosts: map(del(.acts)), acts: (map(.acts) | add // [])}'
}

# verify_tell FILE - the answer for people: what is not as it should be, and a sum for each host.
verify_tell() {
	# shellcheck disable=SC2016
	jq -r '.acts as $acts | .hosts[] | . as $h
		| ($acts[] | select(.host == $h.host and .broker == $h.broker and (.ok | not))
			| "\(if .succeeded then "SUCCEEDED" else "UNPROVEN " end)  \(.broker): \(.host): as \(.as): \(.name): expected \(.expected), observed \(.observed)"),
		  (if .why then "UNPROVEN   \(.broker): \(.host): \(.why)" else
			"\(if .closed then "ok     " else "NOT OK " end) \(.broker): \(.host): \(.tried) forbidden acts tried, \(.succeeded) succeeded, \(.unproven) unproven; \(.tolerated) tolerated\(if .left_out == [] then "" else "; not tried: \(.left_out | join(", "))" end)"
		   end)' "$1"
}

# verify_metrics FILE - the answer as Prometheus reads it from a text file.
verify_metrics() {
	# shellcheck disable=SC2016
	jq -r '.hosts as $hosts
		| ["tried", "forbidden acts tried at the border with the real credentials"],
		  ["succeeded", "forbidden acts that were done all the same"],
		  ["unproven", "acts whose answer proves nothing"],
		  ["tolerated", "acts that no broker forbids, each with its guard"],
		  ["closed", "1: nothing succeeded and all is proven"],
		  ["at_seconds", "when it was tried, Unix time"]
		| .[0] as $name | "# HELP sallyport_verify_\($name) \(.[1])", "# TYPE sallyport_verify_\($name) gauge",
		  ($hosts[] | "sallyport_verify_\($name){broker=\"\(.broker)\",host=\"\(.host)\"} \(.[$name] | if . == true then 1 elif . == false then 0 else . end)")' "$1"
}
