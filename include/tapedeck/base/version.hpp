/// @file
/// The version: the only place that states it. The build reads it from here.
#pragma once

#define TAPEDECK_VERSION_MAJOR 0
#define TAPEDECK_VERSION_MINOR 1
#define TAPEDECK_VERSION_PATCH 0
