# SPDX-License-Identifier: Apache-2.0
# Deliberate bugs. A mutant is a test program compiled with one additional definition, which puts a bug
# into a header or source. The output of the test must match CAUGHT, which shows that it found the bug.

# tapedeck_add_mutant(NAME DEFINITION name SOURCES ... [LIBRARIES ...] [FILTER filter] CAUGHT regex)
function(tapedeck_add_mutant name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DEFINITION;FILTER;CAUGHT" "SOURCES;LIBRARIES")
  set(target tapedeck_${name})
  add_executable(${target} ${arg_SOURCES})
  tapedeck_in_group(${target} mutants)
  target_compile_definitions(${target} PRIVATE ${arg_DEFINITION})
  target_compile_options(${target} PRIVATE ${tapedeck_test_options})
  target_include_directories(${target}
    PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target}
    PRIVATE ${arg_LIBRARIES} tapedeck tapedeck_warnings GTest::gmock_main)
  tapedeck_test_mutant(${name} ${target} "${arg_FILTER}" "${arg_CAUGHT}")
endfunction()

# tapedeck_test_mutant(NAME TARGET FILTER CAUGHT)
function(tapedeck_test_mutant name target filter caught)
  add_test(NAME mutants.${name} COMMAND ${target} --gtest_filter=${filter}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(mutants.${name} PROPERTIES
    LABELS mutants TIMEOUT 120 PASS_REGULAR_EXPRESSION "${caught}"
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endfunction()

# A tape that stores or loads in the wrong order. The test finds it without threads.
tapedeck_add_mutant(peak_forgotten_first
  DEFINITION TAPEDECK_MUTANT_NEW_WATCH_FIRST
  SOURCES memory/tape_interleaving_test.cpp
  FILTER TapeInterleaving/Host.*
  CAUGHT "the peak went down")
tapedeck_test_mutant(device_peak_forgotten_first
  tapedeck_peak_forgotten_first TapeInterleaving/Device.* "the peak went down")
tapedeck_add_mutant(former_peak_read_first
  DEFINITION TAPEDECK_MUTANT_FORMER_PEAK_FIRST
  SOURCES memory/tape_interleaving_test.cpp
  FILTER TapeInterleaving/Host.*
  CAUGHT "the peak went down")
tapedeck_test_mutant(device_former_peak_read_first
  tapedeck_former_peak_read_first TapeInterleaving/Device.* "the peak went down")

# A publisher that does not mark the record while it writes it.
tapedeck_add_mutant(never_odd
  DEFINITION TAPEDECK_MUTANT_NEVER_ODD
  SOURCES telemetry/live/stat_interleaving_test.cpp
  LIBRARIES tapedeck_telemetry
  FILTER *
  CAUGHT "torn")
# A reader that does not check whether the record was written in the meantime.
tapedeck_add_mutant(looks_once
  DEFINITION TAPEDECK_MUTANT_LOOKS_ONCE
  SOURCES telemetry/live/stat_interleaving_test.cpp
  LIBRARIES tapedeck_telemetry
  FILTER *
  CAUGHT "torn")

# A job that reports a chunk as ready before it is in memory. The program compiles the job itself, so
# the linker takes none of it from the library.
tapedeck_add_mutant(ready_too_early
  DEFINITION TAPEDECK_MUTANT_READY_TOO_EARLY
  SOURCES ${PROJECT_SOURCE_DIR}/src/weights/warm_job.cpp weights/server_test.cpp
  LIBRARIES tapedeck_weights
  FILTER *AtEachStep*/read:*AtEachStep*/direct
  CAUGHT "wrong_.*2 FAILED TESTS")
