# The qcow2 tests: one program a module. They need qemu-img and qemu-io.
add_library(qcow2_fixture STATIC ${CMAKE_CURRENT_LIST_DIR}/qcow2_content.c
                                 ${CMAKE_CURRENT_LIST_DIR}/qcow2_copy.c
                                 ${CMAKE_CURRENT_LIST_DIR}/qcow2_fixture.c)
target_link_libraries(qcow2_fixture PUBLIC qcow2 cmocka)

foreach(name IN ITEMS backing_name bitmap chain codec copy crypto data_file header hostile hostmap image
                      lock luks placement snapshot subcluster views writer)
  add_executable(test_qcow2_${name} ${CMAKE_CURRENT_LIST_DIR}/test_qcow2_${name}.c)
  target_link_libraries(test_qcow2_${name} PRIVATE qcow2_fixture)
  add_test(NAME unit-qcow2-${name} COMMAND test_qcow2_${name})
endforeach()
add_executable(test_base ${CMAKE_CURRENT_LIST_DIR}/test_base.c)
target_link_libraries(test_base PRIVATE qcow2_fixture)
add_test(NAME unit-base COMMAND test_base)
# These make streams that QEMU does not write.
target_link_libraries(test_qcow2_codec PRIVATE PkgConfig::ZLIB PkgConfig::ZSTD)

# The fuzz targets: with libFuzzer where that is wanted, else each corpus is replayed once.
set(fuzz_dir ${CMAKE_CURRENT_LIST_DIR}/../fuzz)
foreach(name IN ITEMS backing_name qcow2)
  add_executable(fuzz_${name} ${fuzz_dir}/fuzz_${name}.c)
  if(BYRE_FUZZ)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE ${fuzz_dir}/replay.c)
    string(REPLACE "_" "-" test ${name})
    add_test(NAME fuzz-${test}-corpus COMMAND fuzz_${name} ${fuzz_dir}/corpus/${name})
  endif()
  target_link_libraries(fuzz_${name} PRIVATE qcow2)
endforeach()
