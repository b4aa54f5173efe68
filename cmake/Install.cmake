# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tapedeck)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ TYPE INCLUDE)

# Targets that may need other packages are in export sets of their own, so that finding Tapedeck does
# not mean finding mimalloc, liburing, prometheus-cpp or libmicrohttpd.
install(TARGETS tapedeck tapedeck_fit tapedeck_heap_hook tapedeck_llama_cpp tapedeck_model EXPORT tapedeckTargets)
install(EXPORT tapedeckTargets NAMESPACE tapedeck:: DESTINATION ${package_dir})
# May need liburing.
install(TARGETS tapedeck_weights EXPORT tapedeckWeightsTargets)
install(EXPORT tapedeckWeightsTargets NAMESPACE tapedeck:: DESTINATION ${package_dir})
# A program that uses no GPU does not load it.
install(TARGETS tapedeck_cuda EXPORT tapedeckCudaTargets)
install(EXPORT tapedeckCudaTargets NAMESPACE tapedeck:: DESTINATION ${package_dir})
# May need prometheus-cpp and libmicrohttpd.
install(TARGETS tapedeck_telemetry EXPORT tapedeckTelemetryTargets)
install(EXPORT tapedeckTelemetryTargets NAMESPACE tapedeck:: DESTINATION ${package_dir})
if(TARGET tapedeck_spill)
  install(TARGETS tapedeck_spill EXPORT tapedeckSpillTargets)
  install(EXPORT tapedeckSpillTargets NAMESPACE tapedeck:: DESTINATION ${package_dir})
endif()
if(TARGET tapedeck_cli)
  install(TARGETS tapedeck_cli)
  get_target_property(generated tapedeck_cli TAPEDECK_GENERATED)
  if(generated)
    set(share ${CMAKE_INSTALL_DATADIR})
    install(DIRECTORY ${generated}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
    install(FILES ${generated}/tapedeck DESTINATION ${share}/bash-completion/completions)
    install(FILES ${generated}/_tapedeck DESTINATION ${share}/zsh/site-functions)
    install(FILES ${generated}/tapedeck.fish DESTINATION ${share}/fish/vendor_completions.d)
  endif()
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tapedeckConfig.cmake.in
  tapedeckConfig.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0, a minor version may break programs that link Tapedeck.
write_basic_package_version_file(tapedeckConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/tapedeckConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/tapedeckConfigVersion.cmake
  DESTINATION ${package_dir})

# Paths in the .pc files are relative to ${pcfiledir}, so an installed tree can be moved.
file(RELATIVE_PATH pc_to_include
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
set(pc_cflags $<TARGET_PROPERTY:tapedeck,INTERFACE_COMPILE_DEFINITIONS>)
set(pc_cflags "$<$<BOOL:${pc_cflags}>: -D$<JOIN:${pc_cflags}, -D>>")

function(install_pc name)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${name}.pc.in @ONLY)
  file(GENERATE OUTPUT ${name}.pc INPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc.in)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${pkgconfig_dir})
endfunction()

install_pc(tapedeck)
install_pc(tapedeck-fit)
install_pc(tapedeck-heap-hook)
install_pc(tapedeck-llama-cpp)
install_pc(tapedeck-model)
set(pc_uring "$<$<BOOL:${TAPEDECK_LIBURING}>: -luring>")
install_pc(tapedeck-weights)
list(TRANSFORM CMAKE_DL_LIBS PREPEND " -l" OUTPUT_VARIABLE pc_dl)
install_pc(tapedeck-cuda)
set(pc_prometheus "$<$<BOOL:${TAPEDECK_PROMETHEUS}>:, prometheus-cpp-core, libmicrohttpd>")
install_pc(tapedeck-telemetry)
if(TARGET tapedeck_spill)
  install_pc(tapedeck-spill)
endif()
