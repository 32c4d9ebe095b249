# shellcheck shell=bash
# pki.sh - the site's certificate authority and the certificates it gives out; openssl and nothing else.
#
# Sourced after base.sh. A PKI folder holds ca.pem, ca.key and per identity NAME.pem, NAME.key. Keys are 0600 from
# their first byte, EC P-256, and never stand in an argument list. What exists is kept: all of it may run again.

readonly PKI_CURVE=P-256
readonly PKI_CA_DAYS=3650
: "${PKI_DAYS:=397}" # lifetime of a certificate; the generation in the name is what ends it early

# pki_make_key FILE
pki_make_key() {
	[[ -s $1 ]] && return
	(umask 077 && openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$PKI_CURVE" -out "$1.new" 2>/dev/null) &&
		mv -f "$1.new" "$1"
}

# pki_config NAME EXTENSIONS... - prints an openssl configuration for a certificate of this name.
pki_config() {
	local name=$1
	shift
	printf '[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = ext\nstring_mask = utf8only\n'
	printf '[dn]\nCN = %s\n[ext]\n' "$name"
	printf '%s\n' "$@"
}

# pki_serial - prints a random positive serial number of 127 bits.
pki_serial() {
	printf '0x4%s\n' "$(openssl rand -hex 16 | cut -c2-)"
}

# pki_init DIR SITE - makes the folder and the authority if they are missing. SITE: a short name, part of the
# authority's own.
pki_init() {
	local dir=$1 site=$2
	mkdir -p -- "$dir" && chmod 0700 -- "$dir" || return 1
	[[ -s $dir/ca.pem ]] && return
	pki_make_key "$dir/ca.key" || return 1
	openssl req -new -x509 -sha256 -days "$PKI_CA_DAYS" -key "$dir/ca.key" -set_serial "$(pki_serial)" \
		-config <(pki_config "Sallyport CA of $site" \
			'basicConstraints = critical, CA:TRUE, pathlen:0' \
			'keyUsage = critical, keyCertSign, cRLSign' \
			'subjectKeyIdentifier = hash') \
		-out "$dir/ca.pem.new" && mv -f "$dir/ca.pem.new" "$dir/ca.pem"
}

# pki_issue DIR NAME EXTENSIONS... - makes NAME.pem and NAME.key if they are missing.
pki_issue() {
	local dir=$1 name=$2
	shift 2
	[[ -s $dir/$name.pem ]] && return
	# 64 is what X.509 allows a common name
	[[ $name =~ ^[a-z0-9][a-z0-9.-]*$ ]] && ((${#name} <= 64)) || return 1
	pki_make_key "$dir/$name.key" || return 1
	openssl req -new -x509 -sha256 -days "$PKI_DAYS" -key "$dir/$name.key" -set_serial "$(pki_serial)" \
		-CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
		-config <(pki_config "$name" \
			'basicConstraints = critical, CA:FALSE' \
			'keyUsage = critical, digitalSignature' \
			'subjectKeyIdentifier = hash' \
			'authorityKeyIdentifier = keyid' \
			"$@") \
		-out "$dir/$name.pem.new" && mv -f "$dir/$name.pem.new" "$dir/$name.pem"
}

# pki_issue_client DIR NAME - for an identity (web.<host>.g<N>, app.<node>.g<N>): may log in, may not serve.
pki_issue_client() {
	pki_issue "$1" "$2" 'extendedKeyUsage = clientAuth'
}

# pki_issue_server DIR NAME ALTNAMES - for a broker: may serve under ALTNAMES ("IP:127.0.0.1,DNS:localhost"), may not log in.
pki_issue_server() {
	pki_issue "$1" "$2" 'extendedKeyUsage = serverAuth' "subjectAltName = $3"
}

# pki_make_seal FILE NAME - the sealing key of a crossing, if it is missing, as shared/message/keyring.h reads it.
pki_make_seal() {
	[[ -s $1 ]] && return
	local key
	key=$(openssl rand -hex 32) || return 1
	(umask 077 && printf 'sallyport-seal-key v1\n# %s\nkey present %s\n' "$2" "$key" >"$1.new") && mv -f "$1.new" "$1"
}
