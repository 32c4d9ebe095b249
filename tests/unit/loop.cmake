unit_test(NAME loop SOURCES loop_test.c LIBS loop)
unit_test(NAME loop_mailbox SOURCES loop_mailbox_test.c LIBS loop Threads::Threads)
