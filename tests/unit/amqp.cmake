# The wire by hand, a channel without a connection, a loop with a deadline, a broker that is played.
add_library(amqp_rig STATIC
	${CMAKE_CURRENT_LIST_DIR}/amqp_wire.c
	${CMAKE_CURRENT_LIST_DIR}/amqp_stage.c
	${CMAKE_CURRENT_LIST_DIR}/amqp_rig.c
	${CMAKE_CURRENT_LIST_DIR}/amqp_world.c
	${CMAKE_CURRENT_LIST_DIR}/amqp_play.c)
target_include_directories(amqp_rig PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(amqp_rig PUBLIC amqp testlib PkgConfig::CHECK)

foreach(room codec channel publisher consumer connection outage silence hostile tls relief)
	unit_test(NAME amqp_${room} SOURCES amqp_${room}_test.c LIBS amqp_rig testlib OpenSSL::SSL
		TIMEOUT 300)
endforeach()

# The one that needs a broker starts it itself, once: it takes most of the time.
unit_test(NAME amqp_broker SOURCES amqp_broker_test.c LIBS amqp_rig testlib OpenSSL::SSL
	TIMEOUT 300)
