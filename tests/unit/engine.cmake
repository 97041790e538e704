# The engine's modules that have no command of their own: one program each. They need qemu-img and
# qemu-io, or repositories or records that no backup makes.
foreach(name IN ITEMS check copy_memo dirty_bits forgotten gather parent policy record)
  add_executable(test_engine_${name} ${CMAKE_CURRENT_LIST_DIR}/test_engine_${name}.c)
  target_link_libraries(test_engine_${name} PRIVATE engine cs_fixture qcow2_fixture)
  string(REPLACE "_" "-" dashed ${name})
  add_test(NAME unit-engine-${dashed} COMMAND test_engine_${name})
endforeach()

# Clocks that are wrong.
add_executable(test_engine_clock ${CMAKE_CURRENT_LIST_DIR}/test_engine_clock.c
                                 ${CMAKE_CURRENT_LIST_DIR}/cs_prune_fixture.c)
target_link_libraries(test_engine_clock PRIVATE engine cs_fixture)
target_link_options(test_engine_clock PRIVATE -Wl,--wrap=time -Wl,--wrap=clock_gettime)
add_test(NAME unit-engine-clock COMMAND test_engine_clock)
