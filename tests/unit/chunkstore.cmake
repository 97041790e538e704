# The parts of chunkstore that need a repository, and the codecs of its files: one program a module.
add_library(cs_fixture STATIC ${CMAKE_CURRENT_LIST_DIR}/cs_fixture.c)
target_include_directories(cs_fixture PUBLIC ${PROJECT_SOURCE_DIR}/chunkstore
                                             ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(cs_fixture PUBLIC chunkstore cmocka byre_options)

foreach(name IN ITEMS
  backend check check_object config crypt faults fetch forget head keys level log merge pack pending prune prune_races recovery
  region repair repair_log segment slot state stats writer)
  add_executable(test_cs_store_${name} ${CMAKE_CURRENT_LIST_DIR}/test_cs_store_${name}.c)
  target_link_libraries(test_cs_store_${name} PRIVATE cs_fixture)
  add_test(NAME unit-cs-store-${name} COMMAND test_cs_store_${name})
endforeach()

add_executable(test_cs_subtree ${CMAKE_CURRENT_LIST_DIR}/test_cs_subtree.c)
target_link_libraries(test_cs_subtree PRIVATE cs_fixture)
add_test(NAME unit-cs-subtree COMMAND test_cs_subtree)

foreach(name IN ITEMS fetch prune prune_races repair)
  target_sources(test_cs_store_${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/cs_prune_fixture.c)
endforeach()

# It has a clock of its own.
target_link_options(test_cs_store_level PRIVATE -Wl,--wrap=clock_gettime -Wl,--wrap=ZSTD_compress2)
target_link_libraries(test_cs_store_level PRIVATE PkgConfig::ZSTD)

# To be run by hand.
foreach(name IN ITEMS index prune)
  add_executable(measure_cs_${name} ${CMAKE_CURRENT_LIST_DIR}/measure_cs_${name}.c)
  target_link_libraries(measure_cs_${name} PRIVATE cs_fixture)
endforeach()
