# The tables of the sample results are those of expected.md; a folder without results is an error.
execute_process(COMMAND ${PYTHON} ${TABLE} ${HERE}/sample
  OUTPUT_VARIABLE printed RESULT_VARIABLE code)
file(READ ${HERE}/expected.md expected)
if(NOT code EQUAL 0 OR NOT printed STREQUAL expected)
  message(FATAL_ERROR "table.py ended with ${code} and printed:\n${printed}")
endif()
execute_process(COMMAND ${PYTHON} ${TABLE} ${HERE} RESULT_VARIABLE code ERROR_VARIABLE message)
if(NOT code EQUAL 1)
  message(FATAL_ERROR "table.py ended with ${code} for a folder without results: ${message}")
endif()
