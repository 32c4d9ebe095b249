# The checks of the tree, and the proof that they can fail.
foreach(check layers banned format)
	add_test(NAME check/${check} COMMAND ${PROJECT_SOURCE_DIR}/scripts/check-${check})
	add_test(NAME check/${check}-fails-when-it-should
		COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/checks-test.sh ${check})
	set_tests_properties(check/${check} check/${check}-fails-when-it-should
		PROPERTIES LABELS check TIMEOUT 120)
endforeach()
