%% realm-watch.erl - a watchman within the broker: one expression for "rabbitmqctl eval", which runs for as long as whoever
%% asked stays, and tells him what happens, a line for each event. When he goes, it goes, and leaves nothing behind.
%%
%% It looks every half a second, every two when looking takes long, at what web hosts make the broker hold for them: the
%% processes that read from their connections, where the pieces of an unfinished message pile up, and their channels. A
%% host that holds more than @BOUND@ bytes loses its connections, all of them; while the memory alarm is on, more than
%% @ALARM_BOUND@ bytes is too much. Before that is said of anybody his processes have thrown away what they need no more.
%% Others than web hosts are never touched. Two more things nobody else ends: a connection that asked for no heartbeats
%% and has said nothing for @SILENCE_MS@ ms, and the memory of one whose process is gone.
%%
%% And a host that is busier than @PACE@ messages a second for a second (0: as busy as it likes) is read from in turns, so
%% that it is no busier: who reads from its connections is suspended meanwhile, some milliseconds each time. Nobody is
%% refused anything, TCP makes the client wait, and what goes to the client goes on. Busy is what readers and channels
%% compute, whatever it is that they are told to do; a message is @MESSAGE_REDUCTIONS@ reductions. Not by the broker's own
%% way of blocking publishers: its word for that would tell an honest agent of an alarm, many times a second.
begin
	Pace = @PACE@ * @MESSAGE_REDUCTIONS@,
	PaceTickMs = 1, PaceLookMs = 100, PaceLookMaxMs = 1000, PaceOwedMs = 10000,
	Bound = @BOUND@, AlarmBound = @ALARM_BOUND@, SilenceMs = @SILENCE_MS@,
	TickMs = 500, TickMaxMs = 2000, AliveMs = 5000, LookMs = 10000, UnexplainedMs = 5000, LinesMax = 500,
	Began = erlang:monotonic_time(millisecond),
	Now = fun() -> erlang:monotonic_time(millisecond) - Began end,
	Cut =
