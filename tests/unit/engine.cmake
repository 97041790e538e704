# The engine, on repositories that no backup makes: one program a module.
add_executable(test_engine_check ${CMAKE_CURRENT_LIST_DIR}/test_engine_check.c)
target_link_libraries(test_engine_check PRIVATE cs_fixture engine)
add_test(NAME unit-engine-check COMMAND test_engine_check)

# And its pure parts.
add_executable(test_engine_policy ${CMAKE_CURRENT_LIST_DIR}/test_engine_policy.c)
target_link_libraries(test_engine_policy PRIVATE cmocka engine)
add_test(NAME unit-engine-policy COMMAND test_engine_policy)
