# fault.cmake - what breaks things on purpose, and who says afterwards whether anything was lost.

unit_test(NAME fault_order SOURCES ${CMAKE_CURRENT_LIST_DIR}/order_test.c LIBS fault)
unit_test(NAME fault_network SOURCES ${CMAKE_CURRENT_LIST_DIR}/network_test.c LIBS testlib)

add_executable(fault_proxy ${CMAKE_CURRENT_LIST_DIR}/proxy.c)
set_target_properties(fault_proxy PROPERTIES
	RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
target_link_libraries(fault_proxy PRIVATE fault)
add_test(NAME fault/proxy
	COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/proxy_test.py $<TARGET_FILE:fault_proxy>)
set_tests_properties(fault/proxy PROPERTIES LABELS unit TIMEOUT 60)

# The checker, and what it needs to say nothing when nothing was broken. They need no sanitizer.
if(NOT SALLYPORT_SANITIZE)
	add_test(NAME fault/history COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/history_test.py)
	set_tests_properties(fault/history PROPERTIES LABELS unit TIMEOUT 120)
	add_test(NAME fault/calm COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/calm_test.py)
	set_tests_properties(fault/calm PROPERTIES LABELS scripts TIMEOUT 300 COST 45
		ENVIRONMENT "SALLYPORT_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endif()

include(${CMAKE_CURRENT_LIST_DIR}/store.cmake)
