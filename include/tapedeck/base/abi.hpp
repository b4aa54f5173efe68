// SPDX-License-Identifier: Apache-2.0
/// @file
/// The ABI namespace. All public names are in `namespace tapedeck::inline TAPEDECK_ABI`, an inline
/// namespace. Its name encodes the build settings that the inlined part of a tape depends on.
///
/// The name covers these settings independently: AddressSanitizer, ThreadSanitizer,
/// MemorySanitizer, memcheck's client requests (`TAPEDECK_VALGRIND`), the owner check
/// (`TAPEDECK_OWNER_CHECK`) and red zones (`TAPEDECK_RED_ZONES`). A program and a library that
/// differ in one of them do not link, since they would disagree about the layout of a tape or about
/// what was reported to the tool. Build the library with the same settings as the program; the
/// library's CMake targets and .pc files pass the definitions on.
///
/// The name covers nothing else. `NDEBUG`, the optimization level and UndefinedBehaviorSanitizer
/// may differ, because no type in the library depends on them; whether `clear` fills released
/// memory depends on the `NDEBUG` that the library was built with. A different standard library, or
/// a different ABI setting of it, is not detected unless one of its names is in a signature. The C
/// functions (`tapedeck_heap_allocations`) are not in any namespace.
#pragma once

#if __cplusplus < 202002L
#error "Tapedeck needs C++20: compile with -std=c++20, or cxx_std_20 in CMake"
// Ends the compilation here. The errors that follow from an older C++ would bury this one.
#include "tapedeck/base/needs_cxx20"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TAPEDECK_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define TAPEDECK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TAPEDECK_ASAN 1
#elif __has_feature(thread_sanitizer)
#define TAPEDECK_TSAN 1
#elif __has_feature(memory_sanitizer)
#define TAPEDECK_MSAN 1
#endif
#endif

// Only one tool at a time: a program built with a sanitizer does not run under memcheck.
#if defined(TAPEDECK_ASAN)
#define TAPEDECK_ABI_TOOL _asan
#elif defined(TAPEDECK_TSAN)
#define TAPEDECK_ABI_TOOL _tsan
#elif defined(TAPEDECK_MSAN)
#define TAPEDECK_ABI_TOOL _msan
#elif defined(TAPEDECK_VALGRIND)
#define TAPEDECK_MEMCHECK 1
#define TAPEDECK_ABI_TOOL _valgrind
#else
#define TAPEDECK_ABI_TOOL
#endif

#if defined(TAPEDECK_OWNER_CHECK)
#define TAPEDECK_ABI_OWNER _owner
#else
#define TAPEDECK_ABI_OWNER
#endif

#if defined(TAPEDECK_RED_ZONES)
#define TAPEDECK_ABI_ZONES _zones
#else
#define TAPEDECK_ABI_ZONES
#endif

#define TAPEDECK_ABI_PASTE(tool, owner, zones) v0##tool##owner##zones
#define TAPEDECK_ABI_NAME(tool, owner, zones) TAPEDECK_ABI_PASTE(tool, owner, zones)
#define TAPEDECK_ABI TAPEDECK_ABI_NAME(TAPEDECK_ABI_TOOL, TAPEDECK_ABI_OWNER, TAPEDECK_ABI_ZONES)
