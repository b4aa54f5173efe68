/// @file
/// Snapshots as JSON, and the JSON Schema of that; both made from the list of figures.
#pragma once

#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Of what `to_json` gives. It is raised where a figure changes its meaning or goes; figures may be
/// added.
inline constexpr unsigned kJsonVersion = 1;

/// One object, on one line:
///
/// | member    | holds                                                                       |
/// |-----------|-----------------------------------------------------------------------------|
/// | `schema`  | "tapedeck.snapshot"                                                         |
/// | `version` | `kJsonVersion`                                                              |
/// | `layout`  | `name`, and each of `layout_fields`                                         |
/// | `tapes`   | for each: `place` ("host", "gpu0"), `tape`, each of `tape_fields`, `unmet`: |
/// |           | what the host did not have, with the error                                  |
/// | `devices` | for each: `place`, each of `device_fields`; where asked for `label` and     |
/// |           | each of `device_memory_fields`                                              |
/// | `talks`   | where asked for, for each: `tokens` and each of `tape_fields`               |
/// | `phases`  | where asked for, for each: `name`, each of `phase_fields`, `peaks`: of each |
/// |           | tape `place`, `tape` and the `bytes` it was                                 |
/// | `process` | where asked for: each of `process_fields`                                   |
///
/// Every figure is a whole number in the unit of its row; null is unknown. What is no UTF-8 in a
/// name is replaced.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// std::puts(to_json(snapshot_of(layout, "chat")).c_str());
/// @endcode
[[nodiscard]] std::string to_json(const Snapshot& snapshot);

/// The JSON Schema (2020-12) that describes it, with the meaning and the unit of every figure. It
/// refuses what this build does not know.
[[nodiscard]] std::string json_schema();

}  // namespace tapedeck::inline TAPEDECK_ABI
