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

#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/made_model.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/talks.hpp"
#include "llama/arrival.hpp"
#include "llama/cuda_decoder.hpp"
#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/streamed_llama.hpp"
#include "llama/talk.hpp"
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
  bool in_f16 = false;  // activations; else in f32
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
  std::size_t longest = 0;  // of all talks, in tokens
};

// The one that was given, the one in the file, or the one beside it.
llama::Tokenizer tokenizer_for(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  const std::size_t vocab = model.shape().vocab;
  if (!arguments.tokenizer.empty()) return {arguments.tokenizer, vocab};
  if (model.model().format == ModelFormat::gguf) return {model.model(), vocab};
  const std::filesystem::path beside = tokenizer_beside(arguments.model);
  if (internal::os::facts(beside).error == ENOENT) {
    throw InvalidArgument({.argument = "--tokenizer"},
                          "no tokenizer: there is no " + beside.string(), "give --tokenizer FILE");
  }
  return {beside, vocab};
}

// All prompts, before the first is answered.
void encode_prompts(Decoding& decoding) {
  for (const std::string& prompt : decoding.arguments.prompts) {
    decoding.talks.prompts.push_back(decoding.talks.tokenizer.encode(prompt));
    const std::size_t positions = llama::positions_for(
        decoding.model.shape(), decoding.talks.prompts.back().size(), decoding.talks.positions);
    decoding.longest = std::max(decoding.longest, positions);
  }
}

// Stops a warm that is interrupted.
WarmOptions until(const std::atomic<bool>& stop) {
  const std::stop_source source;
  return {.stop = source.get_token(), .progress = [&stop, source](const WarmProgress&) {
            if (stop) source.request_stop();
          }};
}

// Reserved for the longest talk the model is made for, and committed for the one that was asked
// for.
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
    // So that the first token costs what the others do.
    layout.scratch().warm().or_throw("warming tape scratch");
    layout.talk(0).warm().or_throw("warming tape history");
  });
}

// Brings the weights in before any of them are put on a device.
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
  tell(fmt::format("layers: {} stay, {} take turns in {} slots of {}; {} copied, {} of them late\n",
                   plan.resident_layers(), plan.layers.size() - plan.resident_layers(), plan.slots,
                   to_iec(plan.slot_bytes()), stat.copies, stat.late));
  return exit_code;
}

// On a device of host memory: what a GPU would hold, and the arithmetic of the host.
int hold_on_host_device(Decoding& decoding) {
  const DecodeArguments& arguments = decoding.arguments;
  HostDevice device({.memory = static_cast<std::size_t>(arguments.gpu_memory.value_or(0))});
  // A file may be made shorter while it is read: staged, that is an error.
  llama::StreamedLlama host(
      brought_in(decoding), device,
      {.positions = decoding.longest, .source = {.source = StreamSource::staged}});
  llama::ThreadPool pool(arguments.threads);
  llama::DeviceSideDecoder decoder(decoding.model, host.layout(), pool, 0, &host.weights());
  return hold_on_device(decoding, host, decoder);
}

// What decoding on a GPU takes: made as a whole, or not at all.
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

// Says what was asked of a GPU and is not had.
void tell_cpu(const DecodeArguments& arguments, const std::string& why) {
  std::string text = "decoding on the CPU: " + printable(why);
  if (arguments.in_f16) text += "; it computes in f32";
  if (arguments.gpu_memory) text += "; --gpu-memory is not used";
  tell(text + '\n');
}

// On a GPU where there is one, and where that has the room.
int hold_where_it_fits(Decoding& decoding) {
  std::string why = llama::cuda_decoder_missing();
  std::optional<OnGpu> on;
  try {
    if (why.empty()) on.emplace(decoding);
  } catch (const OutOfMemory& error) {
    why = error.what();
  } catch (const DeviceUnavailable& error) {
    why = error.what();
  }
  if (!on) {
    tell_cpu(decoding.arguments, why);
    return hold_on_cpu(decoding);
  }
  tell("decoding on " + printable(on->gpu.label()) + '\n');
  return hold_on_device(decoding, on->host, *on->decoder);
}

// What is asked of a device must not be dropped where there is none.
void require_device_for_its_options(const DecodeArguments& arguments) {
  if (arguments.gpu_memory && arguments.device == DecodeOn::cpu) {
    throw InvalidArgument({.argument = "--gpu-memory"},
                          "--gpu-memory limits a device, but the CPU is to decode",
                          "give --device, too");
  }
  if (arguments.gpu_memory == 0U) {
    throw InvalidArgument({.argument = "--gpu-memory", .value = 0, .limit = 1},
                          "nothing can be decoded in a --gpu-memory of 0",
                          "leave it out, or give the bytes that may be used");
  }
  const bool may_be_gpu =
      arguments.device == DecodeOn::gpu || arguments.device == DecodeOn::automatic;
  if (arguments.in_f16 && !may_be_gpu) {
    throw InvalidArgument({.argument = "--activations"}, "the CPU computes in f32 and not in f16",
                          "give --device gpu, too");
  }
}

