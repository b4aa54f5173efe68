#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/commands.hpp"
#include "cli/decode_telemetry.hpp"
#include "cli/interrupt.hpp"
#include "cli/option_values.hpp"
#include "cli/output.hpp"
#include "llama/arrival.hpp"
#include "llama/cuda_decoder.hpp"
#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/make_model.hpp"
#include "llama/sampler.hpp"
#include "llama/streamed_llama.hpp"
#include "llama/talk.hpp"
#include "llama/tokenizer.hpp"
#include "os/file.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
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
  std::string activations = "f32";
  TelemetryOptions telemetry;
  float temperature = 0;
  std::uint64_t seed = 1;
  unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
  bool ids = false;
  bool stat = false;
};

// The one that was given, the one in the file, or the one beside it.
llama::Tokenizer tokenizer_for(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  const std::size_t vocab = model.shape().vocab;
  if (!arguments.tokenizer.empty()) return {arguments.tokenizer, vocab};
  if (model.model().format == ModelFormat::gguf) return {model.model(), vocab};
  const std::filesystem::path beside = llama::tokenizer_beside(arguments.model);
  if (os::facts(beside).error == ENOENT) {
    throw InvalidArgument("no tokenizer: there is no " + beside.string(), "give --tokenizer FILE");
  }
  return {beside, vocab};
}

// Of a conversation, for `positions_for`.
std::size_t positions_asked(const DecodeArguments& arguments, const llama::Shape& shape) {
  return arguments.positions.value_or(std::min(kUsualPositions, shape.seq_len));
}

// Control characters would drive the terminal; only white space is text.
bool is_text(std::string_view piece) {
  if (piece.size() != 1) return true;
  const auto byte = static_cast<unsigned char>(piece[0]);
  return (byte >= ' ' && byte != 0x7F) || (byte >= '\t' && byte <= '\r');
}

// Prints talks, one after the other, as text or as ids.
class Printer {
 public:
  Printer(const DecodeArguments& arguments, const llama::Tokenizer& tokenizer, const Layout& layout)
      : tokenizer_(tokenizer), layout_(layout), ids_(arguments.ids), live_(arguments.stat) {}

  // The first token is BOS, which has no text, or the prompt's first where a model has no BOS.
  void begin(llama::TokenId first) {
    if (ids_) {
      reading_ = output_.write(fmt::format_int(first).c_str());
    } else {
      print(std::nullopt, first);
    }
  }

  bool show_token(llama::TokenId previous, llama::TokenId token) {
    live_.make_way();
    if (ids_) {
      reading_ = output_.write(fmt::format(" {}", token));
    } else {
      print(previous, token);
    }
    live_.show(layout_.stat());
    return reading_;
  }

  void end() {
    live_.finish();
    reading_ = output_.write("\n");
  }

  // False when nobody reads any more.
  [[nodiscard]] bool reading() const noexcept { return reading_; }

 private:
  void print(std::optional<llama::TokenId> previous, llama::TokenId token) {
    if (tokenizer_.is_end(token)) return;
    const std::string_view piece = tokenizer_.decode(previous, token);
    if (is_text(piece)) reading_ = output_.write(piece);
  }

  const llama::Tokenizer& tokenizer_;
  const Layout& layout_;
  bool ids_;
  bool reading_ = true;
  Output output_;
  LiveStat live_;
};

struct Prompts {
  std::vector<std::vector<llama::TokenId>> tokens;
  std::size_t longest = 0;  ///< Of all conversations, in tokens.
};

// All of them, before the first is answered.
Prompts encode(const DecodeArguments& arguments, const llama::Tokenizer& tokenizer,
               const llama::Shape& shape) {
  Prompts prompts;
  for (const std::string& prompt : arguments.prompts) {
    prompts.tokens.push_back(tokenizer.encode(prompt));
    prompts.longest =
        std::max(prompts.longest, llama::positions_for(shape, prompts.tokens.back().size(),
                                                       positions_asked(arguments, shape)));
  }
  return prompts;
}

