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
