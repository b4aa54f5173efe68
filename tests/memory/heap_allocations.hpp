// SPDX-License-Identifier: Apache-2.0
/// @file
/// Reads the counts of `tapedeck::heap_hook`, for programs that link it.
#pragma once

#include <cstdint>

extern "C" std::uint64_t tapedeck_heap_allocations() noexcept;