// Reserved for the longest talk the model is made for, and committed for the one that was asked
// for.
LayoutOptions layout_options(const llama::LlamaModel& model) {
  LayoutOptions options = model.options();
  options.commit = Commit::with_talks;
  options.growth_step = 1;
  return options;
}

// Stops a warm that is interrupted.
WarmOptions until(const std::atomic<bool>& stop) {
  const std::stop_source source;
  return {.stop = source.get_token(), .progress = [&stop, source](const WarmProgress&) {
            if (stop) source.request_stop();
          }};
}

// What all talks need, wherever they are computed.
struct Talks {
  const DecodeArguments& arguments;
  const llama::Shape& shape;
  const llama::Tokenizer& tokenizer;
  const Prompts& prompts;
  llama::Sampler& sampler;
  std::span<const WeightsFile> files;
  const std::atomic<bool>& stop;
};

// Holds them, one after the other, until somebody has enough. Returns the passes.
std::size_t hold_all(const Talks& talks, llama::TalkDecoder& decoder, DecodeTelemetry& telemetry,
                     Printer& printer) {
  const llama::OnToken on_token = [&](llama::TokenId previous, llama::TokenId token) {
    telemetry.pass();
    return printer.show_token(previous, token);
  };
  const llama::OnPhase on_phase = [&](llama::TalkPhase phase) { telemetry.enter(phase); };
  std::size_t passes = 0;
  for (const std::vector<llama::TokenId>& prompt : talks.prompts.tokens) {
    decoder.clear_talk();  // the last one stays, for the statistics
    printer.begin(prompt[0]);
    passes += llama::hold_talk(decoder, talks.sampler, prompt,
                               positions_asked(talks.arguments, talks.shape),
                               talks.tokenizer.ends(), talks.stop, on_token, on_phase)
                  .passes;
    telemetry.end_talk();
    printer.end();
    if (talks.stop || !printer.reading()) break;
  }
  return passes;
}

// However it ends, what was recorded is kept.
std::size_t hold_recorded(const Talks& talks, llama::TalkDecoder& decoder,
                          DecodeTelemetry& telemetry, Printer& printer) {
  try {
    return hold_all(talks, decoder, telemetry, printer);
  } catch (...) {
    telemetry.save();
    throw;
  }
}

// Holds them, and says how that went. Returns the exit code.
int hold(const Talks& talks, llama::TalkDecoder& decoder, DecodeTelemetry& telemetry,
         const Layout& layout) {
  Printer printer(talks.arguments, talks.tokenizer, layout);
  const auto start = std::chrono::steady_clock::now();
  const std::size_t passes = hold_recorded(talks, decoder, telemetry, printer);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const bool unread = !talks.stop && !printer.reading();
  if (!unread) {
    tell(fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s\n", passes, seconds.count(),
                     static_cast<double>(passes) / seconds.count()));
    if (talks.arguments.stat) tell(layout.stat().text() + telemetry.phases_text());
  }
  telemetry.save();
  if (unread) return kPipeClosed;
  return talks.stop ? kInterrupted : 0;
}

int hold_on_cpu(const Talks& talks, llama::LlamaModel& model) {
  const std::size_t longest = talks.prompts.longest;
  Layout layout(model.plan(std::max(longest, talks.shape.seq_len)), layout_options(model));
  DecodeTelemetry telemetry(talks.arguments.telemetry, layout, talks.files);
  layout.talk(0).prepare(longest);
  llama::ThreadPool pool(talks.arguments.threads);
  llama::Decoder decoder(model, layout, pool);
  const llama::Arrival arrival(model, decoder, until(talks.stop));
  // So that the first token costs what the others do.
  layout.scratch().warm().or_throw("warming tape scratch");
  layout.talk(0).warm().or_throw("warming tape history");
  return hold(talks, decoder, telemetry, layout);
}

