// SPDX-License-Identifier: Apache-2.0
// gpu_probe SECTION: finds out what a GPU's virtual memory can do, and what it costs.
#include "probe.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace tapedeck::gpu_kit {

namespace {

struct Section {
  std::string_view name;
  int (*run)(Arguments);
};
constexpr std::array kSections = {
    Section{"facts", probe_facts},
    Section{"alias", probe_alias},
    Section{"pages", probe_pages},
    Section{"chunks", probe_chunks},
};

int run(const Section& section, int argc, char** argv) {
  const CudaSupport support = CudaDevice::support();
  if (support.devices == 0) {
    std::printf("not measured: %s\n", support.why.c_str());
    return 0;
  }
  Arguments arguments(argv, argv + argc);
  arguments.erase(arguments.begin() + 1);
  try {
    return section.run(std::move(arguments));
  } catch (const Error& error) {
    std::fprintf(stderr, "gpu_probe: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace tapedeck::gpu_kit

int main(int argc, char** argv) {
  using namespace tapedeck::gpu_kit;
  const std::string_view name = argc > 1 ? argv[1] : "";
  const auto* const section = std::find_if(kSections.begin(), kSections.end(),
                                           [&](const Section& one) { return one.name == name; });
  if (section == kSections.end()) {
    std::fputs("usage: gpu_probe facts|alias|pages|chunks [--json=FILE] [--rounds=N]\n", stderr);
    return 2;
  }
  return run(*section, argc, argv);
}
