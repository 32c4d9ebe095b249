# The wire by hand: shared/amqp is held against it.
add_library(amqp_wire STATIC ${CMAKE_CURRENT_LIST_DIR}/amqp_wire.c)
target_include_directories(amqp_wire PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(amqp_wire PUBLIC base)

unit_test(NAME amqp_codec SOURCES amqp_codec_test.c LIBS amqp amqp_wire)
