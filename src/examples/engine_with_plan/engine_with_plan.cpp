// SPDX-License-Identifier: Apache-2.0
// An engine with a plan: it knows what a model needs before it allocates any of it.
//
//   engine_with_plan MODEL     a GGUF, safetensors or llama2.c file

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <tapedeck/fit.hpp>
#include <tapedeck/model.hpp>
#include <tapedeck/tapedeck.hpp>
#include <tapedeck/weights.hpp>

using namespace tapedeck;

namespace {

constexpr int kTokens = 16;

// Prints the size of each tape, and what the planner had to assume.
void print_plan(const Plan& plan) {
  const Breakdown sums = plan.breakdown();
  std::cout << "weights " << to_iec(sums.weights.value()) << ", history " << to_iec(sums.history)
            << ", scratch " << to_iec(sums.scratch) << '\n';
  for (const std::string& warning : plan.warnings) std::cout << "assumed: " << warning << '\n';
}

// Stands for your forward pass. It reads the weights, computes in scratch, and writes one row of
// every cache that grows with the talk.
void compute_token(Layout& layout, Talk& talk) {
  const Region& first = layout.plan().weights.regions().front();
  const std::byte weight = layout.weights_at(first).front();
  const std::span<std::byte> hidden = layout.scratch().take<std::byte>(4096);
  hidden.front() = weight;

  const std::uint64_t token = talk.advance();
  for (const Region& cache : layout.plan().history.regions()) {
    if (cache.growth.bytes_per_token != 0) talk.row(cache, token).front() = hidden.front();
  }
}

// Returns false if the host cannot hold the model.
bool run(const char* path) {
  const PlanOptions options = {.total_context = 512};
  const Plan plan = make_plan(read_model(path), options);  // reads the file's header, no weights
  print_plan(plan);

  const HostBudget budget = host_budget();
  if (plan.breakdown().total.value() > budget.available) {
    std::cerr << "this host has only " << to_iec(budget.available) << " left (" << budget.limit
              << ")\n";
    return false;
  }

  Layout layout = Layout::open(
      path,
      {.plan = options, .layout = {.commit = Commit::with_talks, .extra = {.scratch = 64_KiB}}});
  Talk talk = layout.talk(0);
  talk.prepare(kTokens);  // system calls happen here, between two passes
  for (int token = 0; token < kTokens; ++token) {
    compute_token(layout, talk);
    layout.clear_pass();
  }
  std::cout << layout.stat() << '\n';
  layout.clear_talk();
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: engine_with_plan MODEL\n";
    return 2;
  }
  try {
    return run(argv[1]) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
