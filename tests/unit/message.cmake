unit_test(NAME message_ledger SOURCES message_ledger_test.c LIBS message)
unit_test(NAME message_receipt SOURCES message_receipt_test.c LIBS message)
unit_test(NAME message_message SOURCES message_message_test.c LIBS message)
unit_test(NAME message_digest SOURCES message_digest_test.c LIBS message)
unit_test(NAME message_envelope SOURCES message_envelope_test.c LIBS message)
unit_test(NAME message_identity SOURCES message_identity_test.c LIBS message)
unit_test(NAME message_keyring SOURCES message_keyring_test.c LIBS message)
unit_test(NAME message_relay SOURCES message_relay_test.c LIBS message)
unit_test(NAME message_relay_model SOURCES message_relay_model_test.c relay_world.c LIBS message
	TIMEOUT 600)
unit_test(NAME message_replay SOURCES message_replay_test.c LIBS message)
unit_test(NAME message_seal SOURCES message_seal_test.c LIBS message OpenSSL::Crypto)
unit_test(NAME message_tick SOURCES message_tick_test.c LIBS message)

add_test(NAME unit/seal_vectors
	COMMAND ${CMAKE_CURRENT_LIST_DIR}/seal_vectors.py
		--check ${CMAKE_CURRENT_LIST_DIR}/message_seal_test.c)
set_tests_properties(unit/seal_vectors PROPERTIES LABELS unit TIMEOUT 60)
