# SPDX-License-Identifier: Apache-2.0
# Runs the tests of graphs under compute-sanitizer, which must report nothing. Then runs a kernel that
# writes past the end of its memory, which compute-sanitizer must report.
execute_process(COMMAND ${PROGRAM} --gtest_filter=GraphOnGpu.None OUTPUT_VARIABLE output)
if(output MATCHES "SKIPPED +\\] ([^\n]*)")
  message("skipped: ${CMAKE_MATCH_1}")
  return()
endif()

function(run_sanitizer result report)
  execute_process(COMMAND ${SANITIZER} --error-exitcode 1 ${PROGRAM} ${ARGN}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE code)
  set(${result} ${code} PARENT_SCOPE)
  set(${report} "${output}" PARENT_SCOPE)
endfunction()

run_sanitizer(code report --gtest_filter=GraphOnGpu.*)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "compute-sanitizer reports:\n${report}")
endif()
run_sanitizer(code report
  --gtest_also_run_disabled_tests --gtest_filter=GraphOnGpu.DISABLED_WritesBehindItsMemory)
if(code EQUAL 0 OR NOT report MATCHES "Invalid __global__ write")
  message(FATAL_ERROR "compute-sanitizer did not report a write past the end of memory:\n${report}")
endif()
