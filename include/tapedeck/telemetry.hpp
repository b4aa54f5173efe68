/// @file
/// All of `tapedeck::telemetry`, which is linked besides the core.
#pragma once

#include "tapedeck/telemetry/json.hpp"             // IWYU pragma: export
#include "tapedeck/telemetry/process_figures.hpp"  // IWYU pragma: export
#include "tapedeck/telemetry/snapshot.hpp"         // IWYU pragma: export
