# packages.cmake - every foreign library, found once. Each is fenced behind one room (scripts/check-layers).

find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
pkg_check_modules(UV       REQUIRED IMPORTED_TARGET libuv>=1.40)
pkg_check_modules(RABBITMQ REQUIRED IMPORTED_TARGET librabbitmq>=0.11)
pkg_check_modules(SQLITE   REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(JANSSON  REQUIRED IMPORTED_TARGET jansson>=2.13)  # tests: what another reader says
pkg_check_modules(YAML     REQUIRED IMPORTED_TARGET yaml-0.1>=0.2)
