#include "tapedeck/fit/fit.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/bus_bandwidth.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::cli {
namespace {

constexpr int kNothingFits = 3;

struct FitArguments : PlanArguments {
  std::optional<std::uint64_t> gpu_memory;
  std::optional<unsigned> gpu;
  std::optional<std::uint64_t> host_memory;
  std::optional<std::uint64_t> bus;
  std::optional<double> least_tokens_per_second;
};

std::string side_text(const char* name, const FitSide& side) {
  if (side.needed == 0) return {};
  return fmt::format("    {}: {} of {}, {} {}\n", name, to_iec(side.needed), to_iec(side.available),
                     to_iec(side.fits() ? side.margin() : side.shortfall()),
                     side.fits() ? "left" : "missing");
}

std::string choice_streaming_text(const FitChoice& choice) {
  if (choice.resident_needed == 0) return {};
  std::string text = fmt::format("    with {} layers that stay {}: ", choice.resident_layers,
                                 to_iec(choice.resident_needed));
  if (choice.token_bytes == 0) return text + "nothing is copied\n";
  text += fmt::format("a token copies {}", to_iec(choice.token_bytes));
  if (choice.ceiling_tokens_per_second != 0) {
    text += fmt::format(": {:.4g} tokens a second at most", choice.ceiling_tokens_per_second);
  }
  if (choice.too_slow()) {
    text += fmt::format(", and {:.4g} are asked", choice.least_tokens_per_second);
  }
  return text + '\n';
}

std::string choice_text(std::size_t rank, const FitChoice& choice) {
  std::string text = fmt::format("{}. {}: {}\n", rank, description(choice.mode),
                                 choice.fits() ? "fits" : "does not fit");
  if (choice.mode == FitMode::first_layers) {
    text += fmt::format("    {} layers on the device; the reference decoder does not run this\n",
                        choice.device_layers);
  }
  const bool at_least = choice.mode == FitMode::layer_streaming;
  text += side_text(at_least ? "device, at least" : "device", choice.device) +
          side_text("host", choice.host);
  text += choice_streaming_text(choice);
  text += fmt::format(
      "    up to {} tokens of context{}, {} of a prompt at a time, {} of a decode step\n",
      choice.largest_context, at_least ? ", fewer layers staying" : "", choice.largest_micro_batch,
      choice.largest_decode_batch);
  if (choice.kv_type)
    text += fmt::format("    would fit with --kv {}\n", to_string(*choice.kv_type));
  if (choice.weights_type) {
    text += fmt::format("    would fit with --weights-type {}\n", to_string(*choice.weights_type));
  }
  return text;
}

nlohmann::ordered_json side_json(const FitSide& side) {
  return {{"needed", side.needed}, {"available", side.available}};
}

// A rate, or null where there is none.
nlohmann::ordered_json rate_json(double rate) {
  return rate == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(rate);
}

nlohmann::ordered_json choice_json(const FitChoice& choice) {
  nlohmann::ordered_json json = {
      {"mode", description(choice.mode)},
      {"fits", choice.fits()},
      {"margin", choice.margin()},
      {"shortfall", choice.shortfall()},
      {"device", side_json(choice.device)},
      {"host", side_json(choice.host)},
      {"device_layers", choice.device_layers},
      {"resident_layers", choice.resident_layers},
      {"resident_needed", choice.resident_needed},
      {"token_bytes", choice.token_bytes},
      {"ceiling_tokens_per_second", rate_json(choice.ceiling_tokens_per_second)},
      {"too_slow", choice.too_slow()},
      {"reference_decoder", choice.reference_decoder},
      {"largest_context", choice.largest_context},
      {"largest_micro_batch", choice.largest_micro_batch},
      {"largest_decode_batch", choice.largest_decode_batch}};
  if (choice.kv_type) json["kv_type"] = to_string(*choice.kv_type);
  if (choice.weights_type) json["weights_type"] = to_string(*choice.weights_type);
  return json;
}

std::string device_text(const DeviceBudget& device) {
  std::string text = fmt::format("device    {} free, {}", to_iec(device.free), device.name);
  if (device.bus_bytes_per_second != 0) {
    text += fmt::format(", copies {} a second",
                        to_iec(static_cast<std::uint64_t>(device.bus_bytes_per_second)));
  }
  return text + '\n';
}

std::string fit_as_text(const Model& model, const HostBudget& host,
                        const std::optional<DeviceBudget>& device,
                        const std::vector<FitChoice>& choices) {
  std::string text = model_text(model) + fmt::format("host      {} left, bound by {}\n",
                                                     to_iec(host.available), host.limit);
  if (device) text += device_text(*device);
  text += '\n';
  for (std::size_t i = 0; i < choices.size(); ++i) text += choice_text(i + 1, choices[i]);
  return text;
}

std::string fit_as_json(const FitArguments& arguments, const Model& model, const HostBudget& host,
                        const std::optional<DeviceBudget>& device,
                        const std::vector<FitChoice>& choices) {
  nlohmann::ordered_json json = {{"schema", kPlanSchema},
                                 {"model", model_json(model)},
                                 {"host", {{"available", host.available}, {"limit", host.limit}}}};
  if (device) {
    json["device"] = {{"name", device->name},
                      {"free", device->free},
                      {"bus_bytes_per_second", rate_json(device->bus_bytes_per_second)}};
  }
  if (arguments.least_tokens_per_second) {
    json["least_tokens_per_second"] = *arguments.least_tokens_per_second;
  }
  json["choices"] = json_list(choices, choice_json);
  return json_text(json);
}

// As told, or else measured; 0 where the device has no room to.
double bus_of(const FitArguments& arguments, Device& device) {
  if (arguments.bus) return static_cast<double>(*arguments.bus);
  try {
    return bus_bandwidth(device);
  } catch (const DeviceOutOfMemory&) {
    return 0;
  }
}

// As told, or else the GPU that was named, or else the first one, if there is any that can be used.
std::optional<DeviceBudget> device_of(const FitArguments& arguments) {
  if (arguments.gpu_memory) {
    return DeviceBudget{.free = *arguments.gpu_memory,
                        .total = *arguments.gpu_memory,
                        .name = "--gpu-memory",
                        .bus_bytes_per_second = static_cast<double>(arguments.bus.value_or(0))};
  }
  try {
    CudaDevice gpu(arguments.gpu.value_or(0));
    const DeviceMemory memory = gpu.memory();
    return DeviceBudget{.free = memory.free,
                        .total = memory.total,
                        .name = gpu.label(),
                        .bus_bytes_per_second = bus_of(arguments, gpu)};
  } catch (const DeviceUnavailable&) {
    if (arguments.gpu) throw;
    return std::nullopt;
  }
}

// What is asked of a bus must not be dropped where there is none.
void require_device_for_rates(const FitArguments& arguments,
                              const std::optional<DeviceBudget>& device) {
  if (!arguments.bus && !arguments.least_tokens_per_second) return;
  if (!device) {
    throw InvalidArgument({.argument = arguments.bus ? "--bus" : "--tokens-per-second"},
                          "--bus and --tokens-per-second describe a device, but there is none",
                          "give --gpu-memory");
  }
  if (device->bus_bytes_per_second == 0) {
    throw InvalidArgument({.argument = "--tokens-per-second"},
                          "nothing tells how many tokens a second the bus can carry",
                          "give --bus, the bytes that it copies a second");
  }
}

int fit(const FitArguments& arguments) {
  if (arguments.bus == 0U) {
    throw InvalidArgument({.argument = "--bus", .value = 0, .limit = 1},
                          "no bus copies 0 bytes a second", "give --bus more, or leave it out");
  }
  const Model model = read_model(arguments.model);
  const HostBudget host = arguments.host_memory ? HostBudget{.available = *arguments.host_memory,
                                                             .limit = "--host-memory"}
                                                : host_budget();
  const std::optional<DeviceBudget> device = device_of(arguments);
  require_device_for_rates(arguments, device);
  const FitOptions least = {arguments.least_tokens_per_second.value_or(0)};
  const auto print = [&](const std::vector<FitChoice>& choices) {
    Output().write(arguments.json ? fit_as_json(arguments, model, host, device, choices)
                                  : fit_as_text(model, host, device, choices));
  };
  try {
    print(tapedeck::fit(model, arguments.options, host, device, least));
    return 0;
  } catch (const NothingFits& nothing) {
    print(nothing.choices());
    tell_error(nothing.what());
    return kNothingFits;
  }
}

}  // namespace

void add_fit(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "fit", "Ranks the ways a model can be run here; exit code 3 where nothing fits.");
  auto arguments = std::make_shared<FitArguments>();
  add_plan_arguments(*command, *arguments);
  add_size(*command, "--gpu-memory", arguments->gpu_memory,
           "Free memory of the device [what the GPU has]");
  add_whole_number(*command, "--gpu", arguments->gpu,
                   "Which GPU, as `tapedeck gpus` lists them [0]")
      ->excludes("--gpu-memory");
  add_size(*command, "--host-memory", arguments->host_memory,
           "Free memory of the host [what this one has]");
  add_size(*command, "--bus", arguments->bus,
           "Bytes a second copied to the device: 25GB are 25e9, 25G and 25GiB"
           " are binary [what the GPU is measured to]");
  command
      ->add_option("--tokens-per-second", arguments->least_tokens_per_second,
                   "What layer streaming must be able to reach, or it does not fit")
      ->check(positive_number())
      ->option_text("RATE");
  command->callback([arguments, &exit_code] { exit_code = fit(*arguments); });
}

}  // namespace tapedeck::cli
