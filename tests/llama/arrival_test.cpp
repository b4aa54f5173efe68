// SPDX-License-Identifier: Apache-2.0
#include "llama/arrival.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <stop_token>
#include <vector>

#include "llama/gguf_model.hpp"
#include "llama/support.hpp"

namespace tapedeck::tests {
namespace {

using llama::Arrival;
using llama::ArrivalStopped;

class ArrivalTest : public ::testing::TestWithParam<Way> {
 protected:
  static std::filesystem::path made_of_some_chunks() {
    static const TempFolder folder;
    static const std::filesystem::path file = folder.write(
        "m.gguf",
        made_gguf({.dim = 256, .ffn = 4096, .layers = 2, .heads = 4, .key = 64, .value = 64})
            .bytes());
    return file;
  }

  static std::vector<float> some_logits(ColdHost& host) {
    return logits_of(host.decoder, {1, 280, 65, 7, 280});
  }
  // The logits of a model that is in memory.
  [[nodiscard]] std::vector<float> expected_logits() const {
    Host warm(file_, 1, 1, 0, GetParam());
    return some_logits(warm);
  }

  // Made of several chunks, so that layers arrive one after the other.
  const std::filesystem::path file_ = made_of_some_chunks();
};

INSTANTIATE_TEST_SUITE_P(Ways, ArrivalTest, ::testing::Values(Way::map, Way::read, Way::direct),
                         [](const auto& way) { return to_string(way.param); });

TEST_P(ArrivalTest, WhatIsComputedMeanwhileIsWhatIsComputedAfterwards) {
  const std::vector<float> expected = expected_logits();
  ColdHost cold(file_, 1, 1, 0, GetParam());
  std::atomic<int> chunks{0};
  std::latch decoding(1);  // only the first chunk arrives before decoding begins
  {
    const Arrival arrival(cold.model, cold.decoder,
                          {.threads = 1, .progress = [&](const WarmProgress&) {
                             ++chunks;
                             decoding.wait();
                           }});
    decoding.count_down();
    EXPECT_EQ(some_logits(cold), expected);
  }
  EXPECT_GE(chunks, 3);
  // Whatever happened to the job, everything that is used is in memory, and no thread waits any
  // longer.
  EXPECT_EQ(some_logits(cold), expected);
}

TEST_P(ArrivalTest, LaterTokensKnowNothingOfIt) {
  ColdHost cold(file_, 1, 1, 0, GetParam());
  {
    const Arrival arrival(cold.model, cold.decoder);
    static_cast<void>(logits_of(cold.decoder, {1}));
  }
  for (std::size_t part = 0; part < cold.model.parts(); ++part) {
    for (const std::uint32_t tensor : cold.model.tensors_of(part)) {
      EXPECT_TRUE(cold.model.weights().warmed(tensor));
    }
  }
  EXPECT_EQ(some_logits(cold), expected_logits());
}

TEST_P(ArrivalTest, StoppedItThrowsAndTheTalkIsAsItWas) {
  ColdHost cold(file_, 1, 1, 0, GetParam());
  {
    std::stop_source source;
    source.request_stop();
    const Arrival arrival(cold.model, cold.decoder, {.stop = source.get_token()});
    EXPECT_THROW(static_cast<void>(cold.decoder.forward(1)), ArrivalStopped);
    EXPECT_EQ(cold.decoder.position(), 0U);
    cold.layout.clear_pass();
  }
  const Arrival again(cold.model, cold.decoder);
  EXPECT_EQ(some_logits(cold), expected_logits());
}

TEST(BeforeParts, IsCalledInOrderInOnePassThatSucceeds) {
  const TempFolder folder;
  Host host(made(folder, "m", kSmall));
  std::vector<std::size_t> parts;
  host.decoder.before_parts([&](std::size_t part) {
    parts.push_back(part);
    if (parts.size() == 2) throw std::runtime_error("not yet");
  });
  EXPECT_THROW(static_cast<void>(host.decoder.forward(1)), std::runtime_error);
  host.layout.clear_pass();
  EXPECT_EQ(host.decoder.position(), 0U);
  for (int pass = 0; pass < 2; ++pass) {
    next_logits(host.decoder, 1);
  }
  EXPECT_THAT(parts, ::testing::ElementsAre(0, 1, 0, 1, 2, 3));
}

}  // namespace
}  // namespace tapedeck::tests
