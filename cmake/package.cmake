# What is installed where, and the Debian package of it (hack/package). The paths are Debian's.
install(TARGETS berthd berth DESTINATION bin)
install(TARGETS berth-shim berth-unpack DESTINATION libexec/berth)
install(FILES config/berthd.service config/berth-stop-pods.service
        DESTINATION /lib/systemd/system)
foreach(slice berth berth- kubepods kubepods-)
  install(FILES config/pods-slice.conf DESTINATION /lib/systemd/system/${slice}.slice.d
          RENAME 10-berth.conf)
endforeach()
install(FILES packaging/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME berth.conf)
install(FILES config/berth.toml DESTINATION /etc/berth RENAME config.toml)
install(DIRECTORY DESTINATION /etc/berth/conf.d)
install(FILES config/apparmor/berth-default DESTINATION /etc/apparmor.d)
install(FILES config/seccomp_default.json DESTINATION share/berth RENAME seccomp-default.json)
install(FILES config/10-berth-bridge.conflist DESTINATION share/doc/berth/examples)
install(FILES README.md DESTINATION share/doc/berth)
install(DIRECTORY docs/ DESTINATION share/doc/berth/docs)
install(FILES packaging/debian/copyright DESTINATION share/doc/berth)
install(FILES packaging/lintian-overrides DESTINATION share/lintian/overrides RENAME berth)
# Made by the programs themselves, so that they cannot tell anything else.
install(CODE "
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/packaging/make-pages
    ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share
    COMMAND_ERROR_IS_FATAL ANY)")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME berth)
set(CPACK_PACKAGE_VENDOR "the Berth maintainers")
set(CPACK_PACKAGE_CONTACT "Berth maintainers <maintainers@berth.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Kubernetes node runtime")
set(CPACK_PACKAGE_DESCRIPTION "A daemon that takes pods over the Container Runtime Interface (CRI v1),
pulls their images and runs each container under a small process of its own.
Containers go on while the daemon is restarted or upgraded.")
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd, init-system-helpers (>= 1.52)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "containernetworking-plugins, iptables, ca-certificates, apparmor")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "runc, crun")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/packaging/debian/conffiles ${CMAKE_SOURCE_DIR}/packaging/debian/postinst
    ${CMAKE_SOURCE_DIR}/packaging/debian/prerm ${CMAKE_SOURCE_DIR}/packaging/debian/postrm)
include(CPack)
