# SPDX-License-Identifier: Apache-2.0
# Checks that code for the host is not copied for devices: no source for devices may share 12
# consecutive lines with a source for the host. Blank lines, braces and includes are ignored, and
# `DeviceTape` counts as `Tape`.
#   cmake -DROOT=checkout -DSCRATCH=folder -P host_and_device.cmake
cmake_minimum_required(VERSION 3.25)

set(run_length 12)

# Reads the lines of FILE that count into a list. Characters that are special in CMake lists are
# replaced.
function(read_lines file out)
  file(READ ${file} text)
  string(REGEX REPLACE "\\[" "<" text "${text}")
  string(REGEX REPLACE "\\]" ">" text "${text}")
  string(REPLACE ";" "," text "${text}")
  string(REPLACE "\\" "/" text "${text}")
  string(REGEX REPLACE "Device([A-Z])" "\\1" text "${text}")
  string(REPLACE "device_" "" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(lines)
  foreach(line IN LISTS text)
    string(STRIP "${line}" line)
    if(NOT line MATCHES "^(#[ ]*(include|pragma).*|[{}(),]*|}  // namespace.*)$")
      list(APPEND lines "${line}")
    endif()
  endforeach()
  set(${out} "${lines}" PARENT_SCOPE)
endfunction()

# Finds where such runs begin in the sources for devices, as "file: first line".
function(find_copies root out)
  file(GLOB device_files RELATIVE ${root}
    ${root}/src/device/*.?pp ${root}/include/tapedeck/device/*.hpp
    ${root}/src/layout/device_*.?pp ${root}/include/tapedeck/layout/device_*.hpp)
  file(GLOB host_files RELATIVE ${root}
    ${root}/src/memory/*.?pp ${root}/include/tapedeck/memory/*.hpp
    ${root}/src/layout/*.?pp ${root}/include/tapedeck/layout/*.hpp)
  list(REMOVE_ITEM host_files ${device_files})
  set(host)
  foreach(file IN LISTS host_files)
    read_lines(${root}/${file} lines)
    string(JOIN "\n" text ${lines})
    string(APPEND host "\n${text}\nend of ${file}\n")
  endforeach()
  set(copies)
  foreach(file IN LISTS device_files)
    read_lines(${root}/${file} lines)
    list(LENGTH lines left)
    while(NOT left LESS run_length)
      list(SUBLIST lines 0 ${run_length} run)
      string(JOIN "\n" text ${run})
      string(FIND "${host}" "\n${text}\n" at)
      list(POP_FRONT lines first)
      math(EXPR left "${left} - 1")
      if(NOT at EQUAL -1)
        list(APPEND copies "${file}: ${first}")
      endif()
    endwhile()
  endforeach()
  set(${out} "${copies}" PARENT_SCOPE)
endfunction()

# First, check this script itself: it must find a copy that was renamed and reformatted, and accept a
# shorter one.
file(REMOVE_RECURSE ${SCRATCH})
set(host)
set(device)
foreach(number RANGE 1 12)
  string(APPEND host "  Tape line_${number}(a[${number}], \"\\n\");\n")
  string(APPEND device "\n    DeviceTape line_${number}(a[${number}], \"\\n\");\n}\n#include <a>\n")
endforeach()
string(REPLACE "line_12" "other" shorter "${device}")
file(WRITE ${SCRATCH}/src/memory/planted.cpp "int before;\n${host}int after;\n")
file(WRITE ${SCRATCH}/src/device/planted.cpp "${device}")
file(WRITE ${SCRATCH}/src/layout/device_planted.hpp "${shorter}")
find_copies(${SCRATCH} copies)
if(NOT copies STREQUAL "src/device/planted.cpp: Tape line_1(a<1>, \"/n\"),")
  message(FATAL_ERROR "this test must find exactly the planted copy, but found: ${copies}")
endif()

find_copies(${ROOT} copies)
foreach(copy IN LISTS copies)
  message(SEND_ERROR "${run_length} lines that begin here are a copy of code for the host: ${copy}")
endforeach()
