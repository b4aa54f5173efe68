/// @file
/// The ABI namespace. Everything public lies in `namespace tapedeck::inline TAPEDECK_ABI`: an
/// inline namespace whose name says what the including file was compiled for, as far as the inlined
/// part of a tape depends on it.
///
/// The name guards these, each for itself: AddressSanitizer, ThreadSanitizer, MemorySanitizer,
/// memcheck's requests (`TAPEDECK_VALGRIND`) and the owner check (`TAPEDECK_OWNER_CHECK`). A
/// program and a library that differ in one of them do not link, since they would disagree about
/// the bytes of a tape or about what was told to the tool. Build the library as the program is
/// built; a CMake target or a .pc file of the library brings the definitions along.
///
/// The name does not guard anything else. `NDEBUG`, the level of optimization and
/// UndefinedBehaviorSanitizer may differ, for no type of ours depends on them; whether `clear`
/// fills what it takes back is the library's own `NDEBUG`. Another standard library, or another
/// setting of its ABI, goes unnoticed where no name of it is in a signature, and the C functions
/// (`tapedeck_heap_allocations`) have no namespace at all.
#pragma once

#if __cplusplus < 202002L
#error "Tapedeck needs C++20: compile with -std=c++20 (CMake: target_compile_features(... cxx_std_20))"
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

// One tool at a time: what a sanitizer was compiled into does not run under memcheck.
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

#define TAPEDECK_ABI_PASTE(tool, owner) v0##tool##owner
#define TAPEDECK_ABI_NAME(tool, owner) TAPEDECK_ABI_PASTE(tool, owner)
#define TAPEDECK_ABI TAPEDECK_ABI_NAME(TAPEDECK_ABI_TOOL, TAPEDECK_ABI_OWNER)
