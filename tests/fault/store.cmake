# store.cmake - what happens to a store when disk, memory, process or power fail.

add_library(store_rig STATIC
	${CMAKE_CURRENT_LIST_DIR}/../unit/store_rig.c
	${CMAKE_CURRENT_LIST_DIR}/faultvfs.c
	${CMAKE_CURRENT_LIST_DIR}/story.c)
target_include_directories(store_rig PUBLIC ${CMAKE_CURRENT_LIST_DIR}/..)
target_link_libraries(store_rig PUBLIC store testlib PkgConfig::SQLITE)

unit_test(NAME store_faults SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_faults_test.c LIBS store_rig TIMEOUT 300)
target_link_options(test_store_faults PRIVATE
	-Wl,--wrap=malloc,--wrap=rename,--wrap=fsync,--wrap=flock,--wrap=open)

# Killed, and cut off from its power. The long runs are commands of their own: crash_store --help
add_executable(crash_store ${CMAKE_CURRENT_LIST_DIR}/crash_store.c)
set_target_properties(crash_store PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
target_link_libraries(crash_store PRIVATE store_rig daemon)
if(NOT SALLYPORT_SANITIZE)
	add_test(NAME fault/kill COMMAND crash_store --cycles 300)
	add_test(NAME fault/power COMMAND crash_store --cycles 60 --end power --where-possible)
	# The test can fail: without waiting for the disk it does.
	add_test(NAME fault/power-cut-shows-what-is-not-synced
		COMMAND crash_store --cycles 30 --end power --broken normal)
	set_tests_properties(fault/power-cut-shows-what-is-not-synced PROPERTIES WILL_FAIL TRUE)
	set_tests_properties(fault/kill fault/power fault/power-cut-shows-what-is-not-synced
		PROPERTIES LABELS fault TIMEOUT 240)
endif()
