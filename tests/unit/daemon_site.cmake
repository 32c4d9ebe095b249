unit_test(NAME daemon_site SOURCES daemon_site_test.c LIBS daemon testlib)
