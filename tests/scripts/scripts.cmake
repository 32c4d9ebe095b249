# The scripts, tried as a person would. Those that need none of our programs run in one build only.
if(NOT SALLYPORT_SANITIZE)
	foreach(test definitions clean setup broker ghosts)
		add_test(NAME scripts/${test} COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/${test}-test.sh)
		set_tests_properties(scripts/${test} PROPERTIES LABELS scripts TIMEOUT 240)
	endforeach()
	add_test(NAME scripts/shop COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/scripts/shop_test.py)
	set_tests_properties(scripts/shop PROPERTIES LABELS scripts TIMEOUT 120)
	add_test(NAME scripts/docs COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/docs-test.sh)
	set_tests_properties(scripts/docs PROPERTIES LABELS scripts TIMEOUT 120
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endif()
# What takes long begins first; the numbers are seconds, roughly.
if(NOT SALLYPORT_SANITIZE)
	set_tests_properties(scripts/ghosts PROPERTIES COST 45)
	set_tests_properties(scripts/broker PROPERTIES COST 40)
endif()
if(NOT SALLYPORT_SANITIZE)
	add_test(NAME scripts/demo COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/demo-test.sh)
	set_tests_properties(scripts/demo PROPERTIES LABELS scripts TIMEOUT 240 COST 20
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endif()
add_test(NAME scripts/dev COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/dev-test.sh)
set_tests_properties(scripts/dev PROPERTIES LABELS scripts TIMEOUT 300 COST 35
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
add_test(NAME scripts/schema COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/scripts/schema_test.py)
set_tests_properties(scripts/schema PROPERTIES LABELS scripts TIMEOUT 600
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
