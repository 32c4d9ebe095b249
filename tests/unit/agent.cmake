unit_test(NAME agent_desk SOURCES agent_desk_test.c http_help.c LIBS agent_rooms)
unit_test(NAME agent_errand SOURCES agent_errand_test.c http_help.c LIBS agent_rooms)
unit_test(NAME agent_reply SOURCES agent_reply_test.c LIBS agent_rooms)
