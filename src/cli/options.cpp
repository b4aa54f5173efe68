#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include "cli/option_table.hpp"
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

// All of a text as a number; nothing where it is none, or where more follows.
template <class Number>
std::optional<Number> number_from(const std::string& text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && rest == end ? std::optional(number) : std::nullopt;
}

// Accepts a text for which `is_one` holds; any other is said to be "no WANTED".
CLI::Validator accept_only(const char* wanted, bool (*is_one)(const std::string&)) {
  return {[=](const std::string& text) {
            return is_one(text) ? std::string() : fmt::format("no {}: {}", wanted, text);
          },
          ""};
}

// "1.5 GiB". Whole numbers exactly; a fraction, which only a unit can have, to the nearest byte.
std::optional<std::uint64_t> size_of(const std::string& text) {
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  auto [rest, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc{}) return std::nullopt;
  const bool has_fraction = rest != end && *rest == '.';
  double fraction = 0;
  if (has_fraction) {
    const auto read = std::from_chars(rest, end, fraction, std::chars_format::fixed);
    if (read.ec != std::errc{}) return std::nullopt;
    rest = read.ptr;
  }
  if (rest != end && *rest == ' ') ++rest;
  const std::optional<std::uint64_t> unit = bytes_of_unit({rest, end});
  if (!unit || (has_fraction && *unit == 1)) return std::nullopt;
  const std::optional<std::uint64_t> bytes = checked_mul(whole, *unit);
  if (!bytes) return std::nullopt;
  const auto part = std::llround(fraction * static_cast<double>(*unit));
  return checked_add(*bytes, static_cast<std::uint64_t>(part));
}

DType type_of(const std::string& name) {
  const std::optional<DType> type = dtype_from_name(name);
  if (!type) throw CLI::ValidationError("no type of numbers: " + name + " (f16, bf16, q8_0, q4_k)");
  return *type;
}

// "q8_0" for both, or "q8_0,f16".
void set_cache_types(const std::string& text, PlanOptions& options) {
  const std::size_t comma = text.find(',');
  options.key_type = type_of(text.substr(0, comma));
  options.value_type =
      comma == std::string::npos ? options.key_type : type_of(text.substr(comma + 1));
}

}  // namespace

CLI::Validator whole_number() {
  return accept_only("whole number", [](const std::string& text) {
    return number_from<std::uint64_t>(text).has_value();
  });
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
  // CLI11's own, AsSizeValue, takes whole numbers only.
  const CLI::Validator bytes = {[](std::string& text) -> std::string {
                                  const std::optional<std::uint64_t> size = size_of(text);
                                  if (!size)
                                    return "no size: " + text + " (24GiB, 1.5G, 512M, 1000)";
                                  text = std::to_string(*size);
                                  return {};
                                },
                                ""};
  return option->transform(bytes)->option_text("SIZE");
}

void add_model(CLI::App& command, std::string& path) {
  command.add_option("MODEL", path, "GGUF, safetensors, llama2.c, or a folder of them")
      ->type_name(kFile)
      ->required();
}

CLI::Option* add_threads(CLI::App& command, unsigned& threads, const std::string& what) {
  return add_whole_number(command, "--threads", threads, what)->check(CLI::Range(1U, kMostThreads));
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "JSON, in whole bytes");
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
                  "GGUF, safetensors, config.json, llama2.c, or a folder of them")
      ->type_name(kFile)
      ->required();
  add_text("--profile", "native: what a layout allocates; llama.cpp: what that engine would",
           "native|llama.cpp",
           [&o](const std::string& name) {
             o.profile = name == "native" ? native_profile() : llama_cpp_profile();
           })
      ->check(CLI::IsMember({"native", "llama.cpp"}));
  add_whole_number(command, "--context", o.total_context,
                   "Tokens, of all sequences together [the model's own]");
  add_number("--sequences", o.sequences, "Conversations held at a time");
  add_number("--decode-batch", o.decode_batch, "Tokens of one decode step");
  add_number("--batch", o.batch, "Tokens of a prompt handed over at a time");
  add_number("--ubatch", o.micro_batch, "Tokens of a prompt computed at a time");
  add_number("--rollback", o.rollback_states, "Recurrent states kept beside, for rejected drafts");
  add_text("--kv", "Type of the K and V cache [f16]", "TYPE[,TYPE]",
           [&o](const std::string& text) { set_cache_types(text, o); });
  as_choice<bool>(command.add_option("--flash-attention", o.flash_attention,
                                     "No matrix of attention scores [on]"),
                  {{"on", true}, {"off", false}});
  add_text("--weights-type", "Of the matrices [the model's own]", "TYPE",
           [&o](const std::string& text) { o.weights_type = type_of(text); });
  add_text("--activation-type", "Of the buffers of a pass [f16]", "TYPE",
           [&o](const std::string& text) { o.activation_type = type_of(text); });
  command.add_flag("--unified", o.unified, "One stream of cells for all sequences");
  command.add_flag("--swa-full", o.full_window_cache, "Windowed layers keep the full context");
  add_size(command, "--overhead", o.overhead, "Set aside: driver context, safety margin");
  add_json(command, arguments.json);
}

}  // namespace tapedeck::cli
