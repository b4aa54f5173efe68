# For our own targets only: a host that embeds us keeps its own taste in warnings.
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
  # GCC takes one source for a header of the next. The builds that keep sources apart ask.
  target_compile_options(tapedeck_warnings INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-shadow -Wno-subobject-linkage>)
endif()
