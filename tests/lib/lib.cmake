# lib.cmake - what tests against real processes and sockets share.

# A bad network: also a program, see fault/fault.cmake.
add_library(fault STATIC
	${CMAKE_CURRENT_LIST_DIR}/../fault/network.c
	${CMAKE_CURRENT_LIST_DIR}/../fault/order.c
	${CMAKE_CURRENT_LIST_DIR}/../fault/plan.c)
target_include_directories(fault PUBLIC ${CMAKE_CURRENT_LIST_DIR}/../fault)
target_link_libraries(fault PUBLIC base PkgConfig::UV)

add_library(testlib STATIC
	${CMAKE_CURRENT_LIST_DIR}/broker.c
	${CMAKE_CURRENT_LIST_DIR}/daemon.c
	${CMAKE_CURRENT_LIST_DIR}/fakebroker.c
	${CMAKE_CURRENT_LIST_DIR}/handler.c
	${CMAKE_CURRENT_LIST_DIR}/http.c
	${CMAKE_CURRENT_LIST_DIR}/must.c
	${CMAKE_CURRENT_LIST_DIR}/pki.c
	${CMAKE_CURRENT_LIST_DIR}/proxy.c)
target_include_directories(testlib PUBLIC ${CMAKE_CURRENT_LIST_DIR})
find_package(Threads REQUIRED)
target_link_libraries(testlib PUBLIC
	base fault OpenSSL::SSL PkgConfig::CHECK Threads::Threads)
get_filename_component(source_folder ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
target_compile_definitions(testlib PRIVATE
	TEST_SOURCE_FOLDER="${source_folder}" TEST_BIN_FOLDER="${CMAKE_BINARY_DIR}/bin")

unit_test(lib SOURCES ${CMAKE_CURRENT_LIST_DIR}/lib_test.c
	LIBS testlib PkgConfig::RABBITMQ OpenSSL::SSL)
