// SPDX-License-Identifier: Apache-2.0
/// @file
/// All headers of `tapedeck::telemetry`, which is linked in addition to the core. The collector is
/// not included, because it needs the headers of prometheus-cpp.
#pragma once

#include "tapedeck/telemetry/live/stat_publisher.hpp"       // IWYU pragma: export
#include "tapedeck/telemetry/live/stat_reader.hpp"          // IWYU pragma: export
#include "tapedeck/telemetry/metrics/metrics.hpp"           // IWYU pragma: export
#include "tapedeck/telemetry/metrics/metrics_server.hpp"    // IWYU pragma: export
#include "tapedeck/telemetry/recording/peak_watch.hpp"      // IWYU pragma: export
#include "tapedeck/telemetry/recording/phases.hpp"          // IWYU pragma: export
#include "tapedeck/telemetry/recording/recorder.hpp"        // IWYU pragma: export
#include "tapedeck/telemetry/recording/recording.hpp"       // IWYU pragma: export
#include "tapedeck/telemetry/report/advice.hpp"             // IWYU pragma: export
#include "tapedeck/telemetry/report/report.hpp"             // IWYU pragma: export
#include "tapedeck/telemetry/snapshot/json.hpp"             // IWYU pragma: export
#include "tapedeck/telemetry/snapshot/process_figures.hpp"  // IWYU pragma: export
#include "tapedeck/telemetry/snapshot/snapshot.hpp"         // IWYU pragma: export
