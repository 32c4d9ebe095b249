# bench.cmake - the programs that measure: sallyport-floor, sallyport-load, sallyport-compare.

add_library(bench STATIC
	${CMAKE_CURRENT_LIST_DIR}/arguments.c
	${CMAKE_CURRENT_LIST_DIR}/bench_amqp.c
	${CMAKE_CURRENT_LIST_DIR}/bench_http.c
	${CMAKE_CURRENT_LIST_DIR}/bench_plan.c
	${CMAKE_CURRENT_LIST_DIR}/figures.c
	${CMAKE_CURRENT_LIST_DIR}/floor_pair.c
	${CMAKE_CURRENT_LIST_DIR}/load_run.c
	${CMAKE_CURRENT_LIST_DIR}/picture.c)
target_include_directories(bench PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(bench PUBLIC base PkgConfig::RABBITMQ OpenSSL::SSL)

foreach(program floor load compare)
	add_executable(sallyport-${program} ${CMAKE_CURRENT_LIST_DIR}/${program}.c)
	target_link_libraries(sallyport-${program} PRIVATE bench)
endforeach()

# What the store costs, without anything around it.
add_executable(sallyport-store ${CMAKE_CURRENT_LIST_DIR}/store.c)
target_link_libraries(sallyport-store PRIVATE store)
