// SPDX-License-Identifier: Apache-2.0
// Models whose layers take turns in slots of a device decode like models that are completely there.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "llama/decoder.hpp"
#include "llama/streamed_llama.hpp"
#include "llama/support.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

using llama::LlamaModel;
using llama::StreamedLlama;
using llama::StreamedLlamaOptions;
using llama::TokenId;
using llama::Tokenizer;

/// A model on a `HostDevice`.
struct DeviceSide {
  DeviceSide(const LlamaModel& model, Device& device, const StreamedLlamaOptions& options = {})
      : host(model, device, options),
        pool(2),
        decoder(model, host.layout(), pool, 0, &host.weights()) {}

  StreamedLlama host;
  llama::ThreadPool pool;
  llama::DeviceSideDecoder decoder;
};

HostDeviceOptions with_memory(std::size_t bytes) { return {.memory = bytes, .granularity = kPage}; }

/// The bytes that a device needs for slots alone.
std::uint64_t least_memory(const LlamaModel& model, std::uint64_t slots,
                           std::size_t positions = 0) {
  HostDevice device(with_memory(4_KiB));
  const auto error = thrown<OutOfMemory>(
      [&] { StreamedLlama(model, device, {.positions = positions, .slots = slots}); });
  return error.needed();
}

struct Case {
  const char* file;
  std::uint64_t slots;
  StreamSource source;
};
void PrintTo(const Case& one, std::ostream* out) {
  *out << one.file << ' ' << one.slots << ' ' << static_cast<int>(one.source);
}

class StreamedStories : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { SKIP_WITHOUT_STORIES(); }
  [[nodiscard]] static std::filesystem::path file() {
    return kStories.parent_path() / GetParam().file;
  }
};

constexpr std::size_t kPositions = 256;
constexpr const char* kCheckpoint = "stories260K/stories260K.bin";
constexpr const char* kGguf = "gguf/stories260K.gguf";

INSTANTIATE_TEST_SUITE_P(Cases, StreamedStories,
                         testing::Values(Case{kCheckpoint, 2, StreamSource::pin},
                                         Case{kCheckpoint, 3, StreamSource::pin},
                                         Case{kCheckpoint, 2, StreamSource::staged},
                                         Case{kGguf, 2, StreamSource::pin},
                                         Case{kGguf, 3, StreamSource::staged}));

TEST_P(StreamedStories, TokensAreThoseOfTheReference) {
  const auto model = warm_model(file());
  const Tokenizer tokenizer(kStories / "tok512.bin", 512);
  const std::uint64_t least = least_memory(*model, GetParam().slots, kPositions);
  std::vector<std::uint64_t> resident;
  int n = 0;  // a different prompt for each
  for (const std::uint64_t memory : {least, least + 256_KiB, std::uint64_t{64_MiB}}) {
    HostDevice device(with_memory(memory));
    DeviceSide side(*model, device,
                    {.positions = kPositions,
                     .slots = GetParam().slots,
                     .source = {.source = GetParam().source}});
    resident.push_back(side.host.streaming().resident_layers());
    ++n;
    ASSERT_EQ(ids_of_talk(side.decoder, tokenizer.encode(kStoriesPrompts[n - 1]), kPositions),
              expected_ids(n));
    const LayerStreamerStat stat = side.host.weights().streamer().stat();
    EXPECT_LE(stat.late, 1U);  // each layer was already being copied when it was needed
    EXPECT_EQ(stat.copies == 0, resident.back() == 5);
  }
  EXPECT_EQ(resident.front(), 0U);
  EXPECT_GT(resident[1], 0U);
  EXPECT_EQ(resident.back(), 5U);
}

TEST(StreamedDecode, OneByteLessThanNeededIsAnErrorWithTheAmount) {
  const TempFolder folder;
  llama::Shape shape = kSmall;
  shape.layers = 4;  // two layers would be as large as their slots
  const auto model = warm_model(made(folder, "m", shape));
  const std::uint64_t least = least_memory(*model, 2);
  HostDevice enough(with_memory(least));
  const StreamedLlama host(*model, enough);
  EXPECT_EQ(host.streaming().resident_layers(), 0U);
  HostDevice too_small(with_memory(least - 1));
  const auto error = thrown<OutOfMemory>([&] { StreamedLlama(*model, too_small); });
  EXPECT_EQ(error.needed(), least);
  EXPECT_EQ(error.available(), least - 1);
  EXPECT_EQ(too_small.memory().free, too_small.memory().total);
}

TEST(StreamedDecode, LogitsAreThoseOfTheHostToTheBit) {
  const TempFolder folder;
  Host host(made(folder, "m", kSmall));
  HostDevice device(with_memory(least_memory(host.model, 1)));
  DeviceSide side(host.model, device, {.slots = 1});
  for (std::size_t position = 0; position < kSmall.seq_len; ++position) {
    const auto token = static_cast<TokenId>(1 + position * 13 % 290);
    ASSERT_EQ(next_logits(side.decoder, token), next_logits(host.decoder, token)) << position;
  }
  side.decoder.prepare(0);
  EXPECT_THROW(side.decoder.prepare(1), TalkFull);
  EXPECT_EQ(side.host.layout().stat().gpu[0].tokens, kSmall.seq_len);
}

}  // namespace
}  // namespace tapedeck::tests
