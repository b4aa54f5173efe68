// SPDX-License-Identifier: Apache-2.0
/// @file
/// All headers of `tapedeck::model`, which reads model files and is linked in addition to the core.
#pragma once

#include "tapedeck/model/read_model.hpp"  // IWYU pragma: export
