/// @file
/// All of `tapedeck::telemetry`, which is linked besides the core; without the collector, which
/// includes prometheus-cpp's headers.
#pragma once

#include "tapedeck/telemetry/advice.hpp"           // IWYU pragma: export
#include "tapedeck/telemetry/json.hpp"             // IWYU pragma: export
#include "tapedeck/telemetry/metrics.hpp"          // IWYU pragma: export
#include "tapedeck/telemetry/metrics_server.hpp"   // IWYU pragma: export
#include "tapedeck/telemetry/peak_watch.hpp"       // IWYU pragma: export
#include "tapedeck/telemetry/phases.hpp"           // IWYU pragma: export
#include "tapedeck/telemetry/process_figures.hpp"  // IWYU pragma: export
#include "tapedeck/telemetry/recorder.hpp"         // IWYU pragma: export
#include "tapedeck/telemetry/recording.hpp"        // IWYU pragma: export
#include "tapedeck/telemetry/report.hpp"           // IWYU pragma: export
#include "tapedeck/telemetry/snapshot.hpp"         // IWYU pragma: export
#include "tapedeck/telemetry/stat_publisher.hpp"   // IWYU pragma: export
#include "tapedeck/telemetry/stat_reader.hpp"      // IWYU pragma: export
