foreach(room dispatch guard hush outcome overload)
	unit_test(NAME node_${room} SOURCES node_${room}_test.c LIBS node_rooms)
endforeach()
