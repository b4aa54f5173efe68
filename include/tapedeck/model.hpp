/// @file
/// All of `tapedeck::model`, which reads models' files and is linked besides the core.
#pragma once

#include "tapedeck/model/read_model.hpp"  // IWYU pragma: export
