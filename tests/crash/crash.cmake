# Power cuts, failing calls and kills. The programs put themselves between the store and the C
# library, so that what reaches the disk is seen, and can be made to fail.
set(crash_dir ${CMAKE_CURRENT_LIST_DIR})
add_library(crash_fixture STATIC ${crash_dir}/calls.c ${crash_dir}/disk.c ${crash_dir}/tree_files.c
                                 ${crash_dir}/world.c ${crash_dir}/world_judge.c)
target_include_directories(crash_fixture PUBLIC ${crash_dir})
target_link_libraries(crash_fixture PUBLIC cs_fixture)
foreach(call IN ITEMS openat64 open64 close closedir readdir64 fstat64 fstatat64 pread64 write fsync
                      linkat renameat renameat2 unlinkat rmdir mkdirat mkdir)
  target_link_options(crash_fixture PUBLIC -Wl,--wrap=${call})
endforeach()

foreach(name IN ITEMS faults power_cut)
  add_executable(test_${name} ${crash_dir}/test_${name}.c)
  target_link_libraries(test_${name} PRIVATE crash_fixture)
  string(REPLACE "_" "-" dashed ${name})
  add_test(NAME crash-${dashed} COMMAND test_${name})
  set_tests_properties(crash-${dashed} PROPERTIES LABELS crash TIMEOUT 600)
  if(IS_DIRECTORY /dev/shm) # thousands of repositories are made and deleted
    set_tests_properties(crash-${dashed} PROPERTIES ENVIRONMENT TMPDIR=/dev/shm)
  endif()
endforeach()

add_test(NAME crash-kill COMMAND bash ${crash_dir}/kill.sh)
set_tests_properties(crash-kill PROPERTIES LABELS crash ENVIRONMENT "BYRE=$<TARGET_FILE:byre>"
                                           TIMEOUT 600)
