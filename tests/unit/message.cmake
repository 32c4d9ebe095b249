unit_test(NAME message_message SOURCES message_message_test.c LIBS message)
unit_test(NAME message_digest SOURCES message_digest_test.c LIBS message)
