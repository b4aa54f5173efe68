# The examples of the README (```cpp) and of the public headers (@code{.cpp}) are compiled and run.
# An example is a row of statements, or a whole program where it has a main. One that begins with
# "// compile only" wants what a test does not have, and is not run.
file(GLOB documents CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/README.md)
file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tapedeck/*.hpp)
list(APPEND documents ${headers})
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${documents})

# What the reader of an example takes for granted; in front of its own #include lines.
set(example_prelude
"#include <cassert>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <thread>
#include <tapedeck/tapedeck.hpp>
")

set(telemetry_words "snapshot_of|process_figures|StatPublisher|StatReader|MetricsServer|LayoutCollector|Phases|Recorder|Recording|advise|report_html|PeakWatch")

function(add_example name document line code)
  if(code MATCHES "metrics_text|MetricsServer|LayoutCollector" AND NOT TAPEDECK_PROMETHEUS)
    return()
  endif()
  set(place "#line ${line} \"${document}\"\n")
  if(code MATCHES "int main")
    set(program "${place}${code}")
  else()
    string(REGEX MATCHALL "#include [^\n]+\n" includes "${code}")
    if(code MATCHES "Weights|WarmJob|TensorView|huge_page_trial")
      list(APPEND includes "#include <tapedeck/weights.hpp>\n")
    endif()
    if(code MATCHES "${telemetry_words}")
      list(APPEND includes "#include <tapedeck/telemetry.hpp>\n")
    endif()
    if(code MATCHES "CudaDevice")
      list(APPEND includes "#include <tapedeck/gpu/cuda_device.hpp>\n")
    endif()
    string(REGEX REPLACE "#include [^\n]+" "" statements "${code}")
    list(JOIN includes "" includes)
    string(CONCAT program "${example_prelude}" "${includes}"
      "using namespace tapedeck;\nint main() {\n" "${place}" "${statements}" "}\n")
  endif()

  set(source ${CMAKE_CURRENT_BINARY_DIR}/examples/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "${program}" @ONLY)
  set(target tapedeck_example.${name})
  add_executable(${target} ${source})
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/examples)
  # What an example asserts holds in every build.
  target_compile_options(${target} PRIVATE -UNDEBUG)
  target_link_libraries(${target} PRIVATE tapedeck)
  if(code MATCHES "Weights|WarmJob|TensorView|huge_page_trial")
    target_link_libraries(${target} PRIVATE tapedeck_weights)
  endif()
  if(code MATCHES "${telemetry_words}")
    target_link_libraries(${target} PRIVATE tapedeck_telemetry)
  endif()
  if(code MATCHES "CudaDevice")
    target_link_libraries(${target} PRIVATE tapedeck_cuda)
  endif()
  if(TARGET tapedeck_spill AND code MATCHES "mimalloc_spill")
    target_link_libraries(${target} PRIVATE tapedeck_spill)
  endif()

  if(code MATCHES "^// compile only\n" OR (code MATCHES "model\\.bin" AND NOT TARGET tapedeck_cli))
    return()
  endif()
  add_test(NAME package.example.${name} COMMAND ${target}
    WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/examples)
  set_tests_properties(package.example.${name} PROPERTIES LABELS package TIMEOUT 60)
  if(code MATCHES "model\\.bin")
    set_tests_properties(package.example.${name} PROPERTIES FIXTURES_REQUIRED model.bin)
  endif()
endfunction()

function(add_examples document)
  file(READ ${document} text)
  if(document MATCHES "/include/tapedeck/(.+)\\.hpp$")
    string(REPLACE "/" "." name ${CMAKE_MATCH_1})
    string(REGEX REPLACE "\n */// ?" "\n" text "${text}")
    set(opening "\n@code{.cpp}\n")
    set(closing "\n@endcode")
  else()
    cmake_path(GET document STEM name)
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
      message(FATAL_ERROR "${document}:${line}: an example that does not end")
    endif()
    math(EXPR end "${end} + 1")
    string(SUBSTRING "${text}" 0 ${end} code)
    math(EXPR number "${number} + 1")
    add_example(${name}.${number} ${document} ${line} "${code}")

    string(FIND "${text}" "${opening}" begin)
  endwhile()
endfunction()

# The model that examples read.
if(TARGET tapedeck_cli)
  add_test(NAME package.example_model
    COMMAND tapedeck_cli make-model --dim 64 --layers 2 model.bin
    WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/examples)
  set_tests_properties(package.example_model PROPERTIES LABELS package FIXTURES_SETUP model.bin)
endif()

foreach(document IN LISTS documents)
  add_examples(${document})
endforeach()
