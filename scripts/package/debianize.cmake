# Makes of what was installed, before it is packed, what Debian's policy asks for.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(usr ${root}/usr)
set(doc ${usr}/share/doc/byre)

file(COPY ${CPACK_BYRE_DEBIAN}/copyright DESTINATION ${doc}
     FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(REMOVE ${doc}/LICENSE) # copyright has it
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
configure_file(${CPACK_BYRE_DEBIAN}/changelog ${doc}/changelog.Debian COPYONLY)

file(MAKE_DIRECTORY ${usr}/share/zsh/vendor-completions)
file(RENAME ${usr}/share/zsh/site-functions/_byre ${usr}/share/zsh/vendor-completions/_byre)
file(REMOVE_RECURSE ${usr}/share/zsh/site-functions)

file(GLOB texts ${usr}/share/man/man*/* ${doc}/changelog ${doc}/changelog.Debian)
execute_process(COMMAND gzip -9n ${texts} COMMAND_ERROR_IS_FATAL ANY)

# All times are the release's, so that two builds make the same package.
execute_process(COMMAND find ${root} -exec touch -h -d @$ENV{SOURCE_DATE_EPOCH} {} +
                COMMAND_ERROR_IS_FATAL ANY)
