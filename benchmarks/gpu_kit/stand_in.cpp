// SPDX-License-Identifier: Apache-2.0
// The kit's stand-in driver. Without a GPU the programs load it as libcuda.so.1. It computes the
// kernels of the decoder, of the tests and of the probe; all other kernels do nothing.
#include "device/stand_in/stand_in.hpp"

#include <cstdio>
#include <string>

#include "llama/host_kernels/compute.hpp"
#include "llama/host_kernels/llama_kernels.hpp"
// After compute.hpp, which defines the names that CUDA C++ has.
#include "device/on_gpu/graph_kernels.cu"
#include "gpu_kit/probe_kernels.cu"

namespace tapedeck::gpu_kit {
namespace {

// Addresses; pages are allocated when touched.
constexpr std::size_t kMemory = std::size_t{8} << 30;
constexpr std::size_t kOverhead = std::size_t{2} << 20;

/// Sets the driver up before a program calls it. At exit it prints which of CUDA's rules were
/// broken.
class StandIn {
 public:
  StandIn() {
    tests::stand_in::reset({.memory = kMemory, .overhead = kOverhead, .host_visible = true});
    tests::compute_llama_kernels();
    tests::compute("append_row", append_row);
    tests::compute("attend", attend);
    tests::compute("project", project);
    tests::compute("write_words", write_words);
    tests::compute("read_words", read_words);
    tests::compute("write_and_read", write_and_read);
    tests::compute("fill_rows", fill_rows);
    tests::compute("score_rows", score_rows);
  }
  ~StandIn() {
    for (const std::string& violation : tests::stand_in::violations()) {
      std::fprintf(stderr, "stand-in: %s\n", violation.c_str());
    }
  }
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;
};

const StandIn stand_in;

}  // namespace
}  // namespace tapedeck::gpu_kit
