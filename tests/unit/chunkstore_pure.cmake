# The parts of chunkstore that need no repository: one program a module.
foreach(name IN ITEMS bytes chunker content fingerprint identify level placement pool rechunk
  rechunk_edges sample throttle tree)
  add_executable(test_cs_${name} ${CMAKE_CURRENT_LIST_DIR}/test_cs_${name}.c)
  target_include_directories(test_cs_${name} PRIVATE ${PROJECT_SOURCE_DIR}/chunkstore)
  target_link_libraries(test_cs_${name} PRIVATE cmocka byre_options)
  string(REPLACE _ - test ${name})
  add_test(NAME unit-cs-${test} COMMAND test_cs_${name})
endforeach()

foreach(name IN ITEMS bytes chunker content fingerprint identify level placement pool rechunk
  rechunk_edges sample throttle)
  target_link_libraries(test_cs_${name} PRIVATE chunkstore)
endforeach()
foreach(name IN ITEMS rechunk rechunk_edges)
  target_sources(test_cs_${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/rechunk_fixture.c)
endforeach()
# It holds the cuts against the other form of the same hash.
target_link_libraries(test_cs_chunker PRIVATE PkgConfig::XXHASH)
target_link_libraries(test_cs_identify PRIVATE Threads::Threads)
target_link_libraries(test_cs_pool PRIVATE Threads::Threads)
target_link_libraries(test_cs_sample PRIVATE m)

# Has a store of its own, which would clash with the library's.
target_include_directories(test_cs_tree PRIVATE ${PROJECT_SOURCE_DIR}/chunkstore/include)
foreach(name IN ITEMS bytes error tree_read tree_write)
  target_sources(test_cs_tree PRIVATE ${PROJECT_SOURCE_DIR}/chunkstore/${name}.c)
endforeach()
