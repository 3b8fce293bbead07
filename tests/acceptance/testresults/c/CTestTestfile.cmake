# As CMake writes it: CTest needs no more.
add_test(passes "sh" "-c" "echo fine")
add_test(fails "sh" "-c" "echo 'expected <3> & got 2' >&2; exit 3")
add_test(skips "sh" "-c" "exit 77")
set_tests_properties(skips PROPERTIES SKIP_RETURN_CODE "77")
add_test(off "false")
set_tests_properties(off PROPERTIES DISABLED TRUE)
