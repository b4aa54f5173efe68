# What a stranger does with us: install, then build a small program against the result. It gets the
# flags of this build, because a sanitized library and a plain program do not link.
if(NOT TAPEDECK_INSTALL)
  return()
endif()

set(prefix ${CMAKE_CURRENT_BINARY_DIR}/prefix)
# Not over an older installation: a file that is no longer installed must not be found.
add_test(NAME package.clean COMMAND ${CMAKE_COMMAND} -E rm -rf ${prefix})
add_test(NAME package.install
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${prefix})
set_tests_properties(package.clean PROPERTIES
  LABELS package
  FIXTURES_SETUP tapedeck_clean_prefix)
set_tests_properties(package.install PROPERTIES
  LABELS package
  FIXTURES_REQUIRED tapedeck_clean_prefix
  FIXTURES_SETUP tapedeck_prefix)

# way: find_package, add_subdirectory or pkg_config; spill: whether the program links that too.
function(add_consumer_test way spill)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  set(name package.${way})
  if(spill)
    string(APPEND name .spill)
  endif()
  add_test(NAME ${name} COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/consumer ${CMAKE_CURRENT_BINARY_DIR}/${name}
    --build-generator ${CMAKE_GENERATOR}
    --build-options
      --fresh
      -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
      -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
      -DCMAKE_CXX_FLAGS=${CMAKE_CXX_FLAGS}
      -DCMAKE_CXX_FLAGS_${config}=${CMAKE_CXX_FLAGS_${config}}
      -DCMAKE_UNITY_BUILD=${CMAKE_UNITY_BUILD}
      -DCMAKE_UNITY_BUILD_BATCH_SIZE=${CMAKE_UNITY_BUILD_BATCH_SIZE}
      -DCMAKE_PREFIX_PATH=${prefix}
      -DBUILD_SHARED_LIBS=${BUILD_SHARED_LIBS}
      -DTAPEDECK_SOURCE_DIR=${PROJECT_SOURCE_DIR}
      -DTAPEDECK_VALGRIND=${TAPEDECK_VALGRIND}
      -DTAPEDECK_OWNER_CHECK=${TAPEDECK_OWNER_CHECK}
      -DWAY=${way}
      -DSPILL=${spill}
    --test-command consumer)
  # They take longest, so they go first, beside many short ones; at the end they would run alone.
  set_tests_properties(${name} PROPERTIES
    LABELS package
    FIXTURES_REQUIRED tapedeck_prefix
    COST 1000
    TIMEOUT 600)
endfunction()

find_package(PkgConfig REQUIRED)
foreach(way IN ITEMS find_package add_subdirectory pkg_config)
  # add_subdirectory builds all of the library once more: not twice, and not for a sanitizer, which
  # sees in it what it sees here.
  if(way STREQUAL "add_subdirectory" AND CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    continue()
  endif()
  if(NOT (way STREQUAL "add_subdirectory" AND TARGET tapedeck_spill))
    add_consumer_test(${way} OFF)
  endif()
  if(TARGET tapedeck_spill)
    add_consumer_test(${way} ON)
  endif()
endforeach()
