/// @file
/// The ABI namespace. Everything public lives in `tapedeck`; inside it an inline namespace names
/// what `Tape::take` was inlined as, because a program that poisons freed memory and a library that
/// does not would otherwise link and then disagree about every byte. A mismatch is a link error:
/// build the library with the same sanitizer as the program.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define TAPEDECK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TAPEDECK_ASAN 1
#endif
#endif

#if defined(TAPEDECK_ASAN)
#define TAPEDECK_ABI v0_asan
#elif defined(TAPEDECK_VALGRIND)
#define TAPEDECK_ABI v0_valgrind
#else
#define TAPEDECK_ABI v0
#endif

/// Around what is public, directly inside `namespace tapedeck`.
#define TAPEDECK_ABI_BEGIN inline namespace TAPEDECK_ABI {
#define TAPEDECK_ABI_END }
