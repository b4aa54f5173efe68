// SPDX-License-Identifier: Apache-2.0
/// @file
/// The version of the library. This is the only place that states it; the build reads it from here.
#pragma once

#define TAPEDECK_VERSION_MAJOR 0
#define TAPEDECK_VERSION_MINOR 1
#define TAPEDECK_VERSION_PATCH 0
