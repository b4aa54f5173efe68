// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs a function repeatedly with its 1st, 2nd, ... call of the driver failing, until a run
/// completes without a failure.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "device/stand_in_device.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::tests {

// Calls that release something. Their failures are not reported, and what they should release
// leaks.
inline const std::set<std::string> kGivingBack = {
    "cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2", "cuMemAddressFree", "cuMemRelease",
    "cuMemUnmap", "cuMemFree_v2", "cuMemFreeHost", "cuMemHostUnregister", "cuStreamDestroy_v2",
    "cuEventDestroy_v2", "cuModuleUnload", "cuGraphDestroy", "cuGraphExecDestroy",
    // Called before any of these.
    "cuCtxPushCurrent_v2"};

inline void expect_names(const std::string& text, const std::string& victim) {
  EXPECT_NE(text.find(victim), std::string::npos) << text;
  EXPECT_NE(text.find("CUDA_ERROR_UNKNOWN"), std::string::npos) << text;
}

// Whether the failure was reported.
inline bool run_with_fault(std::uint64_t k, const std::function<void()>& body) {
  stand_in::reset();
  stand_in::fail_call(k, CUDA_ERROR_UNKNOWN);
  try {
    body();
    return false;
  } catch (const DeviceError& error) {
    const std::string victim = stand_in::stop_failing();
    EXPECT_EQ(error.call(), victim);
    EXPECT_EQ(error.number(), CUDA_ERROR_UNKNOWN);
    expect_names(error.what(), victim);
  } catch (const DeviceUnavailable& error) {
    expect_names(error.what(), stand_in::stop_failing());
  }
  return true;
}

// Returns the number of calls, and how many of their failures were reported.
// @param untold  further calls that `body` only makes to release something.
inline std::pair<std::uint64_t, std::uint64_t> sweep_driver_calls(
    const std::function<void()>& body, const std::set<std::string>& untold = {}) {
  std::uint64_t told = 0;
  for (std::uint64_t k = 1; k < 1000; ++k) {
    SCOPED_TRACE("call " + std::to_string(k));
    if (run_with_fault(k, body)) {
      ++told;
      expect_all_given_back();
      continue;
    }
    const std::string victim = stand_in::stop_failing();
    if (victim.empty()) {
      expect_all_given_back();
      return {k - 1, told};
    }
    EXPECT_TRUE(kGivingBack.contains(victim) || untold.contains(victim))
        << "a failure was not noticed: " << victim << " failed";
  }
  ADD_FAILURE() << "the sweep did not end after a thousand calls";
  return {0, 0};
}

}  // namespace tapedeck::tests
