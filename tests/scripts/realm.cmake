# The provisioning of a border, and the reader of its site file.
if(NOT SALLYPORT_SANITIZE)
	add_test(NAME scripts/realm COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/realm-test.sh)
	set_tests_properties(scripts/realm PROPERTIES LABELS scripts TIMEOUT 600 COST 130
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
	add_test(NAME scripts/restore COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/restore-test.sh)
	set_tests_properties(scripts/restore PROPERTIES LABELS scripts TIMEOUT 300 COST 60
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endif()
add_test(NAME scripts/revoke COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/revoke-test.sh)
set_tests_properties(scripts/revoke PROPERTIES LABELS scripts TIMEOUT 180 COST 25
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
add_test(NAME scripts/watch COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/watch-test.sh)
set_tests_properties(scripts/watch PROPERTIES LABELS scripts TIMEOUT 120)
add_test(NAME scripts/realm-site COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/realm-site-test.sh)
set_tests_properties(scripts/realm-site PROPERTIES LABELS scripts TIMEOUT 120
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
add_test(NAME scripts/yaml COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/yaml-test.sh)
set_tests_properties(scripts/yaml PROPERTIES LABELS scripts TIMEOUT 60
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
add_test(NAME scripts/seal COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/seal-test.sh)
set_tests_properties(scripts/seal PROPERTIES LABELS scripts TIMEOUT 60
	ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
