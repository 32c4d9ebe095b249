# shellcheck shell=bash
# shellcheck disable=SC2016 # jq's variables stand in single quotes
# realm-state.sh - what operations keep: the model of the realm, the authority, certificates, sealing keys, bundles.
#
# Sourced after base.sh and pki.sh. Uses: jq, openssl, flock. Never: a broker.
#
# The folder (0700, files 0600):
#   realm.json            the model (realm-model.jq); written in one step, before anything is done that follows from it
#   pki/                  the authority, certificates and keys of every generation (pki.sh)
#   revoked.NAME          somebody was thrown out, and the model has not been told yet
#   untold.NAME           the app nodes have not been told of it yet
#   site.yaml, contract.yaml  in a folder that came from a backup: for when those of the site are not on this machine
#   seal/NAME.N           sealing key N of a host, or of inner: 64 hexadecimal digits
#   bundles/IDENTITY/     what one host needs, ready to be carried there
# Whatever stands in the model and has no file yet gets it from state_complete, so a run that was interrupted anywhere is
# continued by the next.

: "${here:?}" "${lib:?}" "${workshop=}"

# state_open DIR - names the places. Nothing is read yet.
state_open() {
	state=$1
	pki=$state/pki
	model=
	honoured=()
}

state_exists() {
	[[ -s $state/realm.json ]]
}

# state_make - the folder, if it is missing.
state_make() {
	mkdir -p -- "$state" && chmod 0700 -- "$state" && mkdir -p -- "$pki" "$state/seal" "$state/bundles" &&
		chmod 0700 -- "$pki" "$state/seal" "$state/bundles"
}

# state_lock - one run at a time; waits for another one to end, not for ever.
state_lock() {
	local left
	exec {lock}>"$state/.lock" || die "cannot write in $state"
	flock -w 60 "$lock" || die "another run has been busy with $state for a minute"
	# what a run left that was killed while it wrote
	rm -rf -- "$state"/realm.json.?????? "$pki"/*.new "$pki"/*.names.?????? "$state"/seal/*.*.?????? \
		"$state"/bundles/.*.new
	for left in "$state"/.work.*; do
		kill -0 "${left##*.}" 2>/dev/null || rm -rf -- "$left"
	done
}

state_load() {
	state_exists || die "no realm in $state (realm init SITE makes one)"
	model=$(<"$state/realm.json")
	[[ $model == '{"format":1,'* ]] || die "$state/realm.json is not of this version"
	find_contract
	local mark
	honoured=()
	for mark in "$state"/revoked.*; do
		[[ -e $mark ]] || continue
		change_model 'if party($name).status == "active" then revoke($name) else . end' --arg name "${mark##*/revoked.}"
		honoured+=("$mark")
	done
}

# find_contract - a folder that came from a backup has a copy, for a machine where the site's is not
find_contract() {
	local contract
	contract=$(ask '.site.contract // empty' -r)
	[[ -z $contract || -r $contract || ! -r $state/contract.yaml ]] ||
		change_model '.site.contract = $file' --arg file "$state/contract.yaml"
}

# state_mark MARK - so that every later run knows, whatever happens to this one. Needs no lock.
state_mark() {
	{ : >"$state/$1" && sync -- "$state"; } || die "cannot write in $state"
}

