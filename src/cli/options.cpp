// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/option_table.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"

namespace tapedeck::cli {
namespace {

constexpr double kMostSeconds = 1e9;

std::optional<std::uint64_t> bytes_of_unit(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.empty() || unit == "b") return 1;
  const std::size_t power = std::string_view("kmgt").find(unit[0]) + 1;
  const std::string_view rest = std::string_view(unit).substr(1);
  if (power == 0 || (!rest.empty() && rest != "b" && rest != "ib")) return std::nullopt;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i < power; ++i) bytes *= rest == "b" ? 1000U : 1024U;
  return bytes;
}

std::string too_large(const std::string& text, const char* unit) {
  return fmt::format("{} is too large; the maximum is {}{}", text, UINT64_MAX, unit);
}

// Returns the whole text as a number, or nothing if it is not a number or something follows.
template <class Number>
std::optional<Number> number_from(const std::string& text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && rest == end ? std::optional(number) : std::nullopt;
}

// Accepts a text for which `is_one` holds, and refuses any other as "not a WANTED".
CLI::Validator accept_only(const char* wanted, bool (*is_one)(const std::string&)) {
  return {[=](const std::string& text) {
            return is_one(text) ? std::string() : fmt::format("not a {}: {}", wanted, text);
          },
          ""};
}

// Replaces a size such as "1.5 GiB" with its bytes, and returns why it cannot. Whole numbers are
// exact; a fraction, which needs a unit, is rounded to the nearest byte.
std::string size_to_bytes(std::string& text) {
  std::string no_size = "not a size: " + text + " (24GiB, 1.5G, 512M, 1000)";
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  auto [rest, error] = std::from_chars(text.data(), end, whole);
  if (error == std::errc::invalid_argument) return no_size;
  const bool has_fraction = rest != end && *rest == '.';
  double fraction = 0;
  if (has_fraction) {
    const auto read = std::from_chars(rest, end, fraction, std::chars_format::fixed);
    if (read.ec != std::errc{}) return no_size;
    rest = read.ptr;
  }
  if (rest != end && *rest == ' ') ++rest;
  const std::optional<std::uint64_t> unit = bytes_of_unit({rest, end});
  if (!unit || (has_fraction && *unit == 1)) return no_size;
  if (error != std::errc{}) return too_large(text, " bytes");
  const auto part = std::llround(fraction * static_cast<double>(*unit));
  std::optional<std::uint64_t> bytes = checked_mul(whole, *unit);
  if (bytes) bytes = checked_add(*bytes, static_cast<std::uint64_t>(part));
  if (!bytes) return too_large(text, " bytes");
  text = std::to_string(*bytes);
  return {};
}

DType type_of(const char* option, const std::string& name) {
  const std::optional<DType> type = dtype_from_name(name);
  if (!type) {
    throw CLI::ValidationError(option,
                               "not a number type: " + name + " (f32, f16, bf16, q8_0, ...)");
  }
  return *type;
}

// "q8_0" for both, or "q8_0,f16".
void set_cache_types(const std::string& text, PlanOptions& options) {
  const std::size_t comma = text.find(',');
  options.key_type = type_of("--kv", text.substr(0, comma));
  options.value_type =
      comma == std::string::npos ? options.key_type : type_of("--kv", text.substr(comma + 1));
}

}  // namespace

CLI::Validator whole_number() {
  return {[](const std::string& text) -> std::string {
            if (number_from<std::uint64_t>(text)) return {};
            const bool digits =
                !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
            return digits ? too_large(text, "") : "not a whole number: " + text;
          },
          ""};
}

CLI::Validator positive_number() {
  return accept_only("positive number", [](const std::string& text) {
    const double number = number_from<double>(text).value_or(0);
    return number > 0 && std::isfinite(number);
  });
}

CLI::Validator seconds_from_now() {
  return accept_only("number of seconds", [](const std::string& text) {
    const double seconds = number_from<double>(text).value_or(-1);
    return seconds >= 0 && seconds <= kMostSeconds;
  });
}

CLI::Option* as_size(CLI::Option* option) {
  // CLI11's own AsSizeValue takes whole numbers only.
  return option->transform(CLI::Validator(size_to_bytes, ""))->option_text("SIZE");
}

