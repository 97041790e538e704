# What cmake --install puts where, below the prefix and DESTDIR.
set(scripts ${PROJECT_SOURCE_DIR}/scripts)
install(TARGETS byre RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# A page for each command; tests/cli/53-manual.sh says which are missing.
file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/byre*.1)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_SOURCE_DIR}/src/byre.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)

# Where each shell looks. Debian's zsh has a folder of its own, which the package takes.
install(FILES ${scripts}/completions/byre.bash RENAME byre
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${scripts}/completions/byre.zsh RENAME _byre
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${scripts}/completions/byre.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
              ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/chunkstore/FORMAT.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${scripts}/byre.conf.example ${scripts}/cron.example ${scripts}/systemd/keeper.conf
              ${scripts}/systemd/machine.conf
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# For byre drill --command.
install(PROGRAMS ${scripts}/boot-test.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/byre)

# systemd looks into lib, whatever LIBDIR is.
if(BYRE_SYSTEMD)
  install(FILES ${scripts}/systemd/byre@.service ${scripts}/systemd/byre@.timer
          DESTINATION lib/systemd/system)
endif()
