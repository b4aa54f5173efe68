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
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/exit_codes.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "plan/history_plan.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"

namespace tapedeck::cli {
namespace {

constexpr double kMostSeconds = 1e9;
constexpr std::uint64_t kMostOfLibrary = 1'000'000;  // threads or executions

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

// "must be a size, not x".
std::string must_be(std::string_view wanted, const std::string& text) {
  return fmt::format("must be {}, not {}", wanted, text.empty() ? "empty" : text);
}

std::string too_large(const std::string& text, const char* unit) {
  return must_be(fmt::format("at most {}{}", UINT64_MAX, unit), text);
}

// Returns the whole text as a number, or nothing if it is not a number or something follows.
template <class Number>
std::optional<Number> number_from(const std::string& text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && rest == end ? std::optional(number) : std::nullopt;
}

// Accepts a text for which `is_one` holds, and refuses any other.
// @param candidates  what completion offers
template <class IsOne>
CLI::Validator accept_only(const std::string& wanted, IsOne is_one,
                           const std::vector<std::string>& candidates = {}) {
  const std::string offered = CLI::detail::join(candidates, ",");
  return {[=](const std::string& text) { return is_one(text) ? "" : must_be(wanted, text); },
          offered.empty() ? "" : "{" + offered + "}"};
}

// "a", "a or b", "a, b or c".
std::string alternatives(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : &name == &names.back() ? " or " : ", ") + name;
  }
  return text;
}

std::vector<std::string> names_of_types(std::span<const DType> types) {
  std::vector<std::string> names;
  names.reserve(types.size());
  for (const DType type : types) names.emplace_back(to_string(type));
  return names;
}

// Replaces a size such as "1.5 GiB" with its bytes, and returns why it cannot. Whole numbers are
// exact; a fraction, which needs a unit, is rounded to the nearest byte.
std::string size_to_bytes(std::string& text) {
  std::string no_size = must_be("a size such as 24GiB, 1.5G, 512M or 1000", text);
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

// The parts of "q8_0,f16". The second is that of the first if there is none.
std::pair<std::string, std::string> cache_type_names(const std::string& text) {
  const std::size_t comma = text.find(',');
  const std::string first = text.substr(0, comma);
  return {first, comma == std::string::npos ? first : text.substr(comma + 1)};
}

// @pre number_type() or cache_types() accepted it
DType type_of(const std::string& name) { return dtype_from_name(name).value(); }

// What "openblas=8" names; nothing for a text that does not begin with a library's name.
std::optional<ForeignLibrary> named_library(const std::string& text) {
  const std::string name = text.substr(0, text.find('='));
  if (name == "openblas") return ForeignLibrary::openblas;
  if (name == "onednn") return ForeignLibrary::onednn;
  return std::nullopt;
}

std::string count_in(const std::string& text) {
  const std::size_t equals = text.find('=');
  return equals == std::string::npos ? "" : text.substr(equals + 1);
}

// @pre foreign_memory_text() accepted it
void add_foreign_memory(std::string text, std::vector<ForeignMemory>& foreign) {
  if (const std::optional<ForeignLibrary> library = named_library(text)) {
    foreign.push_back(foreign_memory(*library, number_from<std::uint64_t>(count_in(text)).value()));
    return;
  }
  static_cast<void>(size_to_bytes(text));
  foreign.push_back({.name = "as stated", .bytes = number_from<std::uint64_t>(text).value()});
}

CLI::Validator foreign_memory_text() {
  return accept_only("a size such as 512M, openblas=THREADS or onednn=EXECUTIONS",
                     [](std::string text) {
                       if (!named_library(text)) return size_to_bytes(text).empty();
                       const auto count = number_from<std::uint64_t>(count_in(text));
                       return count && *count <= kMostOfLibrary;
                     },
                     {"openblas=", "onednn="});
}

void set_cache_types(const std::string& text, PlanOptions& options) {
  const auto [key, value] = cache_type_names(text);
  options.key_type = type_of(key);
  options.value_type = type_of(value);
}

}  // namespace

CLI::Validator whole_number() {
  return {[](const std::string& text) -> std::string {
            if (number_from<std::uint64_t>(text)) return {};
            const bool digits =
                !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
            return digits ? too_large(text, "") : must_be("a whole number", text);
          },
          ""};
}

