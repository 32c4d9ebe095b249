%% realm-cut.erl - ends connections of a broker: a fun that realm-change.erl and realm-watch.erl contain.
%%
%% Takes the pids of readers and what their clients are told; returns when they are gone, and says of how many force was
%% needed. Politely first; after a moment by force: one that is stuck in a write hears nothing, and one whose client does
%% not answer would keep what it holds for half a minute. Whoever is killed says no goodbye to the broker's own books
%% either: without the last word here it would count against its user's limit for ever.
fun(Pids, Why) ->
	Names = maps:from_list([{element(6, T), element(5, T)} || T <- rabbit_connection_tracking:list()]),
	Watched = [{erlang:monitor(process, Pid), Pid,
		spawn(fun() -> rabbit_networking:close_connection(Pid, Why) end)} || Pid <- Pids],
	Late = erlang:monotonic_time(millisecond) + 300,
	Forced = [begin
		Gone = receive {'DOWN', Ref, process, _, _} -> true
		after max(0, Late - erlang:monotonic_time(millisecond)) -> false end,
		Gone orelse begin
			exit(Pid, kill),
			receive {'DOWN', Ref, process, _, _} -> ok after 1000 -> ok end,
			rpc:call(node(Pid), rabbit_core_metrics, connection_closed, [Pid]),
			rpc:call(node(Pid), rabbit_event, notify, [connection_closed,
				[{name, maps:get(Pid, Names, <<>>)}, {pid, Pid}, {node, node(Pid)}, {client_properties, []}]])
		end,
		exit(Helper, kill),
		Gone
	end || {Ref, Pid, Helper} <- Watched],
	length([no || false <- Forced])
end
