#include "cli/plan_arguments.hpp"

#include <optional>

#include "cli/option_values.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"

namespace tapedeck::cli {
namespace {

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

void add_plan_arguments(CLI::App& command, PlanArguments& arguments) {
  PlanOptions& o = arguments.options;
  const auto add_number = [&](const char* name, std::uint64_t& value, const char* what) {
    command.add_option(name, value, what)->check(whole_number())->capture_default_str();
  };
  command
      .add_option("MODEL", arguments.model,
                  "GGUF, safetensors, config.json, llama2.c, or a folder of them")
      ->required();
  command
      .add_option_function<std::string>(
          "--profile",
          [&o](const std::string& name) {
            o.profile = name == "native" ? native_profile() : llama_cpp_profile();
          },
          "native: what a layout allocates; llama.cpp: what that engine would")
      ->check(CLI::IsMember({"native", "llama.cpp"}))
      ->option_text("native|llama.cpp");
  command
      .add_option("--context", o.total_context,
                  "Tokens, of all sequences together [the model's own]")
      ->check(whole_number());
  add_number("--sequences", o.sequences, "Conversations held at a time");
  add_number("--decode-batch", o.decode_batch, "Tokens of one decode step");
  add_number("--batch", o.batch, "Tokens of a prompt handed over at a time");
  add_number("--ubatch", o.micro_batch, "Tokens of a prompt computed at a time");
  add_number("--rollback", o.rollback_states, "Recurrent states kept beside, for rejected drafts");
  command
      .add_option_function<std::string>(
          "--kv", [&o](const std::string& text) { set_cache_types(text, o); },
          "Type of the K and V cache [f16]")
      ->option_text("TYPE[,TYPE]");
  command
      .add_option_function<std::string>(
          "--flash-attention", [&o](const std::string& text) { o.flash_attention = text == "on"; },
          "No matrix of attention scores [on]")
      ->check(CLI::IsMember({"on", "off"}))
      ->option_text("on|off");
  command
      .add_option_function<std::string>(
          "--weights-type", [&o](const std::string& text) { o.weights_type = type_of(text); },
          "Of the matrices [the model's own]")
      ->option_text("TYPE");
  command
      .add_option_function<std::string>(
          "--activation-type", [&o](const std::string& text) { o.activation_type = type_of(text); },
          "Of the buffers of a pass [f16]")
      ->option_text("TYPE");
  command.add_flag("--unified", o.unified, "One stream of cells for all sequences");
  command.add_flag("--swa-full", o.full_window_cache, "Windowed layers keep the full context");
  as_size(command.add_option("--overhead", o.overhead, "Set aside: driver context, safety margin"));
  command.add_flag("--json", arguments.json, "JSON, in whole bytes");
}

}  // namespace tapedeck::cli
