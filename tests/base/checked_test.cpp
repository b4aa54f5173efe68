// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/checked.hpp"
#include "base/most.hpp"

#include <cstdint>

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kTop = std::uint64_t{1} << 63;

using U64 = std::uint64_t;

// All of these can be evaluated at compile time.
static_assert(checked_add<U64>(7) == 7);
static_assert(checked_add<U64>(0, U64{0}) == 0);
static_assert(checked_add<U64>(1, U64{2}, U64{3}) == 6);
static_assert(checked_add<U64>(kMost - 1, U64{1}) == kMost);
static_assert(checked_add<U64>(kTop, kTop - 1) == kMost);
static_assert(!checked_add<U64>(kMost, U64{1}));
static_assert(!checked_add<U64>(kTop, kTop));
static_assert(!checked_add<U64>(kMost, kMost));
// The wrapped sum of the first two would fit again after adding the third.
static_assert(!checked_add<U64>(kMost, U64{2}, U64{5}));
static_assert(!checked_add<U64>(1, kMost, U64{1}));
static_assert(checked_add<std::uint8_t>(250, std::uint8_t{5}) == 255);
static_assert(!checked_add<std::uint8_t>(250, std::uint8_t{6}));
static_assert(!checked_add<std::uint32_t>(1U << 31, 1U << 31));

static_assert(checked_mul<U64>(7) == 7);
static_assert(checked_mul<U64>(151'936, 1536, sizeof(float)) == 933'494'784);
static_assert(checked_mul<U64>(kMost, 1) == kMost);
static_assert(checked_mul<U64>(U64{1} << 32, (U64{1} << 32) - 1) == kMost - ((U64{1} << 32) - 1));
static_assert(!checked_mul<U64>(U64{1} << 32, U64{1} << 32));
static_assert(!checked_mul<U64>(kTop, 2));
static_assert(!checked_mul<U64>(kMost, kMost));
static_assert(!checked_mul<std::uint8_t>(16, 16));
// An overflow is an overflow even if a later 0 would hide it, because the caller's sizes make no
// sense.
static_assert(!checked_mul<U64>(kTop, 2, 0));
static_assert(checked_mul<U64>(0, kMost, kMost) == 0);

static_assert(round_up(0, 4096) == 0 && round_up(1, 4096) == 4096 && round_up(4095, 4096) == 4096);
static_assert(round_up(4096, 4096) == 4096 && round_up(4097, 4096) == 8192);
static_assert(round_up(kMost, 1) == kMost);
static_assert(round_up(kMost - 4094, 4096) == 0);  // without a check it wraps
static_assert(round_down(0, 4096) == 0 && round_down(4095, 4096) == 0);
static_assert(round_down(4096, 4096) == 4096 && round_down(kMost, 4096) == kMost - 4095);
static_assert(round_down(kMost, 1) == kMost);
static_assert(checked_round_up(0, 4096) == 0 && checked_round_up(1, 4096) == 4096);
static_assert(checked_round_up(kMost - 4095, 4096) == kMost - 4095);  // the last multiple
static_assert(!checked_round_up(kMost - 4094, 4096) && !checked_round_up(kMost, 4096));
static_assert(checked_round_up(kMost, 1) == kMost && checked_round_up(kTop, kTop) == kTop);
static_assert(!checked_round_up(kTop + 1, kTop));

}  // namespace
}  // namespace tapedeck::tests
