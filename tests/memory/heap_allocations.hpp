/// @file
/// What `tapedeck::heap_hook` counts, for programs that link it.
#pragma once

#include <cstdint>

extern "C" std::uint64_t tapedeck_heap_allocations() noexcept;
