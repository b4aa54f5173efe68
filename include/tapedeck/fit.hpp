// SPDX-License-Identifier: Apache-2.0
/// @file
/// All headers of `tapedeck::fit`, which is linked in addition to the core.
#pragma once

#include "tapedeck/fit/budget.hpp"            // IWYU pragma: export
#include "tapedeck/fit/fit.hpp"               // IWYU pragma: export
#include "tapedeck/fit/kv_cache.hpp"          // IWYU pragma: export
#include "tapedeck/fit/memory_estimate.hpp"   // IWYU pragma: export
#include "tapedeck/fit/quantization.hpp"      // IWYU pragma: export
#include "tapedeck/fit/streaming_config.hpp"  // IWYU pragma: export
