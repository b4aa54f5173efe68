# SPDX-License-Identifier: Apache-2.0
# Checks that every public header compiles on its own, with Tapedeck's warnings. Each header becomes a
# source of an object library, so building the library is the test.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/tapedeck/*.hpp)
# These headers include CCCL and prometheus-cpp. Their own tests compile them if those are installed.
list(REMOVE_ITEM headers tapedeck/device/cuda_resource.hpp tapedeck/telemetry/metrics/collector.hpp)

# Headers that an engine inlines into its loop must compile without exceptions and RTTI, because the
# engine may be built so.
set(hot_headers
  tapedeck/base/abi.hpp
  tapedeck/base/bytes.hpp
  tapedeck/memory/checking.hpp
  tapedeck/memory/shared_tape.hpp
  tapedeck/memory/tape.hpp
  tapedeck/memory/tape_scope.hpp)

function(add_header_test target)
  foreach(header IN LISTS ARGN)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}/${header}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n")
    list(APPEND sources ${source})
  endforeach()
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${sources})
  add_dependencies(tapedeck_package_tests ${target})
  target_link_libraries(${target} PRIVATE tapedeck tapedeck_warnings)
  target_compile_options(${target} PRIVATE ${tapedeck_test_options})
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
endfunction()

add_header_test(tapedeck_headers_alone ${headers})
add_header_test(tapedeck_hot_headers_alone ${hot_headers})
target_compile_options(tapedeck_hot_headers_alone PRIVATE -fno-exceptions -fno-rtti)
