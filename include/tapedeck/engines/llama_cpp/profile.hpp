// SPDX-License-Identifier: Apache-2.0
/// @file
/// `llama_cpp_profile`: predicts how much memory llama.cpp would allocate.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/profile.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Returns a profile that predicts the sizes that llama.cpp, build v0.5.0 on a CPU, prints when it
/// starts.
///
/// Its caches differ from the native ones in three points: without flash attention V is stored
/// transposed, and padded to the widest layer; the blocks of a quantized type must divide a head;
/// some models keep every token although their config.json states a window. Its scratch consists of
/// two regions: "prefill.compute_buffer", which decode steps use as well, and "decode.output", the
/// logits of each sequence that the engine returns to its caller. `make_plan` throws
/// InvalidArgument for caches that the engine refuses.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");  // of tapedeck::model
/// const Plan plan = make_plan(model, {.profile = llama_cpp_profile(), .total_context = 8192});
/// std::cout << to_iec(plan.breakdown().prefill) << '\n';
/// @endcode
[[nodiscard]] Profile llama_cpp_profile() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