void add_model(CLI::App& command, std::string& path) {
  command.add_option("MODEL", path, "A GGUF, safetensors or llama2.c file, or a folder")
      ->type_name(kFile)
      ->required();
}

CLI::Option* add_threads(CLI::App& command, unsigned& threads, const std::string& what) {
  return add_whole_number(command, "--threads", threads, what)->check(CLI::Range(1U, kMostThreads));
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print JSON, with sizes in bytes");
}

std::string with_option_names(std::string message) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> names = {
      {{"PlanOptions::total_context", "--context"},
       {"PlanOptions::sequences", "--sequences"},
       {"PlanOptions::decode_batch", "--decode-batch"},
       {"PlanOptions::batch", "--batch"},
       {"PlanOptions::micro_batch", "--ubatch"},
       {"PlanOptions::rollback_states", "--rollback"},
       {"PlanOptions::weights_type", "--weights-type"},
       {"PlanOptions::weights_bytes", "--weights-size"},
       {"PlanOptions::overhead", "--overhead"}}};
  for (const auto& [field, option] : names) {
    for (std::size_t at = 0; (at = message.find(field, at)) != std::string::npos;) {
      message.replace(at, field.size(), option);
    }
  }
  return message;
}

void add_plan_arguments(CLI::App& command, PlanArguments& arguments) {
  PlanOptions& o = arguments.options;
  const auto add_number = [&](const char* name, std::uint64_t& value, const char* what) {
    add_whole_number(command, name, value, what)->capture_default_str();
  };
  const auto add_text = [&](const char* name, const char* what, const char* values, auto take) {
    return command.add_option_function<std::string>(name, take, what)->option_text(values);
  };
  command
      .add_option("MODEL", arguments.model,
                  "A GGUF, safetensors, config.json or llama2.c file, or a folder")
      ->type_name(kFile)
      ->required();
  add_text("--profile",
           "Plan what a layout allocates (native), or what llama.cpp would allocate [native]",
           "native|llama.cpp",
           [&o](const std::string& name) {
             o.profile = name == "native" ? native_profile() : llama_cpp_profile();
           })
      ->check(CLI::IsMember({"native", "llama.cpp"}));
  add_whole_number(command, "--context", o.total_context,
                   "Context of all sequences together, in tokens [the model's own]");
  add_number("--sequences", o.sequences, "Conversations held at the same time");
  add_number("--decode-batch", o.decode_batch, "Tokens per decode step");
  add_number("--batch", o.batch, "Prompt tokens submitted at once");
  add_number("--ubatch", o.micro_batch, "Prompt tokens computed at once");
  add_number("--rollback", o.rollback_states, "Extra recurrent states, kept for rejected drafts");
  add_text("--kv", "Type of the K and V caches, or one type for each [f16]", "TYPE[,TYPE]",
           [&o](const std::string& text) { set_cache_types(text, o); });
  as_choice<bool>(command.add_option("--flash-attention", o.flash_attention,
                                     "Compute attention without a matrix of scores [on]"),
                  {{"on", true}, {"off", false}});
  add_text("--weights-type", "Type of the weight matrices [the model's own]", "TYPE",
           [&o](const std::string& text) { o.weights_type = type_of("--weights-type", text); });
  add_size(command, "--weights-size", o.weights_bytes,
           "Size of all weights, for a model whose files do not state it")
      ->check(positive_number())
      ->excludes("--weights-type");
  add_text(
      "--activation-type", "Type of the buffers of a pass [f16]", "TYPE",
      [&o](const std::string& text) { o.activation_type = type_of("--activation-type", text); });
  command.add_flag("--unified", o.unified, "Let all sequences share one stream of cells");
  command.add_flag("--swa-full", o.full_window_cache,
                   "Keep the full context in sliding-window layers");
  add_size(command, "--overhead", o.overhead,
           "Bytes to set aside for the driver context or as a safety margin");
  command.add_flag(
      "--check", arguments.check,
      "Exit with 0 only if every part is exact or bounded from above, otherwise with 4");
  add_json(command, arguments.json);
}

int check_exit_code(const PlanArguments& arguments, const PlanCertainty& certainty) {
  if (!arguments.check || certainty.is_bounded()) return 0;
  tell_error("more may be needed than was planned: " + certainty_text(certainty) +
             "; set aside a margin with --overhead, and leave out --check");
  return kNotBounded;
}

}  // namespace tapedeck::cli
