# attack.cmake - the border tried with real credentials, as whoever owns a host would.

if(NOT SALLYPORT_SANITIZE)
	foreach(test verify watch)
		add_test(NAME attack/${test} COMMAND ${CMAKE_CURRENT_LIST_DIR}/${test}-test.sh)
		set_tests_properties(attack/${test} PROPERTIES LABELS attack TIMEOUT 240
			ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
	endforeach()
endif()