CLI::Validator in_range(std::uint64_t least, std::uint64_t most) {
  CLI::Validator range =
      accept_only(fmt::format("from {} to {}", least, most), [=](const std::string& text) {
        const std::optional<std::uint64_t> number = number_from<std::uint64_t>(text);
        return number && *number >= least && *number <= most;
      });
  return range.description(fmt::format("UINT in [{} - {}]", least, most));
}

CLI::Validator positive_number() {
  return accept_only("a number greater than 0", [](const std::string& text) {
    const double number = number_from<double>(text).value_or(0);
    return number > 0 && std::isfinite(number);
  });
}

CLI::Validator seconds_from_now() {
  return accept_only("a number of seconds from 0 to 1e9", [](const std::string& text) {
    const double seconds = number_from<double>(text).value_or(-1);
    return seconds >= 0 && seconds <= kMostSeconds;
  });
}

CLI::Validator one_of(const std::vector<std::string>& names) {
  return accept_only(
      alternatives(names),
      [=](const std::string& text) { return std::ranges::find(names, text) != names.end(); },
      names);
}

CLI::Validator number_type() {
  std::vector<std::string> names;
  names.reserve(kDTypes);
  for (const DTypeTraits& type : internal::kDTypeTraits) names.emplace_back(type.name);
  return accept_only(
      "a number type such as f32, f16, bf16, q8_0 or q4_k",
      [](const std::string& text) { return dtype_from_name(text).has_value(); }, names);
}

CLI::Validator cache_types() {
  const std::vector<std::string> names = names_of_types(internal::kCacheTypes);
  const auto is_one = [](const std::string& name) {
    const std::optional<DType> type = dtype_from_name(name);
    return type && std::ranges::find(internal::kCacheTypes, *type) != internal::kCacheTypes.end();
  };
  const auto are_types = [=](const std::string& text) {
    const auto [key, value] = cache_type_names(text);
    return is_one(key) && is_one(value);
  };
  return accept_only(alternatives(names) + ", or two of them (K,V)", are_types, names);
}

CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? "is empty; give a value" : ""; }, ""};
}

CLI::Option* as_path(CLI::Option* option, const char* placeholder) {
  return option->type_name(placeholder)
      ->check(CLI::Validator(
          [](const std::string& text) { return text.empty() ? "is empty; give a path" : ""; }, ""));
}

CLI::Option* as_size(CLI::Option* option) {
  // CLI11's own AsSizeValue takes whole numbers only.
  return option->transform(CLI::Validator(size_to_bytes, ""))->option_text("SIZE");
}

void add_model(CLI::App& command, std::string& path) {
  as_path(command.add_option("MODEL", path, "A GGUF, safetensors or llama2.c file, or a folder"))
      ->required();
}

CLI::Option* add_threads(CLI::App& command, unsigned& threads, const std::string& what) {
  return add_whole_number(command, "--threads", threads, what)->check(in_range(1, kMostThreads));
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print JSON, with sizes in bytes");
}

CLI::Option* add_force(CLI::App& command, bool& force) {
  return command.add_flag("--force", force, "Replace the file if it exists");
}

std::string with_option_names(std::string message) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 17> names = {
      {{"PlanOptions::total_context", "--context"},
       {"PlanOptions::sequences", "--sequences"},
       {"PlanOptions::decode_batch", "--decode-batch"},
       {"PlanOptions::batch", "--batch"},
       {"PlanOptions::micro_batch", "--ubatch"},
       {"PlanOptions::rollback_states", "--rollback"},
       {"PlanOptions::weights_type", "--weights-type"},
       {"PlanOptions::weights_bytes", "--weights-size"},
       {"PlanOptions::overhead", "--overhead"},
       {"PlanOptions::foreign", "--foreign-memory"},
       {"Shape::dim", "--dim"},
       {"Shape::ffn", "--ffn"},
       {"Shape::layers", "--layers"},
       {"Shape::heads", "--heads"},
       {"Shape::kv_heads", "--kv-heads"},
       {"Shape::vocab", "--vocab"},
       {"Shape::seq_len", "--seq-len"}}};
  for (const auto& [field, option] : names) {
    for (std::size_t at = 0; (at = message.find(field, at)) != std::string::npos;) {
      message.replace(at, field.size(), option);
    }
  }
  return message;
}

