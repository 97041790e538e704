# The Debian package: cpack -G DEB --config build/release/CPackConfig.cmake
set(BYRE_MAINTAINER "The byre authors <byre@byre.invalid>" CACHE STRING "Of the Debian package")
set(debian ${PROJECT_BINARY_DIR}/debian)
configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/changelog ${debian}/changelog @ONLY)
configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/copyright ${debian}/copyright COPYONLY)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME byre)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "backup of qcow2 disks, as they are")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/reproducible.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debianize.cmake)
set(CPACK_BYRE_DEBIAN ${debian})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${BYRE_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS qemu-utils)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS libvirt0) # for --domain; loaded where it is there
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "byre saves QEMU's qcow2 and raw disk images, whole chains of backing files,
into an encrypted, deduplicating repository, and brings them back as they
were: each layer of a chain with its own clusters, internal snapshots and
dirty bitmaps, at their old places.
.
What did not change is not read again. Archives are complete by
themselves, and expire by rules; a key that can back up need not be able
to read.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
                                       ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)
include(CPack)
