/// @file
/// All of the core.
#pragma once

#include "tapedeck/base/abi.hpp"                  // IWYU pragma: export
#include "tapedeck/base/bytes.hpp"                // IWYU pragma: export
#include "tapedeck/base/checked.hpp"              // IWYU pragma: export
#include "tapedeck/base/dtype.hpp"                // IWYU pragma: export
#include "tapedeck/base/error.hpp"                // IWYU pragma: export
#include "tapedeck/base/version.hpp"              // IWYU pragma: export
#include "tapedeck/gpu/device.hpp"                // IWYU pragma: export
#include "tapedeck/gpu/device_block.hpp"          // IWYU pragma: export
#include "tapedeck/gpu/device_error.hpp"          // IWYU pragma: export
#include "tapedeck/gpu/device_span.hpp"           // IWYU pragma: export
#include "tapedeck/gpu/device_stream.hpp"         // IWYU pragma: export
#include "tapedeck/gpu/device_tape.hpp"           // IWYU pragma: export
#include "tapedeck/gpu/host_device.hpp"           // IWYU pragma: export
#include "tapedeck/gpu/page_pool.hpp"             // IWYU pragma: export
#include "tapedeck/layout/layout.hpp"             // IWYU pragma: export
#include "tapedeck/layout/pass_guard.hpp"         // IWYU pragma: export
#include "tapedeck/layout/stat.hpp"               // IWYU pragma: export
#include "tapedeck/memory/block.hpp"              // IWYU pragma: export
#include "tapedeck/memory/block_options.hpp"      // IWYU pragma: export
#include "tapedeck/memory/shared_tape.hpp"        // IWYU pragma: export
#include "tapedeck/memory/spill_source.hpp"       // IWYU pragma: export
#include "tapedeck/memory/tape.hpp"               // IWYU pragma: export
#include "tapedeck/memory/tape_full.hpp"          // IWYU pragma: export
#include "tapedeck/memory/tape_resource.hpp"      // IWYU pragma: export
#include "tapedeck/memory/tape_scope.hpp"         // IWYU pragma: export
#include "tapedeck/memory/tape_stat.hpp"          // IWYU pragma: export
#include "tapedeck/memory/typed_takes.hpp"        // IWYU pragma: export
#include "tapedeck/memory/warm.hpp"               // IWYU pragma: export
#include "tapedeck/model/metadata.hpp"            // IWYU pragma: export
#include "tapedeck/model/model.hpp"               // IWYU pragma: export
#include "tapedeck/model/model_shape.hpp"         // IWYU pragma: export
#include "tapedeck/model/tensor_directory.hpp"    // IWYU pragma: export
#include "tapedeck/plan/budget.hpp"               // IWYU pragma: export
#include "tapedeck/plan/decode_buffers_plan.hpp"  // IWYU pragma: export
#include "tapedeck/plan/fit.hpp"                  // IWYU pragma: export
#include "tapedeck/plan/kv_cache.hpp"             // IWYU pragma: export
#include "tapedeck/plan/memory_estimate.hpp"      // IWYU pragma: export
#include "tapedeck/plan/packing.hpp"              // IWYU pragma: export
#include "tapedeck/plan/plan.hpp"                 // IWYU pragma: export
#include "tapedeck/plan/quantization.hpp"         // IWYU pragma: export
#include "tapedeck/plan/region.hpp"               // IWYU pragma: export
#include "tapedeck/plan/streaming_config.hpp"     // IWYU pragma: export
#include "tapedeck/plan/tensor_parallel.hpp"      // IWYU pragma: export