std::vector<std::string> named_as_options(std::vector<std::string> messages) {
  for (std::string& message : messages) message = with_option_names(std::move(message));
  return messages;
}

void add_plan_arguments(CLI::App& command, PlanArguments& arguments) {
  PlanOptions& o = arguments.options;
  const auto add_number = [&](const char* name, std::uint64_t& value, const char* what) {
    return add_whole_number(command, name, value, what)->capture_default_str();
  };
  const auto add_text = [&](const char* name, const char* what, const char* values, auto take) {
    return command.add_option_function<std::string>(name, take, what)->option_text(values);
  };
  as_path(command.add_option("MODEL", arguments.model,
                             "A GGUF, safetensors, config.json or llama2.c file, or a folder"))
      ->required();
  add_text("--profile",
           "Plan what a layout allocates (native), or what llama.cpp would allocate [native]",
           "native|llama.cpp",
           [&o](const std::string& name) {
             o.profile = name == "native" ? native_profile() : llama_cpp_profile();
           })
      ->check(one_of({"native", "llama.cpp"}));
  add_whole_number(command, "--context", o.total_context,
                   "Context of all sequences together, in tokens [the model's own]");
  add_number("--sequences", o.sequences, "Conversations held at the same time");
  add_number("--decode-batch", o.decode_batch, "Tokens per decode step");
  add_number("--batch", o.batch, "Prompt tokens submitted at once");
  arguments.micro_batch = add_number("--ubatch", o.micro_batch, "Prompt tokens computed at once");
  add_number("--rollback", o.rollback_states, "Extra recurrent states, kept for rejected drafts");
  add_text("--kv", "Type of the K and V caches, or one type for each [f16]", "TYPE[,TYPE]",
           [&o](const std::string& text) { set_cache_types(text, o); })
      ->check(cache_types());
  as_choice<bool>(command.add_option("--flash-attention", o.flash_attention,
                                     "Compute attention without a matrix of scores [on]"),
                  {{"on", true}, {"off", false}});
  add_text("--weights-type", "Type of the weight matrices [the model's own]", "TYPE",
           [&o](const std::string& text) { o.weights_type = type_of(text); })
      ->check(number_type());
  add_some_size(command, "--weights-size", o.weights_bytes,
                "Size of all weights, for a model whose files do not state it")
      ->excludes("--weights-type");
  add_text("--activation-type", "Type of the buffers of a pass [f16]", "TYPE",
           [&o](const std::string& text) { o.activation_type = type_of(text); })
      ->check(number_type());
  command.add_flag("--unified", o.unified, "Let all sequences share one stream of cells");
  command.add_flag("--swa-full", o.full_window_cache,
                   "Keep the full context in sliding-window layers");
  add_size(command, "--overhead", o.overhead,
           "Bytes to set aside for the driver context or as a safety margin");
  add_text(
      "--foreign-memory",
      "What a library takes from the host outside the tapes: a size, or that of a known library "
      "for its calling threads or simultaneous int8 executions; may be repeated",
      "SIZE|openblas=THREADS|onednn=EXECUTIONS",
      [&o](const std::string& text) { add_foreign_memory(text, o.foreign); })
      ->check(foreign_memory_text())
      ->trigger_on_parse();
  command.add_flag(
      "--check", arguments.check,
      "Exit with 0 only if every part is exact or bounded from above, otherwise with 4");
  add_json(command, arguments.json);
}

void require_batches(const PlanArguments& arguments) {
  const PlanOptions& o = arguments.options;
  if (arguments.micro_batch->count() == 0 || o.micro_batch <= o.batch) return;
  throw InvalidArgument(
      {.argument = "--ubatch", .value = o.micro_batch, .limit = o.batch},
      fmt::format("--ubatch of {} exceeds --batch of {}, which limits it", o.micro_batch, o.batch),
      "raise --batch, or use a smaller --ubatch");
}

int check_exit_code(const PlanArguments& arguments, const PlanCertainty& certainty) {
  if (!arguments.check || certainty.is_bounded()) return 0;
  tell_error("more may be needed than was planned: " + certainty_text(certainty) +
             "; set aside a margin with --overhead, and leave out --check");
  return kNotBounded;
}

}  // namespace tapedeck::cli
