# SPDX-License-Identifier: Apache-2.0
# Checks the includes of include/ and src/ against the tables in this file. Fails with a line for each
# include that they do not allow.
#   cmake -DROOT=checkout -DSCRATCH=folder -P architecture.cmake
cmake_minimum_required(VERSION 3.25)

# The rooms whose headers a room may include in addition to its own. `public:ROOM` allows only the
# public headers of ROOM, `public` allows all public headers.
set(rooms base os memory device model plan layout fit engines weights telemetry llama cli)
set(base_may)
set(os_may base)
set(memory_may base os)
set(device_may base os memory)
set(model_may base os)
set(plan_may base os public:model)
set(layout_may base os memory device plan public:model)
set(fit_may base os model plan)
set(engines_may base model plan)
set(weights_may base os memory model public:layout)
set(telemetry_may base os layout)
set(llama_may public)
set(cli_may ${rooms} public)

# The rooms that may include the headers of each third-party library, and the headers for system calls.
# base/ uses nlohmann's only in a header that no source of the core includes.
set(users_of_nlohmann base model weights telemetry cli)
set(users_of_fmt cli)
set(users_of_CLI cli)
set(users_of_kainjow telemetry)
set(users_of_prometheus telemetry)
set(users_of_microhttpd.h telemetry)
set(users_of_nvtx3 telemetry)
set(users_of_cuda device)
set(users_of_sys os)
set(users_of_linux os)
set(users_of_unistd.h os)
set(users_of_fcntl.h os)
set(users_of_liburing.h os)
set(users_of_mimalloc.h memory)

# Sets OUT to whether FILE may include "HEADER". A header for a whole room (tapedeck/fit.hpp) counts as
# part of that room; tapedeck/tapedeck.hpp may include all of the core.
function(may_include file header out)
  set(${out} FALSE PARENT_SCOPE)
  string(REGEX MATCH "^(src|include/tapedeck)/([a-z_]+)([./])" unused ${file})
  set(tree ${CMAKE_MATCH_1})
  set(room ${CMAKE_MATCH_2})
  set(whole_room FALSE)
  if(CMAKE_MATCH_3 STREQUAL ".")
    set(whole_room TRUE)
  endif()
  string(REGEX MATCH "^(tapedeck/)?([a-z_]+)[./]" unused ${header})
  set(public "${CMAKE_MATCH_1}")
  set(owner ${CMAKE_MATCH_2})
  if(tree MATCHES "^include" AND NOT public)
    return()
  endif()
  if(room STREQUAL "llama_cpp")
    set(room engines)
  endif()
  if(whole_room AND room STREQUAL "tapedeck")
    set(allowed base memory device model plan layout)
  elseif(whole_room)
    set(allowed ${room})
  elseif(room IN_LIST rooms)
    set(allowed ${room} ${${room}_may})
  else()
    return()
  endif()
  if(owner IN_LIST allowed OR (public AND ("public:${owner}" IN_LIST allowed OR "public" IN_LIST allowed)))
    set(${out} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Sets OUT to whether FILE may include <HEADER>.
function(may_use file header out)
  set(${out} TRUE PARENT_SCOPE)
  string(REGEX REPLACE "/.*" "" library ${header})
  string(REGEX MATCH "^(src|include/tapedeck)/([a-z_]+)" unused ${file})
  if(DEFINED users_of_${library} AND NOT CMAKE_MATCH_2 IN_LIST users_of_${library})
    set(${out} FALSE PARENT_SCOPE)
  endif()
endfunction()

# Collects the includes in a tree that are not allowed, as "file header".
function(check_tree root out_faults)
  file(GLOB_RECURSE files RELATIVE ${root}
    ${root}/include/*.hpp ${root}/src/*.hpp ${root}/src/*.cpp ${root}/src/*.cu ${root}/src/*.hpp.in)
  set(faults)
  foreach(file IN LISTS files)
    file(STRINGS ${root}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(line IN LISTS lines)
      string(REGEX MATCH "([<\"])([^>\"]+)" unused "${line}")
      set(header ${CMAKE_MATCH_2})
      if(CMAKE_MATCH_1 STREQUAL "<")
        may_use(${file} ${header} allowed)
      else()
        may_include(${file} ${header} allowed)
      endif()
      if(NOT allowed)
        list(APPEND faults "${file} ${header}")
      endif()
    endforeach()
  endforeach()
  set(${out_faults} ${faults} PARENT_SCOPE)
endfunction()

# First, check this script itself: it must find all faults, and only them, in a tree that has one of
# each kind beside allowed includes.
file(REMOVE_RECURSE ${SCRATCH})
file(WRITE ${SCRATCH}/src/os/planted.cpp "#include \"os/vm.hpp\"\n  # include \"memory/x.hpp\"\n")
file(WRITE ${SCRATCH}/src/plan/planted.cpp
  "#include \"tapedeck/model/model.hpp\"\n#include \"model/figures.hpp\"\n#include <nlohmann/json.hpp>\n")
file(WRITE ${SCRATCH}/src/llama/planted.hpp "#include \"tapedeck/weights.hpp\"\n#include \"os/vm.hpp\"\n")
file(WRITE ${SCRATCH}/include/tapedeck/memory/planted.hpp
  "#include \"tapedeck/base/abi.hpp\"\n#include \"os/vm.hpp\"\n#include <unistd.h>\n")
file(WRITE ${SCRATCH}/include/tapedeck/tapedeck.hpp
  "#include \"tapedeck/plan/plan.hpp\"\n#include \"tapedeck/fit/fit.hpp\"\n")
file(WRITE ${SCRATCH}/include/tapedeck/nowhere/planted.hpp "#include \"tapedeck/base/abi.hpp\"\n")
check_tree(${SCRATCH} faults)
list(SORT faults)
set(planted
  "include/tapedeck/memory/planted.hpp os/vm.hpp"
  "include/tapedeck/memory/planted.hpp unistd.h"
  "include/tapedeck/nowhere/planted.hpp tapedeck/base/abi.hpp"
  "include/tapedeck/tapedeck.hpp tapedeck/fit/fit.hpp"
  "src/llama/planted.hpp os/vm.hpp"
  "src/os/planted.cpp memory/x.hpp"
  "src/plan/planted.cpp model/figures.hpp"
  "src/plan/planted.cpp nlohmann/json.hpp")
if(NOT faults STREQUAL planted)
  message(FATAL_ERROR "this test must find exactly the planted faults, but found: ${faults}")
endif()

check_tree(${ROOT} faults)
foreach(fault IN LISTS faults)
  message(SEND_ERROR "tests/architecture.cmake does not allow this include: ${fault}")
endforeach()
