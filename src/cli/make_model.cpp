// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/amounts.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/made_model.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace {

using internal::count_of;

constexpr std::size_t kSmallDim = 256;  // smaller models get a small vocabulary and context

struct MakeModelArguments {
  std::string out;
  std::size_t dim = 0;
  std::size_t layers = 0;
  std::optional<std::size_t> heads;
  std::optional<std::size_t> kv_heads;
  std::optional<std::size_t> ffn;
  std::optional<std::size_t> vocab;
  std::optional<std::size_t> seq_len;
  std::uint64_t seed = 1;
  bool force = false;
};

// At least four heads of a usual size, if dim allows it.
std::size_t usual_heads(std::size_t dim) {
  for (const std::size_t head_size : std::array<std::size_t, 8>{128, 64, 48, 32, 16, 8, 4, 2}) {
    if (dim % head_size == 0 && dim / head_size >= 4) return dim / head_size;
  }
  return 1;
}

// Two thirds of four times dim, as in Llama, rounded up to a multiple of 32.
std::size_t usual_ffn(std::size_t dim) { return (dim * 8 / 3 + 31) / 32 * 32; }

llama::Shape shape_of(const MakeModelArguments& a) {
  const std::size_t heads = a.heads.value_or(usual_heads(a.dim));
  return {.dim = a.dim,
          .ffn = a.ffn.value_or(usual_ffn(a.dim)),
          .layers = a.layers,
          .heads = heads,
          .kv_heads = a.kv_heads.value_or(heads),
          .vocab = a.vocab.value_or(a.dim < kSmallDim ? 512 : 32'000),
          .seq_len = a.seq_len.value_or(a.dim < kSmallDim ? 512 : 2048)};
}

int run_make_model(const MakeModelArguments& arguments) {
  const llama::Shape shape = shape_of(arguments);
  require_new(arguments.out, arguments.force);
  require_new(tokenizer_beside(arguments.out), arguments.force);
  if (!make_model(arguments.out, shape, arguments.seed, stop_on_interrupt())) {
    return kInterrupted;
  }
  tell(fmt::format("{}: {}, dim {}, {}, {}, {}, ffn {}, {}, length {}\n", printable(arguments.out),
                   to_iec(*checkpoint_bytes(shape)), shape.dim, count_of(shape.layers, "layer"),
                   count_of(shape.heads, "head"), count_of(shape.kv_heads, "KV head"), shape.ffn,
                   count_of(shape.vocab, "token"), shape.seq_len));
  return 0;
}

}  // namespace

void add_make_model(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "make-model", "Makes a llama2.c model with random weights, as OUT and OUT.tokenizer.");
  auto arguments = std::make_shared<MakeModelArguments>();
  MakeModelArguments& a = *arguments;
  as_path(command->add_option("OUT", a.out, "The file to write"))->required();
  add_whole_number(*command, "--dim", a.dim, "Width of the residual stream")->required();
  add_whole_number(*command, "--layers", a.layers, "Number of layers")->required();
  add_whole_number(*command, "--heads", a.heads,
                   "Number of query heads [heads of at most 128 dimensions]");
  add_whole_number(*command, "--kv-heads", a.kv_heads,
                   "Number of KV heads [the number of query heads]");
  add_whole_number(*command, "--ffn", a.ffn, "Width of the feed-forward part [8/3 of dim]");
  add_whole_number(*command, "--vocab", a.vocab,
                   "Size of the vocabulary [512 if dim is below 256, else 32000]");
  add_whole_number(*command, "--seq-len", a.seq_len,
                   "Longest talk, in tokens [512 if dim is below 256, else 2048]");
  add_whole_number(*command, "--seed", a.seed, "Seed of the weights")->capture_default_str();
  add_force(*command, a.force);
  command->callback([arguments, &exit_code] { exit_code = run_make_model(*arguments); });
}

}  // namespace tapedeck::cli
