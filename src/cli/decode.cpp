// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/amounts.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/made_model.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "cli/talks.hpp"
#include "cli/why_not.hpp"
#include "llama/arrival.hpp"
#include "llama/cuda_decoder.hpp"
#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/streamed_llama.hpp"
#include "llama/talk.hpp"
#include "model/unwritten.hpp"
#include "os/file.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::cli {
namespace {

constexpr std::size_t kUsualPositions = 256;

enum class DecodeOn : std::uint8_t { cpu, gpu, automatic, host_sim };

struct DecodeArguments {
  std::string model;
  std::string tokenizer;
  std::vector<std::string> prompts;
  std::optional<std::size_t> positions;
  Way way = Way::automatic;
  DecodeOn device = DecodeOn::cpu;
  std::optional<std::uint64_t> gpu_memory;
  bool in_f16 = false;  // activations in f16 instead of f32
  TelemetryOptions telemetry;
  float temperature = 0;
  std::uint64_t seed = 1;
  unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
  bool ids = false;
  bool stat = false;
};

struct Decoding {
  const DecodeArguments& arguments;
  llama::LlamaModel& model;
  Talks talks;
  std::size_t longest = 0;  // tokens of the longest talk
};

// Returns the tokenizer that was given, else the one in the model's file or beside it.
llama::Tokenizer tokenizer_for(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  const std::size_t vocab = model.shape().vocab;
  if (!arguments.tokenizer.empty()) return {arguments.tokenizer, vocab};
  if (model.model().format == ModelFormat::gguf) return {model.model(), vocab};
  const std::filesystem::path beside = tokenizer_beside(arguments.model);
  if (internal::os::facts(beside).error == ENOENT) {
    throw InvalidArgument({.argument = "--tokenizer"},
                          "the model has no tokenizer, and " + beside.string() + " does not exist",
                          "give one with --tokenizer FILE");
  }
  return {beside, vocab};
}

// Encodes all prompts, so that errors are found before the first one is answered.
void encode_prompts(Decoding& decoding) {
  for (const std::string& prompt : decoding.arguments.prompts) {
    decoding.talks.prompts.push_back(decoding.talks.tokenizer.encode(prompt));
    const std::size_t positions = llama::positions_for(
        decoding.model.shape(), decoding.talks.prompts.back().size(), decoding.talks.positions);
    decoding.longest = std::max(decoding.longest, positions);
  }
}

// Options that stop a warm job when `stop` is set.
WarmOptions until(const std::atomic<bool>& stop) {
  const std::stop_source source;
  return {.stop = source.get_token(), .progress = [&stop, source](const WarmProgress&) {
            if (stop) source.request_stop();
          }};
}

// Commits memory for the requested talks, of all that is reserved for the longest possible one.
LayoutOptions layout_options(const llama::LlamaModel& model) {
  LayoutOptions options = model.options();
  options.commit = Commit::with_talks;
  options.growth_step = 1;
  return options;
}

int hold_on_cpu(Decoding& decoding) {
  llama::LlamaModel& model = decoding.model;
  Layout layout(model.plan(std::max(decoding.longest, model.shape().seq_len)),
                layout_options(model));
  llama::ThreadPool pool(decoding.arguments.threads);
  llama::Decoder decoder(model, layout, pool);
  std::optional<llama::Arrival> arrival;
  return hold_talks(decoding.talks, decoder, layout, [&] {
    layout.talk(0).prepare(decoding.longest);
    arrival.emplace(model, decoder, until(decoding.talks.stop));
    // Makes the first token as fast as the others.
    layout.scratch().warm().or_throw("warming tape scratch");
    layout.talk(0).warm().or_throw("warming tape history");
  });
}

// Loads all weights before any of them are copied to a device.
const llama::LlamaModel& brought_in(const Decoding& decoding) {
  llama::bring_in(decoding.model, until(decoding.talks.stop));
  return decoding.model;
}

int hold_on_device(Decoding& decoding, llama::StreamedLlama& streamed,
                   llama::TalkDecoder& decoder) {
  const int exit_code = hold_talks(decoding.talks, decoder, streamed.layout());
  if (!decoding.arguments.stat) return exit_code;
  const StreamingPlan& plan = streamed.streaming();
  const LayerStreamerStat stat = streamed.weights().streamer().stat();
  tell(fmt::format("layers: {} resident, {} taking turns in {} of {}; {} copied, {} of them late\n",
                   plan.resident_layers(), plan.layers.size() - plan.resident_layers(),
                   internal::count_of(plan.slots, "slot"), to_iec(plan.slot_bytes()), stat.copies,
                   stat.late));
  return exit_code;
}

// Decodes on a simulated device: host memory holds what a GPU would, and the CPU computes.
int hold_on_host_device(Decoding& decoding) {
  const DecodeArguments& arguments = decoding.arguments;
  HostDevice device({.memory = static_cast<std::size_t>(arguments.gpu_memory.value_or(0))});
  // With staging, a file that is truncated while it is read gives an error instead of a SIGBUS.
  llama::StreamedLlama host(
      brought_in(decoding), device,
      {.positions = decoding.longest, .source = {.source = StreamSource::staged}});
  llama::ThreadPool pool(arguments.threads);
  llama::DeviceSideDecoder decoder(decoding.model, host.layout(), pool, 0, &host.weights());
  return hold_on_device(decoding, host, decoder);
}

// Everything that decoding on a GPU needs. The constructor makes all of it or throws.
struct OnGpu {
  explicit OnGpu(const Decoding& decoding)
      : host(brought_in(decoding), gpu,
             {.positions = decoding.longest,
              .memory = decoding.arguments.gpu_memory,
              .element = decoding.arguments.in_f16 ? DType::f16 : DType::f32}),
        decoder(llama::make_cuda_decoder(decoding.model, host.weights(), host.layout())) {}

