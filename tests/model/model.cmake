# What may come between what: the store on a backend in memory, its actors one call at a time. The
# linker puts the backend, the clock, chance, and faults in their places.
if(NOT BYRE_SANITIZE MATCHES thread) # which does not know coroutines; there are no threads here
  set(model_dir ${CMAKE_CURRENT_LIST_DIR})
  add_executable(
    test_interleavings ${model_dir}/controls.c ${model_dir}/judge.c ${model_dir}/memory_backend.c
                       ${model_dir}/stand_ins.c ${model_dir}/test_interleavings.c ${model_dir}/walk.c
                       ${model_dir}/worlds.c)
  target_include_directories(test_interleavings PRIVATE ${model_dir})
  target_link_libraries(test_interleavings PRIVATE cs_fixture)
  foreach(call IN ITEMS cs_backend_local cs_log_append_if cs_log_checkpoint cs_reserve_append
                        cs_state_condemned crypto_generichash_blake2b_salt_personal
                        crypto_scalarmult crypto_scalarmult_base crypto_sign_detached
                        crypto_sign_seed_keypair crypto_sign_verify_detached randombytes_buf randombytes_uniform time)
    target_link_options(test_interleavings PRIVATE -Wl,--wrap=${call})
  endforeach()
  set(model_arguments)
  if(BYRE_SANITIZE) # a fork costs much then: part of each world, and no negative controls
    set(model_arguments --seconds 3)
  endif()
  add_test(NAME model-interleavings COMMAND test_interleavings ${model_arguments})
  set_tests_properties(model-interleavings PROPERTIES LABELS model TIMEOUT 600)
endif()