std::string streamed_text(const LayerStreamer& streamer) {
  const StreamingPlan& plan = streamer.plan();
  const LayerStreamerStat stat = streamer.stat();
  return fmt::format(
      "layers: {} stay, {} take turns in {} slots of {}; {} copied, {} of them late\n",
      plan.resident_layers(), plan.layers.size() - plan.resident_layers(), plan.slots,
      to_iec(plan.slot_bytes()), stat.copies, stat.late);
}

// On a device of host memory: what a GPU would hold, and the arithmetic of the host.
int hold_on_host_device(const Talks& talks, llama::LlamaModel& model) {
  llama::bring_in(model, until(talks.stop));
  HostDevice device({.memory = static_cast<std::size_t>(talks.arguments.gpu_memory.value_or(0))});
  // A file may be made shorter while it is read: staged, that is an error.
  llama::StreamedLlama host(
      model, device,
      {.positions = talks.prompts.longest, .source = {.source = StreamSource::staged}});
  DecodeTelemetry telemetry(talks.arguments.telemetry, host.layout(), talks.files);
  llama::DeviceFeed feed(host.weights(), device);
  llama::ThreadPool pool(talks.arguments.threads);
  llama::DeviceSideDecoder decoder(model, host.layout(), pool, 0, &feed);
  const int exit_code = hold(talks, decoder, telemetry, host.layout());
  if (talks.arguments.stat) tell(streamed_text(host.weights().streamer()));
  return exit_code;
}

// What decoding on a GPU takes: made as a whole, or not at all.
struct OnGpu {
  OnGpu(const Talks& talks, const llama::LlamaModel& model, CudaDevice& gpu)
      : host(model, gpu,
             {.positions = talks.prompts.longest,
              .memory = talks.arguments.gpu_memory,
              .element = dtype_from_name(talks.arguments.activations).value()}),
        decoder(model, host.weights(), host.layout()) {}

  llama::StreamedLlama host;
  llama::CudaDecoder decoder;
};

int hold(const Talks& talks, OnGpu& on) {
  DecodeTelemetry telemetry(talks.arguments.telemetry, on.host.layout(), talks.files);
  const int exit_code = hold(talks, on.decoder, telemetry, on.host.layout());
  if (talks.arguments.stat) tell(streamed_text(on.host.weights().streamer()));
  return exit_code;
}

int hold_on_gpu(const Talks& talks, llama::LlamaModel& model) {
  if (const std::string why = llama::CudaDecoder::missing(); !why.empty()) {
    throw DeviceUnavailable(why, "decode with --device cpu");
  }
  CudaDevice gpu;
  llama::bring_in(model, until(talks.stop));
  OnGpu on(talks, model, gpu);
  return hold(talks, on);
}

// Says what was asked of a GPU and is not had.
void tell_cpu(const DecodeArguments& arguments, const std::string& why) {
  std::string text = "decoding on the CPU: " + printable(why);
  if (arguments.activations != "f32") text += "; it computes in f32";
  if (arguments.gpu_memory) text += "; --gpu-memory is not used";
  tell(text + '\n');
}

std::string why_no_gpu() {
  std::string why = llama::CudaDecoder::missing();
  return why.empty() ? CudaDevice::support().why : why;
}

// On a GPU where there is one, and where that has the room.
int hold_where_it_fits(const Talks& talks, llama::LlamaModel& model) {
  std::string why = why_no_gpu();
  std::optional<CudaDevice> gpu;
  std::optional<OnGpu> on;
  if (why.empty()) {
    try {
      gpu.emplace();
      llama::bring_in(model, until(talks.stop));
      on.emplace(talks, model, *gpu);
    } catch (const OutOfMemory& error) {
      why = error.what();
    } catch (const DeviceUnavailable& error) {
      why = error.what();
    }
  }
  if (on) {
    tell("decoding on " + printable(gpu->label()) + '\n');
    return hold(talks, *on);
  }
  gpu.reset();
  tell_cpu(talks.arguments, why);
  return hold_on_cpu(talks, model);
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
  if (arguments.activations != "f32" && !may_be_gpu) {
    throw InvalidArgument({.argument = "--activations"},
                          "the CPU computes in f32 and not in " + arguments.activations,
                          "give --device gpu, too");
  }
}

