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

# add_consumer_test(NAME PROJECT [OPTIONS -DA=B ...] [ARGUMENTS ...] [FIXTURES ...]): builds the
# project in this folder against the installed package, and runs its program of that name.
function(add_consumer_test name project)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "OPTIONS;ARGUMENTS;FIXTURES")
  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  list(APPEND arg_FIXTURES tapedeck_prefix)
  add_test(NAME ${name} COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/${project} ${CMAKE_CURRENT_BINARY_DIR}/${name}
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
      ${arg_OPTIONS}
    --test-command ${project} ${arg_ARGUMENTS})
  # They take longest, so they go first, beside many short ones; at the end they would run alone.
  set_tests_properties(${name} PROPERTIES
    LABELS package
    FIXTURES_REQUIRED "${arg_FIXTURES}"
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
    add_consumer_test(package.${way} consumer OPTIONS -DWAY=${way} -DSPILL=OFF)
  endif()
  if(TARGET tapedeck_spill)
    add_consumer_test(package.${way}.spill consumer OPTIONS -DWAY=${way} -DSPILL=ON)
  endif()
endforeach()

# A mistyped component is refused with a list of those that exist, before any target is imported, so
# a script can check it. CMake wraps the lines of the message. A semicolon would split the pattern.
string(REPLACE " " "[ \n]+" refusal "tapedeck has no component 'telemtry'. its components are \
cuda, fit, heap_hook, llama_cpp, model, spill, telemetry, weights\\.")
add_test(NAME package.unknown_component
  COMMAND ${CMAKE_COMMAND} -D tapedeck_DIR=${prefix}/${CMAKE_INSTALL_LIBDIR}/cmake/tapedeck
    -P ${CMAKE_CURRENT_SOURCE_DIR}/unknown_component.cmake)
set_tests_properties(package.unknown_component PROPERTIES
  LABELS package
  FIXTURES_REQUIRED tapedeck_prefix
  PASS_REGULAR_EXPRESSION "${refusal}")

# The reference decoder, which users copy, needs nothing but the package.
if(TARGET tapedeck_cli)
  set(model ${CMAKE_CURRENT_BINARY_DIR}/decoder_model.bin)
  add_dependencies(tapedeck_package_tests tapedeck_cli)
  add_test(NAME package.decoder_model COMMAND tapedeck_cli make-model --dim 64 --layers 2 ${model})
  set_tests_properties(package.decoder_model PROPERTIES
    LABELS package FIXTURES_SETUP decoder_model)
  add_consumer_test(package.decoder decoder ARGUMENTS ${model} FIXTURES decoder_model)
endif()
