# Whoever keeps the repository does to its files what he likes.
set(tamper_dir ${CMAKE_CURRENT_LIST_DIR})
add_executable(test_tamper ${tamper_dir}/test_tamper.c ${tamper_dir}/judge.c ${tamper_dir}/world.c
                           ${tamper_dir}/../crash/tree_files.c)
target_include_directories(test_tamper PRIVATE ${tamper_dir} ${tamper_dir}/../crash)
target_link_libraries(test_tamper PRIVATE engine cs_fixture qcow2_fixture)
if(NOT BYRE_SANITIZE) # sanitizers want all of the address space
  target_compile_definitions(test_tamper PRIVATE MEMORY_MAX=UINT64_C\(268435456\))
endif()
add_test(NAME tamper COMMAND test_tamper)
set_tests_properties(tamper PROPERTIES LABELS tamper TIMEOUT 600)
if(IS_DIRECTORY /dev/shm) # thousands of repositories are opened
  set_tests_properties(tamper PROPERTIES ENVIRONMENT TMPDIR=/dev/shm)
endif()
