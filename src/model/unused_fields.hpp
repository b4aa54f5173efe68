// SPDX-License-Identifier: Apache-2.0
/// @file
/// The fields of a model's file that bear on sizes, but that no rule has used.
#pragma once

#include <string>
#include <vector>

#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// A field, or an object none of whose fields was used.
struct UnusedField {
  std::string path;  ///< "vision_config", "text_config.kv_groups"
  Sizes sizes;       ///< What it bears on, without what it was used for.

  friend bool operator==(const UnusedField&, const UnusedField&) = default;
};

/// Call this after all rules have read what they use. Whether an unknown field bears on sizes is
/// judged by its name. In the order of the file.
[[nodiscard]] std::vector<UnusedField> unused_fields(const Figures& figures);

/// Adds a warning of an assumption. The sizes that it bears on are no longer exact.
void assume(ModelShape& shape, Sizes sizes, std::string warning);

/// Names the unused fields that bear on these sizes, in one warning for each kind of size.
/// @param listed  whether files list the model's tensors, so that its weights follow from no field
void note_unused_fields(const Figures& figures, Sizes sizes, bool listed, ModelShape& shape);

}  // namespace tapedeck::internal
