/// @file
/// How far a warm is.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck::cli {

/// A line on standard error that is rewritten in place, and gone with the object. Nothing where
/// that is no terminal. Thread-safety: one call at a time.
class ProgressBar {
 public:
  ProgressBar() noexcept;
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const WarmProgress& progress);

 private:
  bool wanted_;
  bool shown_ = false;
  double next_ = 0;  // when the line is written again, in seconds of the job
};

}  // namespace tapedeck::cli
