# attack.cmake - the border tried with real credentials, as whoever owns a host would.

add_executable(sallyport-flood
	${CMAKE_CURRENT_LIST_DIR}/flood.c
	${CMAKE_CURRENT_LIST_DIR}/../bench/arguments.c)
target_include_directories(sallyport-flood PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../bench)
target_link_libraries(sallyport-flood PRIVATE amqp)

if(NOT SALLYPORT_SANITIZE)
	# figures are taken with trial.sh itself, which has more to ask
	add_test(NAME attack/trial COMMAND ${CMAKE_CURRENT_LIST_DIR}/trial.sh --short)
	set_tests_properties(attack/trial PROPERTIES LABELS attack TIMEOUT 240 RUN_SERIAL TRUE
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
	foreach(test verify watch)
		add_test(NAME attack/${test} COMMAND ${CMAKE_CURRENT_LIST_DIR}/${test}-test.sh)
		set_tests_properties(attack/${test} PROPERTIES LABELS attack TIMEOUT 240
			ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
	endforeach()
	set_tests_properties(attack/verify PROPERTIES COST 65)
	set_tests_properties(attack/watch PROPERTIES COST 40)
endif()