  CudaDevice gpu;
  llama::StreamedLlama host;
  std::unique_ptr<llama::TalkDecoder> decoder;
};

int hold_on_gpu(Decoding& decoding) {
  if (const std::string why = llama::cuda_decoder_missing(); !why.empty()) {
    throw DeviceUnavailable("device", why, "decode with --device cpu");
  }
  OnGpu on(decoding);
  return hold_on_device(decoding, on.host, *on.decoder);
}

// Reports that the CPU decodes instead, and which options of a GPU have no effect.
void tell_cpu(const DecodeArguments& arguments, const std::string& why) {
  std::string text = "decoding on the CPU: " + printable(why);
  if (arguments.in_f16) text += "; it computes in f32";
  if (arguments.gpu_memory) text += "; --gpu-memory is not used";
  tell(text + '\n');
}

// Decodes on a GPU if there is one with enough memory, else on the CPU.
int hold_where_it_fits(Decoding& decoding) {
  std::string why = llama::cuda_decoder_missing();
  std::optional<OnGpu> on;
  if (why.empty()) why = why_not([&] { on.emplace(decoding); });
  if (!on) {
    tell_cpu(decoding.arguments, why);
    return hold_on_cpu(decoding);
  }
  tell("decoding on " + printable(on->gpu.label()) + '\n');
  return hold_on_device(decoding, on->host, *on->decoder);
}

// Options of a device must not be ignored silently if none is used.
void require_device_for_its_options(const DecodeArguments& arguments) {
  if (arguments.gpu_memory && arguments.device == DecodeOn::cpu) {
    throw InvalidArgument({.argument = "--gpu-memory"},
                          "--gpu-memory limits a device, but the CPU decodes", "add --device");
  }
  const bool may_be_gpu =
      arguments.device == DecodeOn::gpu || arguments.device == DecodeOn::automatic;
  if (arguments.in_f16 && !may_be_gpu) {
    throw InvalidArgument({.argument = "--activations"},
                          "the CPU cannot compute in f16, only in f32", "add --device gpu");
  }
}

// A mistyped --record must not overwrite a file that is read, nor, without --force, any other.
void require_record_to_be_new(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  if (!arguments.telemetry.record) return;
  const std::string& record = *arguments.telemetry.record;
  for (const WeightsFile& file : model.weights().files()) keep_apart(record, file.path);
  keep_apart(record, arguments.model);
  keep_apart(record, tokenizer_beside(arguments.model));
  keep_apart(record, arguments.tokenizer);
  require_new(record, arguments.telemetry.force);
}

// `llama::positions_for` ends such a talk at the model's context.
void warn_of_limit(const DecodeArguments& arguments, const llama::Shape& shape) {
  if (arguments.positions.value_or(0) <= shape.seq_len || shape.longer_talks) return;
  tell(
      fmt::format("warning: --positions of {} exceeds the model's context of {}, beyond which a"
                  " llama2.c model cannot go; each conversation ends there\n",
                  *arguments.positions, internal::count_of(shape.seq_len, "token")));
}

int decode(const DecodeArguments& arguments) {
  require_device_for_its_options(arguments);
  llama::LlamaModel model(arguments.model, {.way = arguments.way});
  require_record_to_be_new(arguments, model);
  tell(warnings_text(internal::warnings_of_unwritten(model.weights().tensors())));
  warn_of_limit(arguments, model.shape());
  const llama::Tokenizer tokenizer = tokenizer_for(arguments, model);
  const std::size_t usual = std::min(kUsualPositions, model.shape().seq_len);
  Decoding decoding = {.arguments = arguments,
                       .model = model,
                       .talks = {.telemetry = arguments.telemetry,
                                 .files = model.weights().files(),
                                 .tokenizer = tokenizer,
                                 .sampler = llama::Sampler(arguments.temperature, arguments.seed),
                                 .stop = stop_on_interrupt(),
                                 .positions = arguments.positions.value_or(usual),
                                 .ids = arguments.ids,
                                 .stat = arguments.stat}};
  encode_prompts(decoding);
  switch (arguments.device) {
    case DecodeOn::gpu:
      return hold_on_gpu(decoding);
    case DecodeOn::host_sim:
      return hold_on_host_device(decoding);
    case DecodeOn::automatic:
      return hold_where_it_fits(decoding);
    default:
      return hold_on_cpu(decoding);
  }
}

// The options that select a device and limit its memory.
void add_device_options(CLI::App& command, DecodeArguments& a) {
  as_choice<DecodeOn>(
      command.add_option("--device", a.device,
                         "Where to decode: on the cpu; on a gpu; on a GPU if there is one with"
                         " enough memory (auto); or on a device simulated in host memory, to which"
                         " layers are streamed as to a GPU (host-sim) [cpu]"),
      {{"cpu", DecodeOn::cpu},
       {"gpu", DecodeOn::gpu},
       {"auto", DecodeOn::automatic},
       {"host-sim", DecodeOn::host_sim}});
  add_some_size(
      command, "--gpu-memory", a.gpu_memory,
      "Memory of the device to use; layers that do not fit in it are streamed [all that is"
      " free]");
  as_choice<bool>(
      command.add_option("--activations", a.in_f16,
                         "Type of a GPU's activations and KV cache: f32, as on the CPU, or f16,"
                         " which takes half the memory [f32]"),
      {{"f32", false}, {"f16", true}});
}

void add_telemetry_options(CLI::App& command, TelemetryOptions& options) {
  command
      .add_option(
          "--metrics", options.metrics,
          "Serve memory metrics to Prometheus at this address. HOST is 127.0.0.1 by default;"
          " PORT 0 picks a free port")
      ->option_text("[HOST]:PORT");
  // A flag, so that the word after it is not taken as its value.
  command.add_flag("--publish{decode}", options.publish,
                   "Publish memory metrics for `tapedeck top`; --publish=NAME publishes them under"
                   " another name [decode]");
  CLI::Option* record = as_path(command.add_option(
      "--record", options.record,
      fmt::format("At the end, write a recording of the memory to this file, as JSON lines: the"
                  " phases, the last {} samples, one after each pass, and the date, host, model and"
                  " command line with its prompts",
                  kMostSamples)));
  add_force(command, options.force)->needs(record);
}

}  // namespace

