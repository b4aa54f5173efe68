// SPDX-License-Identifier: Apache-2.0
/// @file
/// Kernels that are compiled as C++, for the stand-in driver.
#pragma once

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>

#include "device/stand_in/stand_in.hpp"
#include "llama/host_kernels/lanes.hpp"

namespace tapedeck::tests {

template <class... Parameters, std::size_t... kEach>
[[nodiscard]] std::tuple<Parameters...> copied_parameters(void** parameters,
                                                          std::index_sequence<kEach...> /*each*/) {
  return {*static_cast<Parameters*>(parameters[kEach])...};
}

/// Makes the stand-in run `kernel` when a kernel of this name is launched, until its next reset.
/// The memory that the kernel accesses must be visible to the host.
template <class... Parameters>
void compute(const std::string& name, void (*kernel)(Parameters...)) {
  stand_in::compute(name, [kernel](unsigned blocks, unsigned threads, void** parameters) {
    const auto values =
        copied_parameters<Parameters...>(parameters, std::index_sequence_for<Parameters...>());
    return [kernel, blocks, threads, values] {
      run_grid(blocks, threads, [&] { std::apply(kernel, values); });
    };
  });
}

}  // namespace tapedeck::tests
