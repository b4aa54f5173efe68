// SPDX-License-Identifier: Apache-2.0
#include "plan/cache_cells.hpp"

#include <algorithm>

#include "base/require.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {

std::uint64_t CacheCells::rows_of(const LayerShape& layer) const {
  const std::uint64_t ratio = std::max<std::uint64_t>(layer.compress_ratio, 1);
  if (!is_windowed(layer) || windowless || full_window_cache || layer.window == 0) {
    return parts(cells, ratio);
  }
  const std::uint64_t seen = fits(CheckedSize(layer.window) * window_factor + window_slack);
  return parts(up_to_multiple(std::min(cells, seen), rounding), ratio);
}

CacheCells cache_cells(const ModelShape& shape, const PlanOptions& options) {
  require_one("PlanOptions::sequences", options.sequences);
  require_one("PlanOptions::decode_batch", options.decode_batch);
  require_one("PlanOptions::batch", options.batch);
  require_one("PlanOptions::micro_batch", options.micro_batch);
  require_one("PlanOptions::cell_rounding", options.cell_rounding);
  const std::uint64_t context = options.total_context != 0 ? options.total_context : shape.context;
  if (context == 0) {
    throw InvalidArgument({.argument = "PlanOptions::total_context", .value = 0, .limit = 1},
                          "the model states no context",
                          "set PlanOptions::total_context to the number of tokens");
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
  // Every sequence gets an equal share of a micro-batch.
  const std::uint64_t tokens = std::min(fits(CheckedSize(out.cells) * out.streams), micro_batch);
  out.micro_batch = up_to_multiple(tokens, options.sequences);
  return out;
}

}  // namespace tapedeck::internal
