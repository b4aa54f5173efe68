#include "plan/cache_cells.hpp"

#include <algorithm>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

void at_least_one(std::uint64_t figure, const char* name) {
  if (figure == 0) throw InvalidArgument(std::string(name) + " is 0", "it is 1 at least");
}

}  // namespace

std::uint64_t CacheCells::of(const LayerShape& layer) const {
  const bool windowed =
      layer.attention == Attention::windowed || layer.attention == Attention::chunked;
  if (!windowed || windowless || full_window_cache || layer.window == 0) return cells;
  const std::uint64_t seen = fits(CheckedSize(layer.window) * window_factor + window_slack);
  return up_to_multiple(std::min(cells, seen), rounding);
}

CacheCells cache_cells(const ModelShape& shape, const PlanOptions& options) {
  at_least_one(options.sequences, "the number of sequences");
  at_least_one(options.decode_batch, "the batch of a decode step");
  at_least_one(options.batch, "the batch");
  at_least_one(options.micro_batch, "the micro-batch");
  at_least_one(options.cell_rounding, "the rounding step of cells");
  const std::uint64_t context = options.total_context != 0 ? options.total_context : shape.context;
  if (context == 0) {
    throw InvalidArgument("no context: the model states none", "give the number of tokens");
  }

  CacheCells out;
  out.streams = options.unified ? 1 : options.sequences;
  out.context = parts(context, out.streams);
  out.rounding = options.cell_rounding;
  out.cells = up_to_multiple(out.context, out.rounding);
  const std::uint64_t micro_batch = std::min(options.micro_batch, options.batch);
  out.window_slack = micro_batch;
  out.window_factor = options.unified ? options.sequences : 1;
  out.full_window_cache = options.full_window_cache;
  out.states =
      fits((CheckedSize(options.rollback_states) + 1) * (options.unified ? options.sequences : 1));
  // Every sequence has an equal part of a micro-batch.
  const std::uint64_t tokens = std::min(fits(CheckedSize(out.cells) * out.streams), micro_batch);
  out.micro_batch = up_to_multiple(tokens, options.sequences);
  return out;
}

}  // namespace tapedeck::internal
