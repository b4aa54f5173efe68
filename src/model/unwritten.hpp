// SPDX-License-Identifier: Apache-2.0
/// @file
/// `warnings_of_unwritten`: files whose tensors were not all written.
#pragma once

#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// One warning for each file with holes in its tensors (`TensorFile::unwritten`). It is no error,
/// because zeros may be what a tensor holds.
[[nodiscard]] std::vector<std::string> warnings_of_unwritten(const TensorDirectory& tensors);

}  // namespace tapedeck::internal
