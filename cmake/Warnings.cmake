# SPDX-License-Identifier: Apache-2.0
# For Tapedeck's own targets only: a project that embeds it keeps its own warning flags.
add_library(tapedeck_warnings INTERFACE)
target_compile_options(tapedeck_warnings INTERFACE
  -Wall
  -Wextra
  -Wpedantic
  -Wcast-align
  -Wcast-qual
  -Wconversion
  -Wextra-semi
  -Wformat=2
  -Wimplicit-fallthrough
  -Wmissing-declarations
  -Wnon-virtual-dtor
  -Wold-style-cast
  -Woverloaded-virtual
  -Wshadow
  -Wsign-conversion
  -Wundef
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-branches -Wduplicated-cond -Wlogical-op>
  $<$<BOOL:${TAPEDECK_WERROR}>:-Werror>)
if(CMAKE_UNITY_BUILD)
  # In a unity build GCC treats each source as a header that the unity file includes, which causes
  # false warnings. The builds that compile each source on its own keep both warnings.
  target_compile_options(tapedeck_warnings INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-shadow -Wno-subobject-linkage>)
endif()
