# The tests of layer http.
set(http_help ${CMAKE_CURRENT_LIST_DIR}/http_help.c)

unit_test(problem SOURCES ${CMAKE_CURRENT_LIST_DIR}/problem_test.c LIBS http)
unit_test(http_reader SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_reader_test.c LIBS http)
unit_test(http_crowd SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_crowd_test.c ${http_help} LIBS http)
unit_test(http_server SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_server_test.c ${http_help} LIBS http)
unit_test(http_answer SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_answer_test.c LIBS http)
unit_test(http_client SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_client_test.c ${http_help} LIBS http)
unit_test(http_hostile SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_hostile_test.c ${http_help}
	LIBS http TIMEOUT 180)
