# The command line's pure parts, one program a module.
foreach(name IN ITEMS complete conf exit_code metrics option picture progress secret suggest text units words)
  add_executable(test_cli_${name} ${CMAKE_CURRENT_LIST_DIR}/test_cli_${name}.c)
  target_link_libraries(test_cli_${name} PRIVATE cli cmocka)
  string(REPLACE "_" "-" dashed ${name})
  add_test(NAME unit-cli-${dashed} COMMAND test_cli_${name})
endforeach()
