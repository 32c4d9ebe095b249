# What sallyport-probe makes of answers, and of brokers that answer wrongly. Against a real one: tests/attack.
unit_test(NAME probe SOURCES probe_test.c amqp_wire.c LIBS probe_rooms testlib TIMEOUT 180)
