# shellcheck shell=bash
# border.sh - from the description of a site to the files a broker of the border boots with.
#
# Sourced after base.sh. Uses: jq, broker-config/. Never: a running broker, keys. The same functions serve the private
# broker of development and the provisioning of real ones.

BORDER_CONFIG=$(absolute "${BASH_SOURCE[0]%/*}/../../broker-config")
readonly BORDER_CONFIG

# border_definitions SITE_JSON [HOST] - prints the definitions: of the whole site, or what HOST adds to it.
border_definitions() {
	local only=()
	[[ $# -lt 2 ]] || only=(--arg only "$2")
	jq -L "$BORDER_CONFIG" -f "$BORDER_CONFIG/definitions.jq" "${only[@]}" -- "$1"
}

# border_conf KEY=VALUE... - prints rabbitmq.conf with @KEY@ replaced. Fails when one is left over.
border_conf() {
	local text pair
	text=$(<"$BORDER_CONFIG/rabbitmq.conf.in")
	for pair; do
		text=${text//"@${pair%%=*}@"/"${pair#*=}"}
	done
	if [[ $text =~ @[A-Z_]+@ ]]; then
		say "rabbitmq.conf.in: nobody gave ${BASH_REMATCH[0]}"
		return 1
	fi
	printf '%s\n' "$text"
}