@CUT@,
	%% Lines go through a process of their own: if nobody takes them, they are lost, and the watch goes on.
	Caller = group_leader(),
	CallerRef = erlang:monitor(process, Caller),
	Printer = spawn_link(fun() ->
		(fun Print() -> receive {line, Line} -> ok = io:put_chars(Caller, Line) end, Print() end)()
	end),
	Value = fun(V) when is_binary(V) -> re:replace(V, "[^A-Za-z0-9_.:-]", "?", [global, {return, binary}]);
		(V) when is_integer(V) -> integer_to_binary(V);
		(V) when is_atom(V) -> atom_to_binary(V, utf8) end,
	Say = fun(Event, Fields) ->
		Line = ["event=", atom_to_binary(Event, utf8), [[" ", atom_to_binary(K, utf8), "=", Value(V)] || {K, V} <- Fields], "\n"],
		case process_info(Printer, message_queue_len) of
			{_, Waiting} when Waiting < LinesMax -> Printer ! {line, Line};
			_ -> lost
		end end,
	%% One at a time: who comes later is who is listened to.
	case whereis(sallyport_watch) of
		undefined -> ok;
		Before ->
			BeforeRef = erlang:monitor(process, Before),
			Before ! {replaced, self()},
			receive {'DOWN', BeforeRef, process, _, _} -> ok
			after 5000 -> exit(Before, kill), receive {'DOWN', BeforeRef, process, _, _} -> ok end end
	end,
	register(sallyport_watch, self()),

	Host = fun(User) -> case binary:split(User, <<".">>, [global]) of
		[<<"web">>, Name, <<"g", _/binary>>] -> Name;
		_ -> none end end,
	%% what a process keeps, binaries that others keep too included; several may be in one piece
	Held = fun(Pid) -> case process_info(Pid, memory) of
		{memory, Own} when Own > Bound -> Own;
		{memory, Own} -> case process_info(Pid, binary) of
			{binary, []} -> Own;
			{binary, Binaries} ->
				{_, Sizes, _} = lists:unzip3(lists:usort(Binaries)),
				Own + lists:sum(Sizes);
			undefined -> 0 end;
		undefined -> 0 end end,
	%% how much a connection ever said; asked of a process that may be stuck
	Said = fun(Pid) ->
		{Asker, Ref} = spawn_monitor(fun() ->
			exit({said, proplists:get_value(recv_oct, rabbit_networking:connection_info(Pid, [recv_oct]))}) end),
		receive
			{'DOWN', Ref, process, _, {said, N}} -> N;
			{'DOWN', Ref, process, _, _} -> unknown
		after 200 -> exit(Asker, kill), receive {'DOWN', Ref, process, _, _} -> unknown end end end,
	MemoryAlarm = fun(Alarms) -> lists:member({memory, node()}, Alarms) end,

	%% One look. Silent: of connections without heartbeats, what they had said and since when that is so. Dead: those that
	%% were gone, and counted, at the look before.
	Look = fun(Alarms, Silent, Dead) ->
		Here = [T || T <- rabbit_connection_tracking:list(), is_pid(element(6, T)), node(element(6, T)) =:= node()],
		Channels = lists:foldl(fun(T, Map) ->
			maps:update_with(element(8, T), fun(Pids) -> [element(6, T) | Pids] end, [element(6, T)], Map) end,
			#{}, [T || T <- rabbit_channel_tracking:list(), is_pid(element(6, T)), node(element(6, T)) =:= node()]),
		ByUser = lists:foldl(fun(T, Map) ->
			Pid = element(6, T),
			maps:update_with(element(11, T), fun(Conns) -> [[Pid | maps:get(Pid, Channels, [])] | Conns] end,
				[[Pid | maps:get(Pid, Channels, [])]], Map) end, #{}, Here),
		Sum = fun(Conns) -> lists:sum([Held(Pid) || Pids <- Conns, Pid <- Pids]) end,
		Sums = lists:reverse(lists:sort([{Sum(Conns), User} || {User, Conns} <- maps:to_list(ByUser)])),
		Most = case MemoryAlarm(Alarms) of true -> min(AlarmBound, Bound); false -> Bound end,
		Closed = [begin
			Conns = maps:get(User, ByUser),
			[erlang:garbage_collect(Pid) || Pids <- Conns, Pid <- Pids],
			case Sum(Conns) of
				Really when Really > Most ->
					Forced = Cut([Reader || [Reader | _] <- Conns], "this host made the broker hold too much"),
					Say(closed, [{host, Host(User)}, {user, User}, {why, holds}, {connections, length(Conns)},
						{forced, Forced}, {held_bytes, Really}, {bound_bytes, Most}]),
					User;
				_ -> none
			end
		end || {Bytes, User} <- Sums, Bytes > Most, Host(User) =/= none],
		%% Those who said nothing
		Quiet = maps:from_list([begin
			Pid = element(6, T),
			Sent = Said(Pid),
			{Pid, case maps:get(Pid, Silent, none) of
				{Sent, Since} -> {Sent, Since};
				{_, Since} when Sent =:= unknown -> {unknown, Since};
				_ -> {Sent, Now()}
			end}
		end || T <- Here, Host(element(11, T)) =/= none, [{_, Facts}] <- [ets:lookup(connection_created, element(6, T))],
			proplists:get_value(timeout, Facts) =:= 0, not lists:member(element(11, T), Closed)]),
		Mute = [{element(11, T), element(6, T)} || T <- Here, {_, Since} <- [maps:get(element(6, T), Quiet, {none, Now()})],
			Now() - Since >= SilenceMs],
		[begin
			Forced = Cut([Pid], "nothing was said, and no heartbeats were asked for"),
			Say(closed, [{host, Host(User)}, {user, User}, {why, silent}, {connections, 1}, {forced, Forced}])
		end || {User, Pid} <- Mute],
		%% Those who count and are not
		Gone = [element(6, T) || T <- Here, not is_process_alive(element(6, T))],
		[begin
			rabbit_core_metrics:connection_closed(element(6, T)),
			rabbit_event:notify(connection_closed, [{name, element(5, T)}, {pid, element(6, T)}, {node, node()},
				{client_properties, []}]),
			Say(forgotten, [{user, element(11, T)}])
		end || T <- Here, lists:member(element(6, T), Gone), lists:member(element(6, T), Dead)],
		{Top, TopUser} = case Sums of [First | _] -> First; [] -> {0, nobody} end,
		#{silent => Quiet, dead => Gone, closed => [C || C <- Closed, C =/= none], connections => length(Here),
			top => Top, top_user => TopUser}
	end,

	%% Each host has reductions to spend: as many as come in a second at most, and it may owe what comes in ten. Whoever
	%% suspends resumes when he dies, so nobody stays suspended.
	Pacer = fun() ->
		process_flag(priority, high),
		Reductions = fun(Pid) -> case process_info(Pid, reductions) of {_, N} -> N; undefined -> 0 end end,
		Find = fun() ->
			Channels = lists:foldl(fun(T, Map) ->
				maps:update_with(element(8, T), fun(Pids) -> [element(6, T) | Pids] end, [element(6, T)], Map) end,
				#{}, [T || T <- rabbit_channel_tracking:list(), is_pid(element(6, T)), node(element(6, T)) =:= node()]),
			lists:foldl(fun(T, Map) ->
				Conn = [element(6, T) | maps:get(element(6, T), Channels, [])],
				maps:update_with(element(11, T), fun(Conns) -> [Conn | Conns] end, [Conn], Map) end, #{},
				[T || T <- rabbit_connection_tracking:list(), is_pid(element(6, T)), node(element(6, T)) =:= node(),
					Host(element(11, T)) =/= none])
		end,
		Suspend = fun(Pid) -> try erlang:suspend_process(Pid, [asynchronous, unless_suspending]) catch _:_ -> gone end end,
		Resume = fun(Pid) -> try erlang:resume_process(Pid) catch _:_ -> gone end end,
		%% One host, all of whose readers in `held` are suspended. In debt, it is let alone until it is out of it. Out of it, one
		%% reader at a time is let go for a moment, and all of them when there is enough to spend. A newcomer's past counts,
		%% but not at the start.
		Turn = fun(User, Conns, Time, #{left := Left, at := At, seen := Seen, held := Held, since := Since}) ->
			Seen1 = maps:from_list([{Pid, Reductions(Pid)} || Pids <- Conns, Pid <- Pids]),
			Used = case Seen of
				none -> 0;
				_ -> maps:fold(fun(Pid, N, Sum) -> Sum + max(0, N - maps:get(Pid, Seen, 0)) end, 0, Seen1)
			end,
			Left1 = max(min(Left + Pace * (Time - At) div 1000 - Used, Pace), -Pace * PaceOwedMs div 1000),
			Here = [Reader || [Reader | _] <- Conns],
			Held1 = [Reader || Reader <- Held, lists:member(Reader, Here)],
			{Held2, Open, Due} = case Held1 of
				_ when Left1 < 0 ->
					More = Here -- Held1,
					[Suspend(Reader) || Reader <- More],
					{Held1 ++ More, none, Time - Left1 * 1000 div Pace + 1};
				[] -> {[], none, Time + PaceLookMs};
				_ when Left1 * 4 > Pace ->
					[Resume(Reader) || Reader <- Held1],
					{[], none, Time + PaceLookMs};
				[Next | Rest] ->
					Resume(Next),
					{Rest ++ [Next], Next, Time + PaceTickMs}
			end,
			Since1 = case Since of
				none when Left1 < 0 ->
					Say(paced, [{state, on}, {host, Host(User)}, {user, User}, {connections, length(Here)}]),
					Time;
				From when is_integer(From), Left1 >= Pace ->
					Say(paced, [{state, off}, {host, Host(User)}, {user, User}, {lasted_ms, Time - From}]),
					none;
				_ -> Since
			end,
			#{left => Left1, at => Time, seen => Seen1, held => Held2, since => Since1, open => Open, due => Due}
		end,
		(fun Go(Users, States, LookAt) ->
			[Suspend(Reader) || #{open := Reader} <- maps:values(States), Reader =/= none],
			Time = Now(),
			IsLook = Time >= LookAt,
			Users1 = case IsLook of true -> Find(); false -> Users end,
			%% one that is gone for a moment keeps what it owes
			States1 = maps:map(fun
				(_, #{due := Due} = State) when Due > Time, not IsLook -> State;
				(User, State) -> Turn(User, maps:get(User, Users1, []), Time, State) end, States),
			New = maps:map(fun(User, Conns) ->
				Turn(User, Conns, Time, #{left => Pace, at => Time, seen => none, held => [], since => none})
			end, maps:without(maps:keys(States), Users1)),
			States2 = maps:filter(fun(User, #{left := Left}) -> Left < Pace orelse maps:is_key(User, Users1) end,
				maps:merge(States1, New)),
			LookAt1 = case IsLook of true -> Time + min(max(PaceLookMs, 20 * (Now() - Time)), PaceLookMaxMs); false -> LookAt end,
			Due1 = lists:min([LookAt1 | [Due || #{due := Due, held := [_ | _]} <- maps:values(States2)]]),
			receive after max(PaceTickMs, Due1 - Now()) -> ok end,
			Go(Users1, States2, LookAt1)
		end)(#{}, #{}, 0)
	end,
	case Pace of 0 -> ok; _ -> spawn_link(Pacer) end,

	%% The vhost in which most messages wait: what to look at when no connection explains an alarm.
	Fullest = fun() ->
		Counts = maps:to_list(ets:foldl(fun
			({{resource, V, queue, _}, _, _, N, _}, Map) when is_integer(N) -> maps:update_with(V, fun(M) -> M + N end, N, Map);
			(_, Map) -> Map end, #{}, queue_coarse_metrics)),
		case lists:reverse(lists:keysort(2, Counts)) of [First | _] -> First; [] -> {none, 0} end
	end,

	Loop = fun Loop(#{alarms := Before1, since := Since, explained := Explained, alive := Alive, late := Late,
			silent := Silent, dead := Dead} = State) ->
		Started = Now(),
		Alarms = lists:usort([{R, N} || {{resource_limit, R, N}, _} <- rabbit_alarm:get_alarms()]),
		[Say(alarm, [{state, on}, {resource, R}, {node, N}]) || {R, N} <- Alarms -- Before1],
		[Say(alarm, [{state, off}, {resource, R}, {node, N}, {lasted_ms, Started - maps:get({R, N}, Since)}])
			|| {R, N} <- Before1 -- Alarms],
		Since1 = maps:merge(maps:from_list([{A, Started} || A <- Alarms]), maps:with(Alarms, Since)),
		%% in a process of its own, which leaves no garbage, and which one that is stuck cannot hold up for long
		Self = self(),
		{Worker, Ref} = spawn_monitor(fun() -> Self ! {seen, self(), Look(Alarms, Silent, Dead)} end),
		Seen = receive
			{seen, Worker, Map} -> erlang:demonitor(Ref, [flush]), Map;
			{'DOWN', Ref, process, _, Why} ->
				Say(trouble, [{what, iolist_to_binary(io_lib:format("~0p", [Why], [{chars_limit, 200}]))}]),
				#{}
		after LookMs ->
			exit(Worker, kill),
			receive {'DOWN', Ref, process, _, _} -> ok end,
			receive {seen, Worker, _} -> ok after 0 -> ok end,
			Say(trouble, [{what, looking_takes_too_long}]),
			#{}
		end,
		Took = Now() - Started,
		Explained1 = case maps:get(closed, Seen, []) of
			[] when Alarms =:= [] -> Started;
			[] when Started - Explained >= UnexplainedMs, Late =< Started ->
				{Vhost, Messages} = Fullest(),
				Say(unexplained, [{resource, element(1, hd(Alarms))}, {holds_most, maps:get(top_user, Seen, nobody)},
					{held_bytes, maps:get(top, Seen, 0)}, {fullest, Vhost}, {messages, Messages}]),
				Explained;
			[] -> Explained;
			_ -> Started
		end,
		Late1 = case Started - Explained1 >= UnexplainedMs andalso Late =< Started of true -> Started + 30000; false -> Late end,
		Alive1 = case Alive =< Started of
			true ->
				Say(alive, [{connections, maps:get(connections, Seen, 0)}, {held_bytes, maps:get(top, Seen, 0)},
					{holds_most, maps:get(top_user, Seen, nobody)}, {look_ms, Took},
					{memory_alarm, length([x || {memory, _} <- Alarms])}, {disk_alarm, length([x || {disk, _} <- Alarms])}]),
				Started + AliveMs;
			false -> Alive
		end,
		receive
			{'DOWN', CallerRef, process, _, _} -> gone;
			{replaced, _} -> Say(replaced, []), timer:sleep(200), replaced
		after case maps:get(closed, Seen, []) of [] -> min(max(TickMs, 20 * Took), TickMaxMs); _ -> TickMs end ->
			Loop(State#{alarms := Alarms, since := Since1, explained := Explained1, alive := Alive1, late := Late1,
				silent := maps:get(silent, Seen, #{}), dead := maps:get(dead, Seen, [])})
		end
	end,
	Say(watching, [{node, node()}, {bound_bytes, Bound}, {alarm_bound_bytes, AlarmBound}, {silence_ms, SilenceMs}, {pace, @PACE@}]),
	Loop(#{alarms => [], since => #{}, explained => Now(), alive => 0, late => 0, silent => #{}, dead => []})
end.
