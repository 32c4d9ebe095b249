add_library(store_rig STATIC ${CMAKE_CURRENT_LIST_DIR}/store_rig.c)
target_include_directories(store_rig PUBLIC ${CMAKE_CURRENT_LIST_DIR}/..)
target_link_libraries(store_rig PUBLIC store testlib PkgConfig::SQLITE)

unit_test(NAME store_db SOURCES store_db_test.c LIBS store_rig)
unit_test(NAME store_outbox SOURCES store_outbox_test.c LIBS store_rig)
unit_test(NAME store_inbox SOURCES store_inbox_test.c LIBS store_rig)
unit_test(NAME store_chore SOURCES store_chore_test.c LIBS store_rig)
unit_test(NAME daemon_keeper SOURCES daemon_keeper_test.c LIBS store_rig daemon)
