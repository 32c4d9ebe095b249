unit_test(NAME daemon_command SOURCES daemon_command_test.c LIBS daemon)
unit_test(NAME daemon_metrics SOURCES daemon_metrics_test.c LIBS daemon)
unit_test(NAME daemon_options SOURCES daemon_options_test.c LIBS daemon)
unit_test(NAME daemon_ready SOURCES daemon_ready_test.c LIBS daemon)
