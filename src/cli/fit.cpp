// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/fit.hpp"
#include "base/amounts.hpp"
#include "cli/exit_codes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/engine_flags.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/bus_bandwidth.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::cli {
namespace {

using internal::count_of;

struct FitArguments : PlanArguments {
  std::optional<std::uint64_t> gpu_memory;
  std::optional<unsigned> gpu;
  std::optional<std::uint64_t> host_memory;
  std::optional<std::uint64_t> bus;
  std::optional<double> least_tokens_per_second;
  std::optional<FlagsOf> flags_of;
  bool profile_given = false;
};

// "785.8 KiB (804669 bytes)": exact, since a limit may be raised by just this.
std::string exact_text(std::uint64_t bytes) {
  const std::string rounded = to_iec(bytes);
  return bytes < 1024 ? rounded : fmt::format("{} ({} bytes)", rounded, bytes);
}

// Nothing for a side that the way does not use.
std::string side_text(const char* name, const FitSide& side, const std::string& limit) {
  if (side.needed == 0) return {};
  if (side.fits()) {
    return fmt::format("    {}: {} of {}, {} left\n", name, to_iec(side.needed),
                       to_iec(side.available), to_iec(side.margin()));
  }
  return fmt::format("    {}: {}, which is {} more than the {} of {}\n", name, to_iec(side.needed),
                     exact_text(side.shortfall()), to_iec(side.available), printable(limit));
}

std::string choice_streaming_text(const FitChoice& choice) {
  if (choice.resident_needed == 0) return {};
  std::string text = fmt::format(
      "    with {}, {} on the device: ", count_of(choice.resident_layers, "resident layer"),
      to_iec(choice.resident_needed));
  if (choice.token_bytes == 0) return text + "nothing is copied\n";
  text += fmt::format("each token copies {}", to_iec(choice.token_bytes));
  if (choice.ceiling_tokens_per_second != 0) {
    text += fmt::format(", at most {:.4g} tokens a second", choice.ceiling_tokens_per_second);
  }
  if (choice.too_slow()) {
    text += fmt::format(", fewer than the {:.4g} requested", choice.least_tokens_per_second);
  }
  return text + '\n';
}

// What each option could be raised to, all others unchanged.
// @param batch  of the plan, which a larger micro-batch would raise
std::string room_text(const FitChoice& choice, std::uint64_t batch) {
  return fmt::format(
      "    room, if one option alone changes: --context up to {}{}, --ubatch up to {}{},"
      " --decode-batch up to {}\n",
      choice.largest_context,
      choice.mode == FitMode::layer_streaming ? " (with fewer resident layers)" : "",
      choice.largest_micro_batch, choice.largest_micro_batch > batch ? " (and --batch)" : "",
      choice.largest_decode_batch);
}

// What would make a way fit, one line for each single option that would.
std::string remedies_text(const FitChoice& choice) {
  std::string text;
  const auto append = [&](const char* option, const auto& value) {
    text += fmt::format("    would fit with {} {}\n", option, value);
  };
  if (choice.largest_context != 0) append("--context", choice.largest_context);
  if (choice.largest_micro_batch != 0) append("--ubatch", choice.largest_micro_batch);
  if (choice.largest_decode_batch != 0) append("--decode-batch", choice.largest_decode_batch);
  if (choice.kv_type) append("--kv", to_string(*choice.kv_type));
  if (choice.weights_type) append("--weights-type", to_string(*choice.weights_type));
  return text;
}

std::string choice_text(std::size_t rank, const FitChoice& choice, std::uint64_t batch,
                        const std::string& device_limit, const std::string& host_limit) {
  std::string text = fmt::format(
      "{}. {}: {}{}\n", rank, description(choice.mode), choice.fits() ? "fits" : "does not fit",
      choice.certainty == PlanCertainty{} ? "" : " (" + certainty_text(choice.certainty) + ")");
  if (choice.mode == FitMode::first_layers) {
    text += fmt::format("    {} on the device; the reference decoder does not run this\n",
                        count_of(choice.device_layers, "layer"));
  }
  const bool at_least = choice.mode == FitMode::layer_streaming;
  text += side_text(at_least ? "device, at least" : "device", choice.device, device_limit) +
          side_text("host", choice.host, host_limit);
  text += choice_streaming_text(choice);
  return text + (choice.fits() ? room_text(choice, batch) : remedies_text(choice));
}

nlohmann::ordered_json side_json(const FitSide& side) {
  return {{"needed", side.needed}, {"available", side.available}};
}

nlohmann::ordered_json choice_json(const FitChoice& choice) {
  nlohmann::ordered_json json = {
      {"mode", description(choice.mode)},
      {"fits", choice.fits()},
      {"certainty", certainty_json(choice.certainty)},
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
  if (device.integrated) text += ", memory of the host";
  return text + '\n';
}

std::string fit_as_text(const FitArguments& arguments, const Model& model, const HostBudget& host,
                        const std::optional<DeviceBudget>& device,
                        const std::vector<FitChoice>& choices,
                        const std::vector<std::string>& warnings) {
  std::string text = model_text(model) + fmt::format("host      {} left, limited by {}\n",
                                                     to_iec(host.available), host.limit);
  if (device) text += device_text(*device);
  text += foreign_text(arguments.options.foreign);
  text += warnings_text(warnings) + '\n';
  for (std::size_t i = 0; i < choices.size(); ++i) {
    text += choice_text(i + 1, choices[i], arguments.options.batch, device ? device->name : "",
                        host.limit);
  }
  return text;
}

std::string fit_as_json(const FitArguments& arguments, const Model& model, const HostBudget& host,
                        const std::optional<DeviceBudget>& device,
                        const std::vector<FitChoice>& choices,
                        const std::vector<std::string>& warnings) {
  nlohmann::ordered_json json = {{"schema", kPlanSchema},
                                 {"model", model_json(model)},
                                 {"host", {{"available", host.available}, {"limit", host.limit}}}};
  if (device) {
    json["device"] = {{"name", device->name},
                      {"free", device->free},
                      {"integrated", device->integrated},
                      {"bus_bytes_per_second", rate_json(device->bus_bytes_per_second)}};
  }
  if (arguments.least_tokens_per_second) {
    json["least_tokens_per_second"] = *arguments.least_tokens_per_second;
  }
  json["foreign_memory"] = foreign_json(arguments.options.foreign);
  json["warnings"] = named_as_options(warnings);
  json["choices"] = json_list(choices, choice_json);
  return json_text(json);
}

// Returns the bandwidth that was given, or a measured one; 0 if the device has no room to measure
// it.
double bus_of(const FitArguments& arguments, Device& device) {
  if (arguments.bus) return static_cast<double>(*arguments.bus);
  try {
    return bus_bandwidth(device);
  } catch (const DeviceOutOfMemory&) {
    return 0;
  }
}

// Returns the device that --gpu-memory describes, else the GPU that --gpu names, else the first
// GPU. Nothing if the host has no usable GPU and none was named.
std::optional<DeviceBudget> device_of(const FitArguments& arguments) {
  if (arguments.gpu_memory) {
    return DeviceBudget{.free = *arguments.gpu_memory,
                        .name = "--gpu-memory",
                        .bus_bytes_per_second = static_cast<double>(arguments.bus.value_or(0))};
  }
  try {
    CudaDevice gpu(arguments.gpu.value_or(0));
    const DeviceMemory memory = gpu.memory();
    return DeviceBudget{.free = memory.free,
                        .total = memory.total,
                        .name = gpu.label(),
                        .bus_bytes_per_second = bus_of(arguments, gpu),
                        .integrated = gpu.info().integrated};
  } catch (const DeviceUnavailable&) {
    if (arguments.gpu) throw;
    return std::nullopt;
  }
}

// Options about a bus must not be ignored silently if there is none.
void require_device_for_rates(const FitArguments& arguments,
                              const std::optional<DeviceBudget>& device) {
  if (!arguments.bus && !arguments.least_tokens_per_second) return;
  if (!device) {
    throw InvalidArgument({.argument = arguments.bus ? "--bus" : "--tokens-per-second"},
                          "--bus and --tokens-per-second describe a device, but there is none",
                          "describe one with --gpu-memory");
  }
  if (device->bus_bytes_per_second == 0) {
    throw InvalidArgument({.argument = "--tokens-per-second"},
                          "--tokens-per-second needs the speed of the bus, which is unknown",
                          "give the bytes that it copies per second with --bus");
  }
}

// Flags are for pasting, so the warnings go to standard error.
int print_flags(const FitArguments& arguments, const Model& model,
                const std::optional<DeviceBudget>& device, const std::vector<FitChoice>& choices) {
  const auto runs_it = [&](const FitChoice& choice) {
    return choice.fits() && runs(*arguments.flags_of, choice.mode);
  };
  const auto choice = std::find_if(choices.begin(), choices.end(), runs_it);
  if (choice == choices.end()) {
    tell_error("no mode of this engine fits; leave out --print-flags to see all modes");
    return kNothingFits;
  }
  Output().write(engine_flags(*arguments.flags_of, model, arguments.options, *choice, device) +
                 '\n');
  for (const std::string& warning : choice->warnings) tell_error("warning: " + warning);
  return check_exit_code(arguments, choice->certainty);
}

int fit(FitArguments arguments) {
  if (arguments.flags_of == FlagsOf::llama_cpp && !arguments.profile_given) {
    arguments.options.profile = llama_cpp_profile();
  }
  require_batches(arguments);
  const Model model = read_model(arguments.model);
  if (arguments.flags_of) require_readable(*arguments.flags_of, model);
  const HostBudget host = arguments.host_memory ? HostBudget{.available = *arguments.host_memory,
                                                             .limit = "--host-memory"}
                                                : host_budget();
  const std::optional<DeviceBudget> device = device_of(arguments);
  require_device_for_rates(arguments, device);
  const FitOptions least = {arguments.least_tokens_per_second.value_or(0)};
  const auto print = [&](const std::vector<FitChoice>& choices,
                         const std::vector<std::string>& warnings) {
    if (arguments.flags_of) return;
    const HostBudget left = host.after_mapping(sum_of(arguments.options.foreign).addresses);
    Output().write(arguments.json ? fit_as_json(arguments, model, left, device, choices, warnings)
                                  : fit_as_text(arguments, model, left, device, choices, warnings));
  };
  try {
    const std::vector<FitChoice> choices =
        tapedeck::fit(model, arguments.options, host, device, least);
    if (arguments.flags_of) return print_flags(arguments, model, device, choices);
    print(choices, choices.front().warnings);
    return check_exit_code(arguments, choices.front().certainty);
  } catch (const NothingFits& nothing) {
    print(nothing.choices(), nothing.choices().front().warnings);
    tell_error(nothing.what());
  } catch (const UnknownWeights& unknown) {
    print({}, unknown.warnings());
    tell_error(with_option_names(unknown.what()));
  }
  return kNothingFits;
}

}  // namespace

void add_fit(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand("fit", "Ranks the ways to run a model on this host.");
  auto arguments = std::make_shared<FitArguments>();
  add_plan_arguments(*command, *arguments);
  add_some_size(*command, "--gpu-memory", arguments->gpu_memory,
                "Free memory of the device [that of the GPU]");
  add_whole_number(*command, "--gpu", arguments->gpu,
                   "Number of the GPU in the list of `tapedeck gpus` [0]")
      ->excludes("--gpu-memory");
  add_size(*command, "--host-memory", arguments->host_memory,
           "Free memory of the host [that of this one]");
  add_some_size(*command, "--bus", arguments->bus,
                "Bytes copied to the device per second: 25GB means 25e9, but 25G and 25GiB"
                " are binary [measured]");
  command
      ->add_option("--tokens-per-second", arguments->least_tokens_per_second,
                   "Rate that layer streaming must be able to reach in order to fit")
      ->check(positive_number())
      ->option_text("RATE");
  as_choice<FlagsOf>(command->add_option(
                         "--print-flags", arguments->flags_of,
                         "Print only this engine's options for the best mode that fits and that it "
                         "has; llama.cpp's profile is then the default"),
                     {{"llama.cpp", FlagsOf::llama_cpp}, {"vllm", FlagsOf::vllm}})
      ->excludes("--json")
      ->excludes("--weights-type");
  command->callback([command, arguments, &exit_code] {
    arguments->profile_given = command->count("--profile") != 0;
    exit_code = fit(*arguments);
  });
}

}  // namespace tapedeck::cli
