foreach(room control dispatch guard outcome overload revoked seen)
	unit_test(NAME node_${room} SOURCES node_${room}_test.c LIBS node_rooms)
endforeach()
