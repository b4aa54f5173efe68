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
using llama::Decoder;
using llama::LlamaModel;
using llama::TokenId;

const std::vector<TokenId> kIds = {1, 280, 65, 7, 280};

// A model that is open, and whose weights are not there.
struct Cold {
  Cold(const std::filesystem::path& file, Way way)
      : model(file, {.way = way}),
        layout(model.plan(), model.options()),
        pool(1),
        decoder(model, layout, pool) {}

  std::vector<float> logits() {
    std::vector<float> all;
    for (const TokenId id : kIds) {
      const std::span<float> logits = decoder.forward(id);
      all.insert(all.end(), logits.begin(), logits.end());
      layout.clear_pass();
    }
    layout.clear_talk();
    return all;
  }

  LlamaModel model;
  Layout layout;
  llama::ThreadPool pool;
  Decoder decoder;
};

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

  // So that layers arrive one after the other.
  const std::filesystem::path file_ = made_of_some_chunks();
};

INSTANTIATE_TEST_SUITE_P(Ways, ArrivalTest, ::testing::Values(Way::map, Way::read, Way::direct),
                         [](const auto& way) { return to_string(way.param); });

TEST_P(ArrivalTest, WhatIsComputedMeanwhileIsWhatIsComputedAfterwards) {
  Cold warm(file_, GetParam());
  ASSERT_TRUE(warm.model.weights().warm());
  const std::vector<float> expected = warm.logits();

  Cold cold(file_, GetParam());
  std::atomic<int> chunks{0};
  std::latch decoding(1);  // no chunk but the first comes before it
  {
    const Arrival arrival(cold.model, cold.decoder,
                          {.threads = 1, .progress = [&](const WarmProgress&) {
                             ++chunks;
                             decoding.wait();
                           }});
    decoding.count_down();
    EXPECT_EQ(cold.logits(), expected);
  }
  EXPECT_GE(chunks, 3);
  // Whatever became of the job, all that is used is there, and nobody waits any more.
  EXPECT_EQ(cold.logits(), expected);
}

TEST_P(ArrivalTest, LaterTokensKnowNothingOfIt) {
  Cold cold(file_, GetParam());
  {
    const Arrival arrival(cold.model, cold.decoder);
    static_cast<void>(cold.decoder.forward(1));
    cold.layout.clear_pass();
    cold.layout.clear_talk();
  }
  for (std::size_t part = 0; part < cold.model.parts(); ++part) {
    for (const std::uint32_t tensor : cold.model.tensors_of(part)) {
      EXPECT_TRUE(cold.model.weights().warmed(tensor));
    }
  }
  Cold warm(file_, GetParam());
  ASSERT_TRUE(warm.model.weights().warm());
  EXPECT_EQ(cold.logits(), warm.logits());
}

TEST_P(ArrivalTest, StoppedItThrowsAndTheTalkIsAsItWas) {
  Cold cold(file_, GetParam());
  {
    std::stop_source source;
    source.request_stop();
    const Arrival arrival(cold.model, cold.decoder, {.stop = source.get_token()});
    EXPECT_THROW(static_cast<void>(cold.decoder.forward(1)), ArrivalStopped);
    EXPECT_EQ(cold.decoder.position(), 0U);
    cold.layout.clear_pass();
  }
  const Arrival again(cold.model, cold.decoder);
  const std::vector<float> logits = cold.logits();
  Cold warm(file_, GetParam());
  ASSERT_TRUE(warm.model.weights().warm());
  EXPECT_EQ(logits, warm.logits());
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
    static_cast<void>(host.decoder.forward(1));
    host.layout.clear_pass();
  }
  EXPECT_THAT(parts, ::testing::ElementsAre(0, 1, 0, 1, 2, 3));
}

}  // namespace
}  // namespace tapedeck::tests
