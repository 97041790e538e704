# What byre reads of libvirt's XML and gives to it.
if(LIBVIRT_FOUND AND LIBXML2_FOUND)
  add_executable(test_live_domain_xml ${CMAKE_CURRENT_LIST_DIR}/test_live_domain_xml.c)
  target_link_libraries(test_live_domain_xml PRIVATE live cmocka)
  add_test(NAME unit-live-domain-xml COMMAND test_live_domain_xml)
endif()
