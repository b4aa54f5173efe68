# SPDX-License-Identifier: Apache-2.0
# Kernels in CUDA C++, compiled by nvcc if it is found. CMake's CUDA language is not enabled, because
# it is meant for programs that link the CUDA runtime, and nothing here links a CUDA library.
find_program(TAPEDECK_NVCC nvcc HINTS ${CUDAToolkit_BIN_DIR})
mark_as_advanced(TAPEDECK_NVCC)
if(NOT TAPEDECK_NVCC)
  message(STATUS "nvcc not found: targets with GPU kernels are left out")
  return()
endif()

# The kernels contain machine code for those of these architectures that the toolkit supports, and PTX
# for the newest of them, which the drivers of later devices compile.
set(TAPEDECK_KERNEL_ARCHITECTURES "80;90;100;120" CACHE STRING
  "Compute capabilities that kernels are compiled for, oldest first: 80 is 8.0")
set(TAPEDECK_KERNEL_CODE "")
execute_process(COMMAND ${TAPEDECK_NVCC} --list-gpu-arch OUTPUT_VARIABLE known)
foreach(architecture IN LISTS TAPEDECK_KERNEL_ARCHITECTURES)
  if(known MATCHES "compute_${architecture}\n")
    list(APPEND TAPEDECK_KERNEL_CODE -gencode arch=compute_${architecture},code=sm_${architecture})
    set(newest ${architecture})
  endif()
endforeach()
if(NOT newest)
  message(STATUS "${TAPEDECK_NVCC} supports none of the architectures"
    " ${TAPEDECK_KERNEL_ARCHITECTURES}: targets with GPU kernels are left out")
  set(TAPEDECK_NVCC OFF)
  return()
endif()
list(APPEND TAPEDECK_KERNEL_CODE -gencode arch=compute_${newest},code=compute_${newest})

# tapedeck_add_kernels(TARGET FILE.cu)
#
# Compiles the kernels of FILE.cu and embeds them in TARGET as `extern "C" const unsigned char FILE[]`,
# which a `KernelModule` loads. They may include those private headers that nvcc can compile.
function(tapedeck_add_kernels target source)
  cmake_path(GET source STEM name)
  cmake_path(ABSOLUTE_PATH source NORMALIZE)
  set(image ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
  add_custom_command(OUTPUT ${image}
    COMMAND ${TAPEDECK_NVCC} -fatbin -std=c++20 -lineinfo --Werror all-warnings
      -I ${PROJECT_SOURCE_DIR}/src -I ${PROJECT_SOURCE_DIR}/include
      ${TAPEDECK_KERNEL_CODE} -MD -MF ${image}.d -o ${image} ${source}
    DEPENDS ${source}
    DEPFILE ${image}.d
    COMMENT "Compiling the kernels ${name}"
    VERBATIM)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/kernels.cpp.in ${name}.cpp @ONLY)
  set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp
    PROPERTIES OBJECT_DEPENDS ${image})
  target_sources(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
endfunction()
