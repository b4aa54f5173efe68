// SPDX-License-Identifier: Apache-2.0
/// @file
/// All headers of `tapedeck::llama_cpp`, which predicts the memory use of llama.cpp and is linked
/// in addition to the core.
#pragma once

#include "tapedeck/engines/llama_cpp/profile.hpp"  // IWYU pragma: export
