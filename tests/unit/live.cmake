# Connections to machines, against servers that say what the test wants.
add_library(live_fixture STATIC ${CMAKE_CURRENT_LIST_DIR}/live_fixture.c)
target_include_directories(live_fixture PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(live_fixture PUBLIC live cmocka Threads::Threads)
foreach(name IN ITEMS agent guard qmp)
  add_executable(test_live_${name} ${CMAKE_CURRENT_LIST_DIR}/test_live_${name}.c)
  target_link_libraries(test_live_${name} PRIVATE live_fixture)
  add_test(NAME unit-live-${name} COMMAND test_live_${name})
endforeach()

# What is pure: the journal, and which disks can be frozen.
foreach(name IN ITEMS journal plan)
  add_executable(test_live_${name} ${CMAKE_CURRENT_LIST_DIR}/test_live_${name}.c)
  target_link_libraries(test_live_${name} PRIVATE live cmocka)
  add_test(NAME unit-live-${name} COMMAND test_live_${name})
endforeach()
