# The fuzz targets, but for those of qcow2 (unit/qcow2.cmake): with libFuzzer where that is wanted, else
# each corpus is replayed once.
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/fuzz_*.c)
list(FILTER fuzz_sources EXCLUDE REGEX "/fuzz_(backing_name|qcow2)\\.c$")

foreach(source IN LISTS fuzz_sources)
  cmake_path(GET source STEM name)
  string(REPLACE "fuzz_" "" corpus ${name})
  string(REPLACE "_" "-" test ${name})
  add_executable(${name} ${source})
  if(BYRE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/replay.c)
    add_test(NAME ${test}-corpus COMMAND ${name} ${CMAKE_CURRENT_LIST_DIR}/corpus/${corpus})
  endif()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/chunkstore)
  target_link_libraries(${name} PRIVATE chunkstore byre_options)
endforeach()
