# SPDX-License-Identifier: Apache-2.0
# Uses Tapedeck as other projects do: installs it, then builds a small program against the installed
# package. The program gets the flags of this build, because it could not link a sanitized library
# otherwise.
if(NOT TAPEDECK_INSTALL)
  return()
endif()

set(prefix ${CMAKE_CURRENT_BINARY_DIR}/prefix)
# Removes an older installation first, so that a file that is no longer installed is not found.
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
# project in the folder PROJECT against the installed package, and runs its program PROJECT.
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
      -DTAPEDECK_RED_ZONES=${TAPEDECK_RED_ZONES}
      ${arg_OPTIONS}
    --test-command ${project} ${arg_ARGUMENTS})
  # These tests take the longest, so they start first and run in parallel with many short ones. If they
  # started last, they would run alone.
  set_tests_properties(${name} PROPERTIES
    LABELS package
    FIXTURES_REQUIRED "${arg_FIXTURES}"
    COST 1000
    TIMEOUT 600)
endfunction()

find_package(PkgConfig REQUIRED)
foreach(way IN ITEMS find_package add_subdirectory pkg_config)
  # add_subdirectory compiles the whole library again, so it is tested once rather than with and without
  # the spill, and not with sanitizers, which would find nothing new in it.
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

# The reference decoder, which users may copy, needs only the installed package.
if(TARGET tapedeck_cli)
  set(model ${CMAKE_CURRENT_BINARY_DIR}/decoder_model.bin)
  add_dependencies(tapedeck_package_tests tapedeck_cli)
  add_test(NAME package.decoder_model COMMAND tapedeck_cli make-model --force --dim 64 --layers 2 ${model})
  set_tests_properties(package.decoder_model PROPERTIES
    LABELS package FIXTURES_SETUP decoder_model)
  add_consumer_test(package.decoder decoder ARGUMENTS ${model} FIXTURES decoder_model)
endif()

# A compiler below C++20 gets one error, which says so.
add_test(NAME package.cxx17 COMMAND ${CMAKE_CXX_COMPILER} -std=c++17 -fsyntax-only
  -I ${prefix}/${CMAKE_INSTALL_INCLUDEDIR} ${PROJECT_SOURCE_DIR}/src/examples/one_tape/one_tape.cpp)
set_tests_properties(package.cxx17 PROPERTIES
  LABELS package
  FIXTURES_REQUIRED tapedeck_prefix
  PASS_REGULAR_EXPRESSION "error: .*Tapedeck needs C\\+\\+20"
  FAIL_REGULAR_EXPRESSION "does not name|not declared|no member|expected")

# The examples, with warnings that users ask for, by both compilers at each level of optimization:
# what GCC warns about depends on what it inlines. A sanitized library needs its own flags.
if(NOT TARGET tapedeck_cli OR CMAKE_CXX_FLAGS MATCHES "-fsanitize")
  return()
endif()
set(compilers ${CMAKE_CXX_COMPILER})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(TAPEDECK_CLANGXX NAMES clang++-14 clang++)
  if(TAPEDECK_CLANGXX)
    list(APPEND compilers ${TAPEDECK_CLANGXX})
  else()
    message(STATUS "clang++ was not found; the examples are built only by ${CMAKE_CXX_COMPILER}")
  endif()
endif()
foreach(compiler IN LISTS compilers)
  cmake_path(GET compiler FILENAME compiler_name)
  foreach(level IN ITEMS 0 1 2 3)
    set(name package.examples.${compiler_name}.O${level})
    add_test(NAME ${name} COMMAND ${CMAKE_CTEST_COMMAND}
      --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/examples ${CMAKE_CURRENT_BINARY_DIR}/${name}
      --build-generator ${CMAKE_GENERATOR}
      --build-options
        --fresh
        -DCMAKE_CXX_COMPILER=${compiler}
        "-DCMAKE_CXX_FLAGS=-O${level} -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
        -DCMAKE_PREFIX_PATH=${prefix}
        -DTAPEDECK_SOURCE_DIR=${PROJECT_SOURCE_DIR}
        -DMODEL=${model}
      --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure)
    set_tests_properties(${name} PROPERTIES
      LABELS package FIXTURES_REQUIRED "tapedeck_prefix;decoder_model" COST 1000 TIMEOUT 600)
  endforeach()
endforeach()
