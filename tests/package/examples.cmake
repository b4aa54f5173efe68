# SPDX-License-Identifier: Apache-2.0
# Compiles and runs the examples in the README, in the chapters of the manual (```cpp) and in the public
# headers (@code{.cpp}). Each becomes a test; each folder becomes one source. An example is a sequence
# of statements. One that begins with "// compile only" needs something that a test does not have, and
# is not run.
file(GLOB documents CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/src/manual/*.md)
file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tapedeck/*/*.hpp)
list(APPEND documents ${headers})
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${documents})

# The includes that the examples leave out.
set(example_prelude
"#include <gtest/gtest.h>
#include <cassert>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <thread>
#include <tapedeck/tapedeck.hpp>
#include <tapedeck/device/cuda_device.hpp>
#include <tapedeck/device/cuda_launch.hpp>
#include <tapedeck/fit.hpp>
#include <tapedeck/llama_cpp.hpp>
#include <tapedeck/model.hpp>
#include <tapedeck/telemetry.hpp>
#include <tapedeck/weights.hpp>
")

# add_example(SUITE NUMBER DOCUMENT LINE CODE): appends a test to the variable tests_SUITE, and the
# #include lines of the example to includes_SUITE.
function(add_example suite number document line code)
  cmake_path(GET document STEM stem)
  cmake_path(RELATIVE_PATH document BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE place)
  string(REGEX MATCHALL "#include [^\n]+\n" lines "${code}")
  string(APPEND includes_${suite} ${lines})
  string(REGEX REPLACE "#include [^\n]+" "" statements "${code}")
  # Like main(), it returns 0 unless the example returns something else.
  set(name ${stem}_${number})
  string(APPEND tests_${suite}
    "\n[[maybe_unused]] int ${name}() {\n#line ${line} \"${place}\"\n${statements}return 0;\n}\n")
  if(NOT code MATCHES "^// compile only\n")
    string(APPEND tests_${suite} "TEST(${suite}, ${name}) { EXPECT_EQ(${name}(), 0); }\n")
  endif()
  set(includes_${suite} "${includes_${suite}}" PARENT_SCOPE)
  set(tests_${suite} "${tests_${suite}}" PARENT_SCOPE)
endfunction()

# add_examples(DOCUMENT): adds the examples of a document. The suite of a header is its folder. The
# spill replaces malloc in the program that links it, so its example has its own suite and program.
function(add_examples document)
  file(READ ${document} text)
  cmake_path(GET document PARENT_PATH folder)
  cmake_path(GET folder FILENAME suite)
  if(document MATCHES "/mimalloc_spill\\.hpp$")
    set(suite spill)
  endif()
  if(document MATCHES "\\.hpp$")
    string(REGEX REPLACE "\n */// ?" "\n" text "${text}")
    set(opening "\n@code{.cpp}\n")
    set(closing "\n@endcode")
  else()
    if(NOT suite STREQUAL "manual")
      set(suite readme)
    endif()
    set(opening "\n```cpp\n")
    set(closing "\n```")
  endif()

  string(LENGTH "${opening}" opening_length)
  set(line 1)
  set(number 0)
  string(FIND "${text}" "${opening}" begin)
  while(begin GREATER_EQUAL 0)
    math(EXPR begin "${begin} + ${opening_length}")
    string(SUBSTRING "${text}" 0 ${begin} before)
    string(SUBSTRING "${text}" ${begin} -1 text)
    string(REGEX MATCHALL "\n" newlines "${before}")
    list(LENGTH newlines newlines)
    math(EXPR line "${line} + ${newlines}")

    string(FIND "${text}" "${closing}" end)
    if(end LESS 0)
      message(FATAL_ERROR "${document}:${line}: this example has no end")
    endif()
    math(EXPR end "${end} + 1")
    string(SUBSTRING "${text}" 0 ${end} code)
    math(EXPR number "${number} + 1")
    # Features that the build leaves out are declared nevertheless, and throw at run time, so their
    # examples compile. Examples of metrics need prometheus-cpp.
    if(TAPEDECK_PROMETHEUS OR NOT code MATCHES "metrics_text|MetricsServer|LayoutCollector")
      add_example(${suite} ${number} ${document} ${line} "${code}")
    endif()

    string(FIND "${text}" "${opening}" begin)
  endwhile()
  set(tests_${suite} "${tests_${suite}}" PARENT_SCOPE)
  set(includes_${suite} "${includes_${suite}}" PARENT_SCOPE)
endfunction()

# add_example_program(NAME SUITES ... [LIBRARIES ...]): builds tapedeck_NAME_examples from these suites.
function(add_example_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SUITES;LIBRARIES")
  set(target tapedeck_${name}_examples)
  set(sources)
  foreach(suite IN LISTS arg_SUITES)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}/${suite}.cpp)
    file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "${example_prelude}${includes_${suite}}
using namespace tapedeck;
namespace {
${tests_${suite}}
}
")
    list(APPEND sources ${source})
  endforeach()
  add_executable(${target} ${sources})
  tapedeck_in_group(${target} package)
  # The assertions of the examples are checked in every build.
  target_compile_options(${target} PRIVATE ${tapedeck_test_options} -UNDEBUG)
  target_link_libraries(${target} PRIVATE
    tapedeck tapedeck_model tapedeck_fit tapedeck_llama_cpp tapedeck_weights tapedeck_telemetry
    tapedeck_cuda ${arg_LIBRARIES} GTest::gmock_main)
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  target_precompile_headers(${target} PRIVATE <gtest/gtest.h> <tapedeck/tapedeck.hpp>)
  add_test(NAME package.${name}_examples
    COMMAND ${target} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${target})
  set_tests_properties(package.${name}_examples PROPERTIES
    LABELS package TIMEOUT 120 FIXTURES_REQUIRED ${name}_model)
  # The model file that the examples read.
  if(TARGET tapedeck_cli)
    add_test(NAME package.${name}_model
      COMMAND tapedeck_cli make-model --force --dim 64 --layers 2 model.bin
      WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${target})
    set_tests_properties(package.${name}_model PROPERTIES LABELS package FIXTURES_SETUP ${name}_model)
  endif()
endfunction()

foreach(document IN LISTS documents)
  add_examples(${document})
endforeach()
set(suites readme manual)
foreach(header IN LISTS headers)
  cmake_path(GET header PARENT_PATH folder)
  cmake_path(GET folder FILENAME suite)
  list(APPEND suites ${suite})
endforeach()
list(REMOVE_DUPLICATES suites)
add_example_program(all SUITES ${suites})
if(TARGET tapedeck_spill)
  add_example_program(spill SUITES spill LIBRARIES tapedeck_spill)
endif()
