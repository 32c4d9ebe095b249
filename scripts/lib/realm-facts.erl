%% realm-facts.erl - what a broker is, asked of itself: one expression for "rabbitmqctl eval".
%%
%% Reads only. Value: base64 of gzip of JSON, because that comes through any shell in one piece. Settings are Erlang's
%% own words for them, as text: realm-lint.jq knows how each must read.
begin
	Text = fun(Term) -> unicode:characters_to_binary(io_lib:format("~0tp", [Term])) end,
	Setting = fun(Application, Key) -> Text(application:get_env(Application, Key, unset)) end,
	Address = fun(IP) -> unicode:characters_to_binary(inet:ntoa(IP)) end,
	Options = fun(Has) -> maps:from_list([{atom_to_binary(K, utf8), Text(proplists:get_value(K, Has, unset))} || K <- [
		versions, verify, fail_if_no_peer_cert, keepalive, send_timeout, send_timeout_close]]) end,
	Sha256 = fun(Bytes) -> string:lowercase(binary:encode_hex(crypto:hash(sha256, Bytes))) end,
	Loaded = case application:get_env(rabbit, load_definitions) of
		{ok, Path} -> Path;
		undefined -> application:get_env(rabbit, definitions, [])
	end,
	LoadedFile = case Loaded of
		[{_, _} | _] -> unicode:characters_to_binary(proplists:get_value(local_path, Loaded, ""));
		_ -> try unicode:characters_to_binary(Loaded) catch _:_ -> <<>> end
	end,
	Facts = #{
		<<"rabbitmq">> => unicode:characters_to_binary(rabbit_misc:version()),
		<<"erlang">> => unicode:characters_to_binary(rabbit_misc:otp_release()),
		<<"node">> => atom_to_binary(node(), utf8),
		<<"definitions">> => rabbit_definitions:all_definitions(),
		<<"listeners">> => [#{<<"protocol">> => atom_to_binary(Protocol, utf8), <<"address">> => Address(IP),
				<<"port">> => Port, <<"options">> => Options(Has)}
			|| {listener, _, Protocol, _, IP, Port, Has} <- rabbit_networking:active_listeners()],
		<<"plugins">> => lists:sort([atom_to_binary(P, utf8) || P <- rabbit_plugins:active()]),
		<<"flags">> => [atom_to_binary(F, utf8) || F <- [quorum_queue, user_limits],
			rabbit_feature_flags:is_enabled(F)],
		<<"settings">> => maps:from_list([{atom_to_binary(K, utf8), Setting(rabbit, K)} || K <- [
			auth_mechanisms, auth_backends, ssl_cert_login_from, anonymous_login_user, loopback_users,
			frame_max, channel_max, connection_max, max_message_size, heartbeat, handshake_timeout,
			ssl_handshake_timeout, consumer_timeout, trace_vhosts]]),
		<<"distribution">> => Setting(kernel, inet_dist_use_interface),
		<<"memory_limit_bytes">> => vm_memory_monitor:get_memory_limit(),
		<<"disk_limit_bytes">> => rabbit_disk_monitor:get_disk_free_limit(),
		<<"connection_log">> => Text(proplists:get_value(level, proplists:get_value(connection,
			proplists:get_value(categories, application:get_env(rabbit, log, []), []), []), unset)),
		<<"definitions_file">> => #{
			<<"path">> => LoadedFile,
			<<"sha256">> => case file:read_file(LoadedFile) of {ok, Bytes} -> Sha256(Bytes); _ -> <<>> end},
		<<"alarms">> => [Text(A) || A <- rabbit_alarm:get_alarms()],
		<<"queues">> => [#{<<"vhost">> => V, <<"name">> => Q, <<"messages">> =>
				case ets:lookup(queue_coarse_metrics, R) of [{_, _, _, N, _}] when is_integer(N) -> N; _ -> 0 end}
			|| {resource, V, queue, Q} = R <- rabbit_amqqueue:list_names()],
		<<"connections">> => [#{<<"user">> => User, <<"vhost">> => Vhost}
			|| {tracked_connection, _, _, Vhost, _, _, _, _, _, _, User, _} <- rabbit_connection_tracking:list()]
	},
	base64:encode_to_string(zlib:gzip(rabbit_json:encode(Facts)))
end.
