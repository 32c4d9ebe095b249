#!/usr/bin/env bash
# checks-test - the checks of layers, banned functions and format pass a good tree and fail each
# bad one. Every case plants one violation in a small tree of its own.
set -euo pipefail

usage()
{
	echo "usage: tests/scripts/checks-test.sh layers|banned|format"
}

case ${1-} in
layers | banned | format) check=$1 ;;
-h | --help)
	usage
	exit 0
	;;
*)
	usage >&2
	exit 2
	;;
esac

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command=$top/scripts/check-$check
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0
count=0

# put PATH TEXT: one file of the tree
put()
{
	mkdir -p "$tree/$(dirname "$1")"
	printf '%b' "$2" >"$tree/$1"
}

# A tree in which all is well.
fresh()
{
	rm -rf "${tree:?}"/*
	cp "$top/.clang-format" "$tree/"
	put shared/base/err.h '#ifndef SALLYPORT_BASE_ERR_H\n#define SALLYPORT_BASE_ERR_H\n#endif\n'
	put shared/loop/loop.h '#include <uv.h>\n\n#include "base/err.h"\n'
	put shared/amqp/codec.c '#include <amqp.h>\n\n#include "message/message.h"\n'
	put webapp-agent/main.c '#include "agent.h"\n#include "amqp/connection.h"\n'
	put app-node/services/mail.c '#include "services/mail.h"\n#include "http/client.h"\n'
	put tests/unit/any.c '#include <amqp.h>\n#include <check.h>\n\n#include "app-node/node.h"\n'
}

expect()
{
	local wanted=$1 what=$2 status=0 said

	count=$((count + 1))
	said=$("$command" --root "$tree" 2>&1) || status=$?
	if [ "$status" != "$wanted" ]; then
		printf 'FAILED %s: exit status %s instead of %s\n%s\n' "$what" "$status" "$wanted" "$said"
		failed=$((failed + 1))
	elif [ "$wanted" = 1 ] && ! grep -qF "${3-:}" <<<"$said"; then
		printf 'FAILED %s: it does not say "%s" but\n%s\n' "$what" "${3-:}" "$said"
		failed=$((failed + 1))
	fi
}

# bad PATH TEXT SAID: the good tree with one bad file
bad()
{
	fresh
	put "$1" "$2"
	expect 1 "$1 with $2" "$3"
}

good()
{
	fresh
	put "$1" "$2"
	expect 0 "$1 with $2"
}

layers_cases()
{
	bad shared/base/x.c '#include "loop/loop.h"\n' 'shared/base/x.c:1: '
	bad shared/message/x.c '\n#include "amqp/codec.h"\n' 'shared/message/x.c:2: '
	bad shared/http/x.c '#include "contract/contract.h"\n' 'http may not know contract'
	bad shared/store/x.c '#include "loop/loop.h"\n' 'store may not know loop'
	bad shared/amqp/x.c '#include "store/outbox.h"\n' 'amqp may not know store'
	bad shared/daemon/x.h '#include "webapp-agent/agent.h"\n' 'daemon may not know webapp-agent'
	bad shared/loop/x.c '#include "../base/err.h"\n' 'without . and ..'
	bad shared/loop/x.c '  #  include "shared/base/err.h"\n' 'without the word shared'
	bad shared/loop/x.c '#include "loop.h"\n' 'with its layer'
	bad shared/loop/x.c '#include "lop/loop.h"\n' 'there is no layer lop'
	bad shared/loop/x.c '#include <base/err.h>\n' 'in quotes'
	bad shared/loop/x.c '#include OTHER_HEADER\n' 'cannot be checked'
	bad shared/newroom/x.c 'int x;\n' 'no line in the table'
	bad webapp-agent/x.c '#include "app-node/node.h"\n' 'webapp-agent may not know app-node'
	bad app-node/services/x.c '#include "webapp-agent/agent.h"\n' 'app-node may not know'
	bad webapp-agent/x.c '#include "../app-node/node.h"\n' 'without . and ..'
	bad shared/amqp/connection.c '#include <amqp.h>\n' 'belongs to shared/amqp/codec.c'
	bad shared/amqp/connection.c '#include <amqp_framing.h>\n' 'belongs to shared/amqp/codec.c'
	bad shared/amqp/connection.c '#include <rabbitmq-c/amqp.h>\n' 'belongs to shared/amqp/codec.c'
	bad shared/amqp/connection.c '#include <uv.h>\n' 'belongs to shared/loop/'
	bad shared/amqp/transport.c '#include <openssl/ssl.h>\n' 'belongs to shared/amqp/tls.c'
	bad shared/amqp/tls.c '#include <openssl/evp.h>\n' 'belongs to shared/message/'
	bad shared/contract/contract.c '#include <jansson.h>\n' 'belongs to tests/ only'
	bad shared/contract/json.c '#include <yaml.h>\n' 'belongs to shared/contract/yaml.c'
	bad app-node/node.c '#include "sqlite3.h"\n' 'belongs to shared/store/'
	bad app-node/node.c '#include <check.h>\n' 'belongs to tests/ only'
	bad shared/http/x.c '#ifdef AGENT\n#endif\n' '#if on AGENT'
	bad shared/http/x.c '#if defined(__GNUC__) && defined(WITH_NODE)\n#endif\n' '#if on WITH_NODE'
	bad shared/CMakeLists.txt 'target_compile_definitions(http PUBLIC AGENT)\n' 'what shared/ means'
	good shared/http/x.c '#if UV_VERSION_HEX < 0x012c00 || defined(__clang__)\n#endif\n'
	good shared/message/x.c '#include <openssl/evp.h>\n#include <string.h>\n'
	good shared/http/server.c '#include <uv.h>\n'
	good shared/CMakeLists.txt 'add_library(x)\n'
	good shared/CMakeLists.txt 'target_compile_definitions(x PUBLIC SALLYPORT_VERSION="1")\n'
}

banned_cases()
{
	local name

	for name in sprintf strcpy strcat strncpy strtok atoi atol gets system popen alloca rand \
		signal sleep usleep localtime gmtime exit abort; do
		bad shared/base/x.c "int x(void)\n{\n\treturn (int)$name (1);\n}\n" "x.c:3: $name is banned"
	done
	bad app-node/node.c '/* one */ exit(1); /* two */\n' 'exit is banned'
	bad app-node/node.c '/* a\n comment */ abort();\n' 'node.c:2: abort'
	bad app-node/node.c 'const char *a = "/*"; abort();\n' 'abort is banned'
	bad app-node/node.c "char a = '\"'; abort();\n" 'abort is banned'
	bad app-node/node.c 'const char *a = "\\\\"; abort();\n' 'abort is banned'
	bad tests/unit/x.c 'sleep(1);\n' 'sleep is banned'
	bad shared/base/other.c 'abort();\n' 'abort is banned'
	good webapp-agent/main.c 'exit(100);\n'
	good tests/unit/x.c 'abort();\n'
	good shared/base/bug.c 'abort();\n'
	good shared/base/x.c 'vsnprintf(a); strtok_r(b); on_signal(c); l->signal(d); gmtime_r(e);\n'
	good shared/base/x.c '/* exit() ends\n * abort() */ // system()\nconst char *a = "sleep(1)";\n'
}

format_cases()
{
	bad shared/base/x.c 'int  x;\n' 'x.c:1'
	bad tests/unit/x.c 'int f(void) { return 1; }\n' 'x.c:1'
	good shared/base/x.c 'int x;\n'
}

fresh
expect 0 "the good tree"
"${check}_cases"

status=0
"$command" --no-such-flag >/dev/null 2>&1 || status=$?
[ "$status" = 2 ] || {
	echo "FAILED an unknown flag: exit status $status instead of 2"
	failed=$((failed + 1))
}
count=$((count + 1))

echo "$((count - failed)) passed, $failed failed"
[ "$failed" = 0 ]
