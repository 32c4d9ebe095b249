%% realm-change.erl - brings a broker from what it is to what it should be: one expression for "rabbitmqctl eval".
%%
%% Reads @FILE@, which realm wrote: {"delete": [{"kind": …}…], "import": DEFINITIONS, "close": [{"user": …, "vhost": … or null}…]}. In this order:
%% users go first, with their connections, so that whoever is thrown out is out whatever happens to the rest. Each step
%% may have been done before. Value: as in realm-facts.erl, [[STEP, "done" | "gone" | what went wrong]…].
begin
	{ok, Body} = file:read_file("@FILE@"),
	#{<<"delete">> := Delete, <<"import">> := Import, <<"close">> := Close} = rabbit_json:decode(Body),
	Who = <<"realm">>,
	Text = fun(Term) -> unicode:characters_to_binary(io_lib:format("~0tp", [Term])) end,
	%% of a user, in one vhost or (null) in all
	PidsOf = fun(User, Vhost) -> [Pid
		|| {tracked_connection, _, _, V, _, Pid, _, _, _, _, Name, _} <- rabbit_connection_tracking:list(),
		   is_pid(Pid), Name =:= User, V =:= Vhost orelse Vhost =:= null] end,
	End =
@CUT@,
	Cut = fun(Pids) -> End(Pids, "operations closed it") end,
	Resource = fun(#{<<"vhost">> := V, <<"name">> := N}, Kind) -> rabbit_misc:r(V, Kind, N) end,
	%% those that wait, asked of the queue itself, and those that somebody holds, as far as the broker has counted
	Messages = fun(Queue) ->
		Counted = case proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]), 0) of
			N when is_integer(N) -> N;
			_ -> 0
		end,
		{ok, Waiting, _} = rabbit_amqqueue:stat(Queue),
		max(Waiting, Counted)
	end,
	DropQueue = fun(Queue, Force) ->
		case Force orelse Messages(Queue) =:= 0 of
			true -> rabbit_amqqueue:delete(Queue, false, false, Who), done;
			false -> not_empty
		end end,
	Step = fun
		(#{<<"kind">> := <<"user">>, <<"name">> := N}) ->
			Pids = PidsOf(N, null),
			Result = case rabbit_auth_backend_internal:exists(N) of
				true -> rabbit_auth_backend_internal:delete_user(N, Who), done;
				false -> gone
			end,
			Cut(lists:usort(Pids ++ PidsOf(N, null))),
			Result;
		(#{<<"kind">> := <<"permission">>, <<"user">> := U, <<"vhost">> := V}) ->
			rabbit_auth_backend_internal:clear_permissions(U, V, Who), done;
		(#{<<"kind">> := <<"topic_permission">>, <<"user">> := U, <<"vhost">> := V}) ->
			rabbit_auth_backend_internal:clear_topic_permissions(U, V, Who), done;
		(#{<<"kind">> := <<"policy">>, <<"vhost">> := V, <<"name">> := N}) ->
			rabbit_policy:delete(V, N, Who), done;
		(#{<<"kind">> := <<"parameter">>, <<"component">> := <<"operator_policy">>, <<"vhost">> := V, <<"name">> := N}) ->
			rabbit_policy:delete_op(V, N, Who), done;
		(#{<<"kind">> := <<"parameter">>, <<"component">> := <<"vhost-limits">>, <<"vhost">> := V}) ->
			rabbit_vhost_limit:clear(V, Who), done;
		(#{<<"kind">> := <<"parameter">>, <<"component">> := C, <<"vhost">> := V, <<"name">> := N}) ->
			rabbit_runtime_parameters:clear_any(V, C, N, Who), done;
		(#{<<"kind">> := <<"global_parameter">>, <<"name">> := N}) ->
			rabbit_runtime_parameters:clear_global(binary_to_atom(N, utf8), Who), done;
		(#{<<"kind">> := <<"binding">>, <<"vhost">> := V, <<"source">> := S, <<"key">> := K, <<"destination">> := D,
		   <<"destination_type">> := T, <<"plain">> := Plain}) ->
			Source = rabbit_misc:r(V, exchange, S),
			Kind = case T of <<"queue">> -> queue; _ -> exchange end,
			Destination = rabbit_misc:r(V, Kind, D),
			[rabbit_binding:remove(B, Who)
				|| {binding, _, BK, _, Arguments} = B
				   <- rabbit_binding:list_for_source_and_destination(Source, Destination),
				   BK =:= K, (Arguments =:= []) =:= Plain],
			done;
		(#{<<"kind">> := <<"exchange">>} = X) ->
			rabbit_exchange:delete(Resource(X, exchange), false, Who), done;
		(#{<<"kind">> := <<"queue">>, <<"force">> := Force} = X) ->
			case rabbit_amqqueue:lookup(Resource(X, queue)) of
				{ok, Queue} -> DropQueue(Queue, Force);
				_ -> gone
			end;
		(#{<<"kind">> := <<"vhost">>, <<"name">> := N, <<"force">> := Force}) ->
			case rabbit_vhost:exists(N) of
				false -> gone;
				true ->
					case Force orelse lists:sum([Messages(Queue) || Queue <- rabbit_amqqueue:list(N)]) =:= 0 of
						true -> rabbit_vhost:delete(N, Who), done;
						false -> not_empty
					end
			end
	end,
	Try = fun(What, Do) ->
		[What, try Do() of
			Atom when is_atom(Atom) -> atom_to_binary(Atom, utf8);
			Other -> Text(Other)
		catch
			throw:{error, {no_such_user, _}} -> <<"gone">>;
			throw:{error, {no_such_vhost, _}} -> <<"gone">>;
			_:Why -> Text(Why)
		end] end,
	Deleted = [Try(X, fun() -> Step(X) end) || X <- Delete],
	Imported = case Import of
		null -> [];
		_ -> [Try(#{<<"kind">> => <<"import">>}, fun() ->
			case rabbit_definitions:import_raw(iolist_to_binary(rabbit_json:encode(Import))) of
				ok -> done;
				Other -> Other
			end end)]
	end,
	Closed = [Try(#{<<"kind">> => <<"connections">>, <<"name">> => U}, fun() -> Cut(PidsOf(U, V)), done end)
		|| #{<<"user">> := U, <<"vhost">> := V} <- Close],
	%% a renewed certificate of the broker is read at the next handshake
	ssl:clear_pem_cache(),
	base64:encode_to_string(zlib:gzip(rabbit_json:encode(Deleted ++ Imported ++ Closed)))
end.
