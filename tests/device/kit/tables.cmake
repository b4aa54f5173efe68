# SPDX-License-Identifier: Apache-2.0
# table.py must print expected.md for the sample results, and fail for a folder without results.
execute_process(COMMAND ${PYTHON} ${TABLE} ${HERE}/sample
  OUTPUT_VARIABLE printed RESULT_VARIABLE code)
file(READ ${HERE}/expected.md expected)
if(NOT code EQUAL 0 OR NOT printed STREQUAL expected)
  message(FATAL_ERROR "table.py exited with ${code}; it must print expected.md, but printed:\n${printed}")
endif()
execute_process(COMMAND ${PYTHON} ${TABLE} ${HERE} RESULT_VARIABLE code ERROR_VARIABLE message)
if(NOT code EQUAL 1)
  message(FATAL_ERROR "table.py must exit with 1 for a folder without results, but exited with ${code}: ${message}")
endif()
