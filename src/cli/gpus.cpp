// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::cli {
namespace {

// One device. `why` is not empty if the device cannot be used.
struct Gpu {
  unsigned ordinal = 0;
  DeviceInfo info{};
  DeviceMemory memory{};
  std::string why{};
};

Gpu look_at(unsigned ordinal) {
  try {
    const CudaDevice device(ordinal);
    return {.ordinal = ordinal, .info = device.info(), .memory = device.memory()};
  } catch (const Error& error) {
    return {.ordinal = ordinal, .why = error.what()};
  }
}

std::string gpus_as_text(const CudaSupport& support, const std::vector<Gpu>& gpus) {
  if (gpus.empty()) return support.why + "\n";
  std::string text = fmt::format("CUDA driver {}\n", support.driver);
  for (const Gpu& gpu : gpus) {
    if (!gpu.why.empty()) {
      text += fmt::format("{}: {}\n", gpu.ordinal, printable(gpu.why));
      continue;
    }
    text +=
        fmt::format("{}: {}, {} free of {}, pages of {}, compute capability {}.{}\n", gpu.ordinal,
                    printable(gpu.info.name), to_iec(gpu.memory.free), to_iec(gpu.memory.total),
                    to_iec(gpu.info.granularity), gpu.info.compute_major, gpu.info.compute_minor);
  }
  return text;
}

nlohmann::ordered_json gpu_json(const Gpu& gpu) {
  if (!gpu.why.empty()) {
    return {{"ordinal", gpu.ordinal}, {"usable", false}, {"why", printable(gpu.why)}};
  }
  return {
      {"ordinal", gpu.ordinal},
      {"usable", true},
      {"name", printable(gpu.info.name)},
      {"free", gpu.memory.free},
      {"total", gpu.memory.total},
      {"granularity", gpu.info.granularity},
      {"compute_capability", fmt::format("{}.{}", gpu.info.compute_major, gpu.info.compute_minor)}};
}

nlohmann::ordered_json gpus_as_json(const CudaSupport& support, const std::vector<Gpu>& gpus) {
  return {{"schema", kGpusSchema},
          {"driver", support.driver},
          {"why", printable(support.why)},
          {"gpus", json_list(gpus, gpu_json)}};
}

int gpus(bool json) {
  const CudaSupport support = CudaDevice::support();
  std::vector<Gpu> found;
  for (unsigned ordinal = 0; ordinal < support.devices; ++ordinal) {
    found.push_back(look_at(ordinal));
  }
  Output().write(json ? json_text(gpus_as_json(support, found)) : gpus_as_text(support, found));
  return 0;
}

}  // namespace

void add_gpus(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "gpus", "Lists the host's GPUs with memory, page size and driver, or why there are none.");
  auto json = std::make_shared<bool>(false);
  add_json(*command, *json);
  command->callback([json, &exit_code] { exit_code = gpus(*json); });
}

}  // namespace tapedeck::cli