// Whoever mistypes must not lose a model.
void keep_apart_from_model(const DecodeArguments& arguments, const llama::LlamaModel& model) {
  if (!arguments.telemetry.record) return;
  const std::string& record = *arguments.telemetry.record;
  for (const WeightsFile& file : model.weights().files()) keep_apart(record, file.path);
  keep_apart(record, arguments.model);
  keep_apart(record, llama::tokenizer_beside(arguments.model));
  keep_apart(record, arguments.tokenizer);
}

int decode(const DecodeArguments& arguments) {
  require_device_for_its_options(arguments);
  llama::LlamaModel model(arguments.model, {.way = arguments.way});
  keep_apart_from_model(arguments, model);
  const llama::Tokenizer tokenizer = tokenizer_for(arguments, model);
  const Prompts prompts = encode(arguments, tokenizer, model.shape());
  llama::Sampler sampler(arguments.temperature, arguments.seed);
  const Talks talks = {.arguments = arguments,
                       .shape = model.shape(),
                       .tokenizer = tokenizer,
                       .prompts = prompts,
                       .sampler = sampler,
                       .files = model.weights().files(),
                       .stop = stop_on_interrupt()};
  switch (arguments.device) {
    case DecodeOn::gpu:
      return hold_on_gpu(talks, model);
    case DecodeOn::host_sim:
      return hold_on_host_device(talks, model);
    case DecodeOn::automatic:
      return hold_where_it_fits(talks, model);
    default:
      return hold_on_cpu(talks, model);
  }
}

}  // namespace

Command add_decode(CLI::App& program) {
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
  command
      ->add_option(
          "-n,--positions", a.positions,
          "Tokens of a conversation, the prompt's too; 0: as many as the model is made for."
          " A GGUF model is given more than that, where more are asked for"
          " [256, or what it is made for]")
      ->check(whole_number());
  as_choice<Way>(command->add_option("--way", a.way,
                                     "How the weights are brought in: mapped, or read into memory"),
                 {{"automatic", Way::automatic},
                  {"map", Way::map},
                  {"read", Way::read},
                  {"direct", Way::direct}});
  as_choice<DecodeOn>(
      command->add_option("--device", a.device,
                          "Where it is decoded: cpu; gpu; auto: on a GPU where there is one"
                          " with room; host-sim: on a"
                          " device of host memory, which layers are streamed to as to a GPU [cpu]"),
      {{"cpu", DecodeOn::cpu},
       {"gpu", DecodeOn::gpu},
       {"auto", DecodeOn::automatic},
       {"host-sim", DecodeOn::host_sim}});
  as_size(command->add_option("--gpu-memory", a.gpu_memory,
                              "Memory of the device; layers that it does not hold are streamed"
                              " [all of them stay]"));
  command
      ->add_option("--activations", a.activations,
                   "What a GPU computes in, and keeps of the conversation: f32, as the CPU, or f16,"
                   " half of that memory [f32]")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->option_text("f32|f16");
  command->add_option("--temperature", a.temperature, "0: always the best token")
      ->capture_default_str();
  command->add_option("--seed", a.seed, "Of the sampling")
      ->check(whole_number())
      ->capture_default_str();
  command->add_option("--threads", a.threads, "Threads that compute")
      ->check(whole_number())
      ->check(CLI::Range(1U, kMostThreads))
      ->capture_default_str();
  command->add_flag("--ids", a.ids, "Print token ids instead of text");
  command->add_flag("--stat", a.stat, "Show where the memory stands");
  add_options(*command, a.telemetry);
  return {command, [arguments] {
            if (arguments->prompts.empty()) arguments->prompts.emplace_back();
            try {
              return decode(*arguments);
            } catch (const llama::ArrivalStopped&) {
              return kInterrupted;  // nobody else stops it
            }
          }};
}

}  // namespace tapedeck::cli
