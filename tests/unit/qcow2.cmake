# The qcow2 tests: one program a module. They need qemu-img and qemu-io.
add_library(qcow2_fixture STATIC ${CMAKE_CURRENT_LIST_DIR}/qcow2_content.c
                                 ${CMAKE_CURRENT_LIST_DIR}/qcow2_fixture.c)
target_link_libraries(qcow2_fixture PUBLIC qcow2 cmocka)

foreach(name IN ITEMS chain codec header hostile hostmap image lock placement writer)
  add_executable(test_qcow2_${name} ${CMAKE_CURRENT_LIST_DIR}/test_qcow2_${name}.c)
  target_link_libraries(test_qcow2_${name} PRIVATE qcow2_fixture)
  add_test(NAME unit-qcow2-${name} COMMAND test_qcow2_${name})
endforeach()
add_executable(test_base ${CMAKE_CURRENT_LIST_DIR}/test_base.c)
target_link_libraries(test_base PRIVATE qcow2_fixture)
add_test(NAME unit-base COMMAND test_base)
# These make streams that QEMU does not write.
target_link_libraries(test_qcow2_codec PRIVATE PkgConfig::ZLIB PkgConfig::ZSTD)

# The fuzz target: with libFuzzer where that is wanted, else its corpus is replayed once.
set(fuzz_dir ${CMAKE_CURRENT_LIST_DIR}/../fuzz)
if(BYRE_FUZZ)
  add_executable(fuzz_qcow2 ${fuzz_dir}/fuzz_qcow2.c)
  target_link_options(fuzz_qcow2 PRIVATE -fsanitize=fuzzer)
else()
  add_executable(fuzz_qcow2 ${fuzz_dir}/fuzz_qcow2.c ${fuzz_dir}/replay.c)
  add_test(NAME fuzz-qcow2-corpus COMMAND fuzz_qcow2 ${fuzz_dir}/corpus/qcow2)
endif()
target_link_libraries(fuzz_qcow2 PRIVATE qcow2)
