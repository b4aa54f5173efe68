// SPDX-License-Identifier: Apache-2.0
/// @file
/// All headers of `tapedeck::weights`, which is linked in addition to the core.
#pragma once

#include "tapedeck/weights/huge_page_trial.hpp"  // IWYU pragma: export
#include "tapedeck/weights/tensor_view.hpp"      // IWYU pragma: export
#include "tapedeck/weights/warm_job.hpp"         // IWYU pragma: export
#include "tapedeck/weights/weights.hpp"          // IWYU pragma: export
#include "tapedeck/weights/weights_builder.hpp"  // IWYU pragma: export
