unit_test(NAME contract SOURCES contract_test.c LIBS contract)
unit_test(NAME contract_json SOURCES contract_json_test.c json_oracle.c LIBS contract PkgConfig::JANSSON)
unit_test(NAME contract_schema SOURCES contract_schema_test.c LIBS contract)
unit_test(NAME contract_yaml SOURCES contract_yaml_test.c LIBS contract)
unit_test(NAME contract_schedule SOURCES contract_schedule_test.c LIBS contract)
unit_test(NAME contract_zone SOURCES contract_zone_test.c LIBS contract)

# What schedules and zones say, against another implementation.
add_executable(schedule_says ${CMAKE_CURRENT_LIST_DIR}/schedule_says.c)
set_target_properties(schedule_says PROPERTIES
	RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
target_link_libraries(schedule_says PRIVATE contract)
add_test(NAME unit/schedule_oracle
	COMMAND ${CMAKE_CURRENT_LIST_DIR}/schedule_oracle.py $<TARGET_FILE:schedule_says>)
set_tests_properties(unit/schedule_oracle PROPERTIES LABELS unit TIMEOUT 240)