// Whoever mistypes must not lose a model.
void keep_apart_from_model(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  if (!arguments.telemetry.record) return;
  const std::string& record = *arguments.telemetry.record;
  for (const WeightsFile& file : model.weights().files()) keep_apart(record, file.path);
  keep_apart(record, arguments.model);
  keep_apart(record, tokenizer_beside(arguments.model));
  keep_apart(record, arguments.tokenizer);
}

int decode(const DecodeArguments& arguments) {
  require_device_for_its_options(arguments);
  llama::LlamaModel model(arguments.model, {.way = arguments.way});
  keep_apart_from_model(arguments, model);
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

// Where it is decoded, and what that may take.
void add_device_options(CLI::App& command, DecodeArguments& a) {
  as_choice<DecodeOn>(
      command.add_option("--device", a.device,
                         "Where it is decoded: cpu; gpu; auto: on a GPU where there is one"
                         " with room; host-sim: on a"
                         " device of host memory, which layers are streamed to as to a GPU [cpu]"),
      {{"cpu", DecodeOn::cpu},
       {"gpu", DecodeOn::gpu},
       {"auto", DecodeOn::automatic},
       {"host-sim", DecodeOn::host_sim}});
  add_size(command, "--gpu-memory", a.gpu_memory,
           "Memory of the device; layers that it does not hold are streamed [all of them stay]");
  as_choice<bool>(
      command.add_option("--activations", a.in_f16,
                         "What a GPU computes in, and keeps of the conversation: f32, as the CPU,"
                         " or f16, half of that memory [f32]"),
      {{"f32", false}, {"f16", true}});
}

void add_telemetry_options(CLI::App& command, TelemetryOptions& options) {
  command
      .add_option("--metrics", options.metrics,
                  "Serve where the memory stands for Prometheus, at this address; without a HOST at"
                  " 127.0.0.1; PORT 0: any")
      ->option_text("[HOST]:PORT");
  // A flag, so that what follows it is still the model.
  command.add_flag("--publish{decode}", options.publish,
                   "Let `tapedeck top` see where the memory stands; --publish=NAME: by this name"
                   " [decode]");
  command
      .add_option("--record", options.record,
                  fmt::format("Write how the memory went to this file in the end, as JSON lines: a"
                              " sample after each pass, the newest {} of them, the phases, and the"
                              " date, host, model and command line with its prompts",
                              kMostSamples))
      ->option_text("FILE");
}

}  // namespace

void add_decode(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("decode", "Continues prompts with a Llama model of GGUF or llama2.c.");
  auto arguments = std::make_shared<DecodeArguments>();
  DecodeArguments& a = *arguments;
  command
      ->add_option("MODEL", a.model,
                   "GGUF file (f32, f16, bf16, q8_0), or llama2.c checkpoint, version 0")
      ->required();
  command->add_option("--tokenizer", a.tokenizer,
                      "A tokenizer file of llama2.c [the one in a GGUF file; MODEL.tokenizer]");
  // Taken as it is, whatever brackets or dashes it has; each one is a conversation.
  command
      ->add_option_function<std::string>(
          "-p,--prompt", [&a](const std::string& prompt) { a.prompts.push_back(prompt); },
          "What to continue; may be given several times: conversations, one after the other")
      ->trigger_on_parse();
  add_whole_number(*command, "-n,--positions", a.positions,
                   "Tokens of a conversation, the prompt's too; 0: as many as the model is made"
                   " for. A GGUF model is given more than that, where more are asked for"
                   " [256, or what it is made for]");
  add_way(*command, a.way, "How the weights are brought in: mapped, or read into memory");
  add_device_options(*command, a);
  command->add_option("--temperature", a.temperature, "0: always the best token")
      ->capture_default_str();
  add_whole_number(*command, "--seed", a.seed, "Of the sampling")->capture_default_str();
  add_threads(*command, a.threads, "Threads that compute")->capture_default_str();
  command->add_flag("--ids", a.ids, "Print token ids instead of text");
  command->add_flag("--stat", a.stat, "Show where the memory stands");
  add_telemetry_options(*command, a.telemetry);
  command->callback([arguments, &exit_code] {
    if (arguments->prompts.empty()) arguments->prompts.emplace_back();
    try {
      exit_code = decode(*arguments);
    } catch (const llama::ArrivalStopped&) {
      exit_code = kInterrupted;  // nobody else stops it
    }
  });
}

}  // namespace tapedeck::cli
