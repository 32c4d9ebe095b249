%% realm-forget.erl - the definitions that are loaded at a start, without some users: one expression for "rabbitmqctl eval".
%%
%% Reads @FILE@, changes nothing. @USERS@ is a list of names. Value: as in realm-facts.erl, the whole file without them and
%% without whatever is said of them.
begin
	{ok, Text} = file:read_file("@FILE@"),
	Users = @USERS@,
	IsOf = fun(Key) -> fun(Entry) -> lists:member(maps:get(Key, Entry, none), Users) end end,
	Without = fun(Section, Key, All) ->
		case All of
			#{Section := Entries} -> All#{Section := [E || E <- Entries, not (IsOf(Key))(E)]};
			_ -> All
		end end,
	Left = lists:foldl(fun({Section, Key}, All) -> Without(Section, Key, All) end, rabbit_json:decode(Text),
		[{<<"users">>, <<"name">>}, {<<"permissions">>, <<"user">>}, {<<"topic_permissions">>, <<"user">>}]),
	base64:encode_to_string(zlib:gzip(rabbit_json:encode(Left)))
end.
