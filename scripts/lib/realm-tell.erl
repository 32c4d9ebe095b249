%% realm-tell.erl - publishes one control message to all app nodes: one expression for "rabbitmqctl eval".
%%
%% Reads @FILE@, which sallyport-seal made; it holds no key, and whoever reads it here cannot make another. Then gives
%% nodes that are connected a moment to take it. Value: as in realm-facts.erl, [[NODE, "told" | "waits"]…]. A node that
%% waits gets it when it comes: its queue is durable.
begin
	{ok, Text} = file:read_file("@FILE@"),
	#{<<"message_id">> := Id, <<"type">> := Type, <<"user_id">> := User, <<"content_type">> := ContentType,
	  <<"content_encoding">> := Encoding, <<"headers">> := Headers, <<"body_hex">> := Hex} = rabbit_json:decode(Text),
	Exchange = rabbit_misc:r(<<"inner">>, exchange, <<"x.control">>),
	Properties = [{content_type, ContentType}, {content_encoding, Encoding}, {delivery_mode, 2}, {message_id, Id},
		{type, Type}, {user_id, User},
		{headers, [{Name, long, Number} || {Name, Number} <- maps:to_list(Headers)]}],
	Body = binary:decode_hex(Hex),
	code:ensure_loaded(rabbit_basic),
	%% UNTESTED: from RabbitMQ 3.13 on there is only the second way
	case erlang:function_exported(rabbit_basic, publish, 4) of
		true -> ok = rabbit_basic:publish(Exchange, <<>>, Properties, Body);
		false ->
			Content = rabbit_basic:build_content(rabbit_basic:properties(Properties), Body),
			{ok, Message} = rabbit_basic:message(Exchange, <<>>, Content),
			ok = apply(rabbit_queue_type, publish_at_most_once, [Exchange, Message])
	end,
	%% of every node: is somebody there, has he all of it?
	Look = fun() -> [begin
			{ok, Ready, Consumers} = rabbit_amqqueue:stat(Queue),
			{Node, Consumers > 0, Ready =:= 0}
		end || Queue <- rabbit_amqqueue:list(<<"inner">>),
			{resource, _, queue, <<"control.", Node/binary>>} <- [amqqueue:get_name(Queue)]] end,
	Late = erlang:monotonic_time(millisecond) + 2000,
	Wait = fun Again() ->
		Seen = Look(),
		case [Node || {Node, true, false} <- Seen] =:= [] orelse erlang:monotonic_time(millisecond) > Late of
			true -> Seen;
			false -> timer:sleep(20), Again()
		end end,
	Told = [[Node, case IsThere andalso HasAll of true -> <<"told">>; false -> <<"waits">> end]
		|| {Node, IsThere, HasAll} <- Wait()],
	base64:encode_to_string(zlib:gzip(rabbit_json:encode(Told)))
end.