# state_save - the model, on disk for good: a generation that was given out is not given out again after a power cut.
state_save() {
	if [[ ! -e $state/realm.json || $(<"$state/realm.json") != "$model" ]]; then
		write_file 0600 "$state/realm.json" <<<"$model" || die "cannot write $state/realm.json"
		sync -- "$state/realm.json" "$state" || die "cannot sync $state"
	fi
	((${#honoured[@]} == 0)) || rm -f -- "${honoured[@]}"
	honoured=()
}

# ask FILTER ARGS... - prints what jq finds in the model; realm-model.jq is included.
ask() {
	local filter=$1
	shift
	jq -L "$lib" "$@" 'include "realm-model"; '"$filter" <<<"$model"
}

# change_model FILTER ARGS... - in memory.
change_model() {
	model=$(ask "$@" -c) || die 'cannot change the model'
}

# party NAME - prints host or node and its status; fails when nobody was ever called so.
party() {
	ask 'kind_of($name) as $kind | if $kind == null then halt_error(1) else "\($kind) \(party($name).status)" end' \
		-r --arg name "$1" 2>/dev/null
}

# read_site FILE - the site file's meaning into the model. Mistakes are printed, all of them, and end the run with 2.
read_site() {
	local file=$1 program read answer contract
	[[ -r $file ]] || usage_error "cannot read the site file $file"
	program=$(find_program sallyport-yaml) || exit
	read=$("$program" "$file") || exit "$EXIT_USAGE"
	answer=$(jq -c -L "$lib" --arg base "$(dirname -- "$file")" --slurpfile model <(printf '%s' "$model") \
		-f "$lib/realm-site.jq" <<<"$read") || die "cannot judge $file"
	if ! jq -e 'has("site")' <<<"$answer" >/dev/null; then
		jq -r --arg file "$file" '.mistakes[] | "\($file):\(.line):\(.column): \(.key): \(.text)"' <<<"$answer" >&2
		exit "$EXIT_USAGE"
	fi
	contract=$(jq -r '.site.contract // empty' <<<"$answer")
	if [[ -n $contract && ! (-f $contract && -r $contract) && ! -r $state/contract.yaml ]]; then
		say "$file:$(jq -r '.at.contract | "\(.[0]):\(.[1])"' <<<"$read"): contract: cannot read $contract"
		exit "$EXIT_USAGE"
	fi
	change_model 'take_site($file; $answer[0].site)' --arg file "$file" \
		--slurpfile answer <(printf '%s' "$answer")
	find_contract
}

# find_program NAME - prints where one of our programs is.
find_program() {
	local place
	for place in "${SALLYPORT_BIN:-}" "$here" "$(dirname "$here")/build/release/bin" "$(dirname "$here")/bin"; do
		if [[ -n $place && -x $place/$1 && ! -d $place/$1 ]]; then
			printf '%s\n' "$place/$1"
			return
		fi
	done
	die "no $1 (build it, or say where it is: SALLYPORT_BIN)"
}

# Certificates and keys ------------------------------------------------------------------------------------------

# make_broker_certificate NAME NAMES
make_broker_certificate() {
	local file=$pki/broker.$1
	# another address, another certificate
	[[ -s $file.names && $(<"$file.names") == "$2" ]] || rm -f -- "$file.pem"
	[[ -s $file.pem ]] || { pki_issue_server "$pki" "broker.$1" "$2" && write_file 0600 "$file.names" <<<"$2"; } ||
		die "cannot make the certificate of broker.$1"
}

# make_seal_key NAME N
make_seal_key() {
	[[ -s $state/seal/$1.$2 ]] || openssl rand -hex 32 | write_file 0600 "$state/seal/$1.$2" ||
		die "cannot make a sealing key for $1"
}

# state_complete - makes every certificate and key that the model speaks of and the folder does not have, and lets go of
# sealing keys that are over.
state_complete() {
	local what first second
	while read -r what first second; do
		case $what in
		authority)
			# shellcheck disable=SC2034 # pki.sh's
			PKI_DAYS=$second
			pki_init "$pki" "$first" || die "cannot make the authority in $pki"
			;;
		broker) make_broker_certificate "$first" "$second" ;;
		identity) pki_issue_client "$pki" "$first" || die "cannot make the certificate of $first" ;;
		seal) make_seal_key "$first" "$second" ;;
		over) [[ ! -e $state/seal/$first.$second ]] || rm -f -- "$state/seal/$first.$second" ;;
		esac
	done < <(ask '"authority \(.site.site) \(.site.lifetime_days)",
		(.site.brokers[] | "broker \(.name) \([.address, .names[]] | unique
			| map(if test("^[0-9.]+$") then "IP:\(.)" else "DNS:\(.)" end) | join(","))"),
		(identities[] | "identity \(.)"),
		(.seals | to_entries[] | .key as $name | .value | (.present, .accepted // empty) as $n | "seal \($name) \($n)"),
		(.seals | to_entries[] | .key as $name | .value | (range(1; .last + 1)) as $n
			| select($n != .present and $n != .accepted) | "over \($name) \($n)")' -r)
}

# days_left FILE - prints the whole days until the certificate ends.
days_left() {
	local end
	end=$(openssl x509 -in "$1" -noout -enddate) && end=$(date -u -d "${end#*=}" +%s) || return 1
	printf '%s\n' $(((end - $(date -u +%s)) / 86400))
}

# expiries - prints "NAME DAYS" for every certificate in use, the authority's own included.
expiries() {
	local name
	while read -r name; do
		printf '%s %s\n' "$name" "$(days_left "$pki/$name.pem")"
	done < <(echo ca && ask '(.site.brokers[] | "broker.\(.name)"), identities[]' -r)
}

# Bundles --------------------------------------------------------------------------------------------------------

# make_bundle KIND NAME IDENTITY BROKERS INNER CROSSINGS REVOKED CONTRACT SEALS - writes a bundle, whole or not at all. SEALS
# is the folder with the key files of everybody; - is nothing.
make_bundle() {
	local kind=$1 name=$2 identity=$3 brokers=$4 inner=$5 crossings=$6 revoked=$7 contract=$8 seals=$9 common
	local new=$state/bundles/.$identity.new
	rm -rf -- "$new"
	{ mkdir -- "$new" && cp -- "$pki/ca.pem" "$pki/$identity.pem" "$pki/$identity.key" "$new"; } || die "cannot write $new"
	[[ $contract == - ]] || cp -- "$contract" "$new/contract.yaml" || die "cannot read the contract $contract"
	common="border.brokers = $brokers
tls.ca = ca.pem
tls.certificate = $identity.pem
tls.key = $identity.key
contract = contract.yaml"
	if [[ $kind == hosts ]]; then
		printf 'host = %s\n%s\nseal.key = seal.key\napi.socket = /run/sallyport/agent.sock\n' "$name" "$common" \
			>"$new/webapp-agent.conf"
		cp -- "$seals/$name.seal" "$new/seal.key"
	else
		{
			printf 'node = %s\n%s\n' "$name" "$common"
			[[ $crossings == - ]] || printf 'crossings = %s\n' "$crossings"
			[[ $revoked == - ]] || printf 'crossings.revoked = %s\n' "$revoked"
			[[ $inner == "$brokers" ]] || printf 'inner.brokers = %s\n' "$inner"
			printf 'seal.keys = seal\nseal.inner = seal/inner.seal\napi.socket = /run/sallyport/node.sock\n'
			printf 'handlers = http+unix:///run/sallyport/handlers.sock\n'
		} >"$new/app-node.conf"
		cp -r -- "$seals" "$new/seal"
	fi
	if diff -rq -- "$new" "$state/bundles/$identity" >/dev/null 2>&1; then
		rm -rf -- "$new"
	else
		{ rm -rf -- "$state/bundles/$identity" && mv -- "$new" "$state/bundles/$identity"; } ||
			die "cannot write $state/bundles"
	fi
}

# make_seal_file FOLDER NAME PRESENT ACCEPTED - the key file as the daemons read it (shared/message/keyring.h).
make_seal_file() {
	printf 'sallyport-seal-key v1\n# %s\nkey present %s\n' "$2" "$(<"$state/seal/$2.$3")" >"$1/$2.seal"
	[[ $4 == - ]] || printf 'key accepted %s\n' "$(<"$state/seal/$2.$4")" >>"$1/$2.seal"
}

# state_bundles - the bundles of everybody who is there, of the newest generation, and none of anybody else.
state_bundles() {
	local seals=$workshop/.seals folder keep=' ' kind name identity brokers inner crossings revoked contract
	local present accepted
	rm -rf -- "$seals"
	mkdir -- "$seals"
	while read -r name present accepted; do
		make_seal_file "$seals" "$name" "$present" "$accepted"
	done < <(ask '(active_hosts[], "inner") as $n | .seals[$n] | "\($n) \(.present) \(.accepted // "-")"' -r)
	while IFS=$'\t' read -r kind name identity brokers inner crossings revoked contract; do
		make_bundle "$kind" "$name" "$identity" "$brokers" "$inner" "$crossings" "$revoked" "$contract" "$seals"
		keep+="$identity "
	done < <(ask '. as $model | active[] as $name | [kind_of($name), $name, newest($name),
		(("border", "inner") as $part | [.site.brokers[] | select(.parts | index($part)) | .at]
			| reduce .[] as $at ([]; if index($at) then . else . + [$at] end) | join(", ")),
		(active_hosts | join(", ")), (revoked | join(", ")),
		.site.contract // "-"] | map(if . == "" then "-" else . end) | join("\t")' -r)
	for folder in "$state"/bundles/*/; do
		folder=${folder%/}
		[[ ! -d $folder || $keep == *" ${folder##*/} "* ]] || rm -rf -- "$folder"
	done
}
