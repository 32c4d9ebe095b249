# flags.cmake - one set of compiler flags for everything; a preset chooses the sanitizers.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
	set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

option(SALLYPORT_WERROR "treat warnings as errors" ON)
set(SALLYPORT_SANITIZE "" CACHE STRING "value for -fsanitize=, empty for none")

add_compile_definitions(_GNU_SOURCE)
add_compile_options(
	-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
	-Wformat=2 -Wvla -Wundef -Wwrite-strings -Wimplicit-fallthrough -Wswitch
	-fno-common -fstack-protector-strong -fno-omit-frame-pointer)
if(SALLYPORT_WERROR)
	add_compile_options(-Werror)
endif()

if(SALLYPORT_SANITIZE)
	add_compile_options(-fsanitize=${SALLYPORT_SANITIZE} -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${SALLYPORT_SANITIZE})
else()
	add_compile_definitions($<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()

add_link_options(-Wl,-z,relro,-z,now)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
