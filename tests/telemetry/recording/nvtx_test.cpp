// SPDX-License-Identifier: Apache-2.0
// What a profiler would receive about phases: this program listens like one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define NVTX_NO_IMPL  // only the types: the functions are the library's
#include <nvtx3/nvToolsExt.h>

#include <string>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::tests {
namespace {

thread_local std::vector<std::string> heard;

int NVTX_API heard_push(const char* name) {
  heard.emplace_back(name);
  return 0;
}
int NVTX_API heard_pop() {
  heard.emplace_back("pop");
  return 0;
}

int NVTX_API listen(NvtxGetExportTableFunc_t export_table) {
  const auto* const callbacks =
      static_cast<const NvtxExportTableCallbacks*>(export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned size = 0;
  if (callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &size) == 0) return 0;
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(&heard_push);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(&heard_pop);
  return 1;
}

}  // namespace
}  // namespace tapedeck::tests

// NVTX looks here for a listener that is linked in.
// NOLINTNEXTLINE(readability-identifier-naming)
NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr = &tapedeck::tests::listen;

namespace tapedeck::tests {
namespace {

TEST(Nvtx, HearsEachPhase) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  Phases phases(layout);
  heard.clear();
  {
    const PhaseScope outer(phases, "prefill");
    const PhaseScope inner(phases, "attention");
  }
  EXPECT_THAT(heard, testing::ElementsAre("prefill", "attention", "pop", "pop"));
}

}  // namespace
}  // namespace tapedeck::tests
