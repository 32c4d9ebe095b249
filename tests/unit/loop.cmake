unit_test(NAME loop SOURCES loop_test.c LIBS loop)
