# SPDX-License-Identifier: Apache-2.0
# Counts the instructions of a take, as the difference between two runs, which excludes start-up.
set(takes_per_token 200)
set(most 15)

find_program(valgrind valgrind)
if(NOT valgrind)
  message("skipped: valgrind is not installed")
  return()
endif()

function(count_instructions result program tokens)
  execute_process(
    COMMAND ${valgrind} --tool=callgrind --callgrind-out-file=/dev/null ${program} ${tokens}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE code)
  if(NOT code EQUAL 0 OR NOT output MATCHES "Collected : ([0-9]+)")
    message(FATAL_ERROR "callgrind failed on ${program}:\n${output}")
  endif()
  set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

# Counts in thousandths, since CMake only has integers.
function(count_per_take result program)
  count_instructions(few ${program} 100)
  count_instructions(many ${program} 1100)
  math(EXPR thousandths "(${many} - ${few}) / ${takes_per_token}")
  message("${program}: ${thousandths} / 1000 instructions per take")
  set(${result} ${thousandths} PARENT_SCOPE)
endfunction()

math(EXPR limit "${most} * 1000")
count_per_take(ours ${PROGRAM})
if(ours GREATER limit)
  message(FATAL_ERROR "a take on the token trace exceeds ${most} instructions")
endif()
count_per_take(mutant ${MUTANT})
if(NOT mutant GREATER limit)
  message(FATAL_ERROR "the test would not notice three additional instructions")
endif()
