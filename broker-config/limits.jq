# limits.jq - how much of everything the border holds.
#
# A description of a site (see definitions.jq) overrides single values in its "limits". What is full refuses the next
# message (the publisher hears of it) unless the line says that the oldest goes. A length is set beside every size:
# the broker does not count headers as bytes.

def MiB: . * 1024 * 1024;
def seconds: . * 1000;
def minutes: . * 60000;
def hours: . * 3600000;

def default_limits: {
	# calls and replies: nobody waits longer for an answer than this, so neither does the broker
	call:    {ttl_ms: (60 | seconds), length: 20000, bytes: (64 | MiB)},
	reply:   {ttl_ms: (60 | seconds), length: 20000, bytes: (64 | MiB)},  # the oldest goes

	# stored lanes
	send:    {length: 200000, bytes: (512 | MiB)},
	push:    {length: 200000, bytes: (512 | MiB)},
	task:    {length: 200000, bytes: (512 | MiB)},
	delay:   {length: 200000, bytes: (512 | MiB)},  # each rung
	dead:    {length: 100000, bytes: (256 | MiB)},  # full: what should come stays in its lane
	control: {length: 10000,  bytes: (16 | MiB)},   # one node's; it reads at once or is down

	# deliveries of one message before it leaves a stored lane for the dead one; a node parks poison long before
	deliveries: 1000,

	# A daemon holds two connections (one publishes, one consumes) of a channel each to a crossing. Double that,
	# because the broker may take two heartbeats to see that the old pair is gone.
	connections: 4,
	channels: 8
};

# The delay ladder: how long each rung keeps a task.
def ladder: {
	"1s":  (1 | seconds),
	"5s":  (5 | seconds),
	"30s": (30 | seconds),
	"5m":  (5 | minutes),
	"1h":  (1 | hours)
};
