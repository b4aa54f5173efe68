// SPDX-License-Identifier: Apache-2.0
/// @file
/// `to_json` and `json_schema`: snapshots as JSON and the JSON Schema, both generated from the
/// lists of fields.
#pragma once

#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Version of what `to_json` writes. It is raised when a field changes its meaning or is removed,
/// not when one is added.
inline constexpr unsigned kJsonVersion = 2;

/// Returns a snapshot as one JSON object, on one line:
///
/// | member    | holds                                                                       |
/// |-----------|-----------------------------------------------------------------------------|
/// | `schema`  | "tapedeck.snapshot"                                                         |
/// | `version` | `kJsonVersion`                                                              |
/// | `layout`  | `name`, and each of `layout_fields`                                         |
/// | `tapes`   | for each tape: `place` ("host", "gpu0"), `tape`, each of `tape_fields`, and |
/// |           | `unmet`: the requests that the host could not fulfill, with the error       |
/// | `devices` | for each device: `place` and each of `device_fields`; if requested, `label` |
/// |           | and each of `device_memory_fields`                                          |
/// | `talks`   | if requested, for each talk: `tokens` and each of `tape_fields`             |
/// | `phases`  | if requested, for each phase: `name`, each of `phase_fields`, and `peaks`:  |
/// |           | `place`, `tape` and `bytes` for each tape                                   |
/// | `process` | if requested: each of `process_fields`                                      |
///
/// Every value is an integer in the unit of its field. Null means that it is unknown, such as the
/// tokens of a layout made from sizes, or that there is no such limit. Invalid UTF-8 in a name is
/// replaced.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// std::puts(to_json(snapshot_of(layout, "chat")).c_str());
/// @endcode
[[nodiscard]] std::string to_json(const Snapshot& snapshot);

/// Returns the JSON Schema (2020-12) of what `to_json` writes, with the meaning and the unit of
/// every field. It rejects fields that this build does not know.
[[nodiscard]] std::string json_schema();

}  // namespace tapedeck::inline TAPEDECK_ABI
