# e2e.cmake - end-to-end tests: real daemons, a real broker, one program with many cases.

add_executable(e2e
	${CMAKE_CURRENT_LIST_DIR}/caller.c
	${CMAKE_CURRENT_LIST_DIR}/calls_test.c
	${CMAKE_CURRENT_LIST_DIR}/config_test.c
	${CMAKE_CURRENT_LIST_DIR}/e2e.c
	${CMAKE_CURRENT_LIST_DIR}/forger.c
	${CMAKE_CURRENT_LIST_DIR}/hostile_broker_test.c
	${CMAKE_CURRENT_LIST_DIR}/hostile_clients_test.c
	${CMAKE_CURRENT_LIST_DIR}/inner_test.c
	${CMAKE_CURRENT_LIST_DIR}/network_test.c
	${CMAKE_CURRENT_LIST_DIR}/outages_test.c
	${CMAKE_CURRENT_LIST_DIR}/passage.c
	${CMAKE_CURRENT_LIST_DIR}/refusals_test.c
	${CMAKE_CURRENT_LIST_DIR}/reload_test.c
	${CMAKE_CURRENT_LIST_DIR}/seal_test.c
	${CMAKE_CURRENT_LIST_DIR}/sends_test.c
	${CMAKE_CURRENT_LIST_DIR}/stopping_test.c)
set_target_properties(e2e PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
target_include_directories(e2e PRIVATE ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(e2e PRIVATE testlib amqp_rig)
add_dependencies(e2e webapp-agent app-node)

# Under a sanitizer a broker that comes back is what counts, not how often.
set(kills)
if(SALLYPORT_SANITIZE)
	set(kills --kills 2)
endif()
add_test(NAME e2e/crossing COMMAND e2e sends stopping refusals config)
add_test(NAME e2e/reload COMMAND e2e reload)
add_test(NAME e2e/hostile COMMAND e2e hostile_clients hostile_broker seal inner)
add_test(NAME e2e/outages COMMAND e2e ${kills} calls network outages)
set_tests_properties(e2e/crossing e2e/reload e2e/hostile e2e/outages PROPERTIES
	LABELS e2e TIMEOUT 300)
# Deadlines are kept to within milliseconds, and brokers restart with both cores: nothing else beside these.
set_tests_properties(e2e/outages PROPERTIES RUN_SERIAL TRUE)
# What takes long begins first; the numbers are seconds, roughly.
set_tests_properties(e2e/hostile PROPERTIES COST 60)
set_tests_properties(e2e/reload PROPERTIES COST 40)
set_tests_properties(e2e/crossing PROPERTIES COST 25)