void add_decode(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("decode", "Continues prompts with a GGUF or llama2.c Llama model.");
  auto arguments = std::make_shared<DecodeArguments>();
  DecodeArguments& a = *arguments;
  as_path(command->add_option("MODEL", a.model,
                              "A GGUF file (f32, f16, bf16, q8_0) or a llama2.c checkpoint of"
                              " version 0"))
      ->required();
  as_path(command->add_option("--tokenizer", a.tokenizer,
                              "A llama2.c tokenizer file [the one in a GGUF file, else"
                              " MODEL.tokenizer]"));
  // A prompt is taken literally, even if it has brackets or dashes. Each one is a conversation.
  command
      ->add_option_function<std::string>(
          "-p,--prompt", [&a](const std::string& prompt) { a.prompts.push_back(prompt); },
          "Text to continue; give it several times for several conversations, one after the other")
      ->trigger_on_parse();
  add_whole_number(
      *command, "-n,--positions", a.positions,
      "Tokens per conversation, including the prompt; 0 means the context that the"
      " model was trained for, beyond which only GGUF models can go [256, or the model's"
      " context if that is smaller]");
  add_way(*command, a.way, "How to load the weights: map the files, or read them into memory");
  add_device_options(*command, a);
  command
      ->add_option("--temperature", a.temperature,
                   "Randomness of the sampling; 0 always chooses the best token")
      ->capture_default_str();
  add_whole_number(*command, "--seed", a.seed, "Seed of the sampling")->capture_default_str();
  add_threads(*command, a.threads, "Number of threads that compute [the machine's]");
  command->add_flag("--ids", a.ids, "Print token ids instead of text");
  command->add_flag("--stat", a.stat, "Show the memory in use, live and at the end");
  add_telemetry_options(*command, a.telemetry);
  command->callback([arguments, &exit_code] {
    if (arguments->prompts.empty()) arguments->prompts.emplace_back();
    try {
      exit_code = decode(*arguments);
    } catch (const llama::ArrivalStopped&) {
      exit_code = kInterrupted;  // only an interrupt stops the loading
    }
  });
}

}  // namespace tapedeck::cli
