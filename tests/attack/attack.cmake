# attack.cmake - the border tried with real credentials, as whoever owns a host would.

if(NOT SALLYPORT_SANITIZE)
	add_test(NAME attack/verify COMMAND ${CMAKE_CURRENT_LIST_DIR}/verify-test.sh)
	set_tests_properties(attack/verify PROPERTIES LABELS attack TIMEOUT 240
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endif()
