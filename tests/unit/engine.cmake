# The engine's pure parts: one program a module.
add_executable(test_engine_policy ${CMAKE_CURRENT_LIST_DIR}/test_engine_policy.c)
target_link_libraries(test_engine_policy PRIVATE cmocka engine)
add_test(NAME unit-engine-policy COMMAND test_engine_policy)
