/// @file
/// All of `tapedeck::llama_cpp`, which predicts that engine's memory and is linked besides the
/// core.
#pragma once

#include "tapedeck/engines/llama_cpp/profile.hpp"  // IWYU pragma: export
