// SPDX-License-Identifier: Apache-2.0
// A model that one process converts, and that others decode with after it was killed.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "llama/gguf_model.hpp"
#include "llama/support.hpp"
#include "model/shared_data.hpp"
#include "os/child.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::tests {
namespace {

/// Converts all tensors to f32.
Weights converted(const Weights& from) {
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const TensorView view = from[i];
    specs.push_back({.name = std::string(view.name),
                     .dtype = DType::f32,
                     .shape = {view.shape.begin(), view.shape.end()}});
  }
  WeightsBuilder builder(specs, {.name = "stories in f32"});
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::span<float> out = builder.as<float>(i);
    if (from[i].dtype == DType::f32) {
      std::ranges::copy(from[i].as<float>(), out.begin());
    } else {
      std::ranges::transform(from[i].as<std::uint16_t>(), out.begin(), [](std::uint16_t bits) {
        return static_cast<float>(value_of_half(bits));
      });
    }
  }
  return std::move(builder).seal();
}

std::vector<llama::TokenId> decode(llama::LlamaModel& model, int prompt) {
  Layout layout(model.plan(256), model.options());
  llama::ThreadPool pool(1);
  llama::Decoder decoder(model, layout, pool);
  const llama::Tokenizer tokenizer(model.model(), model.shape().vocab);
  return ids_of_talk(decoder, tokenizer.encode(kStoriesPrompts[prompt]), 256);
}

TEST(SharedDecode, GoesOnWhenTheOwnerOfTheWeightsIsKilled) {
  const std::filesystem::path path = shared_data("gguf") / "stories260K-F16.gguf";
  if (const auto why = no_shared_data("gguf/stories260K-F16.gguf")) GTEST_SKIP() << *why;
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);

  Child owner([&] {
    Weights weights = Weights::open(path);
    ASSERT_TRUE(weights.warm());
    converted(weights).send(sockets[0]);
    ::pause();  // it keeps its memory until it is killed
  });
  llama::LlamaModel model(read_model(path), Weights::receive(sockets[1]));
  EXPECT_EQ(decode(model, 0), expected_ids(1));
  owner.kill(SIGKILL);
  EXPECT_EQ(owner.wait().signal, SIGKILL);
  EXPECT_EQ(decode(model, 1), expected_ids(2));
  Child reader([&] { EXPECT_EQ(decode(model, 2), expected_ids(3)); });
  EXPECT_EQ(reader.wait().said, "");
  for (const int end : sockets) ::close(end);
}

TEST(SharedDecode, RefusesWeightsOfAnotherModel) {
  const TempFolder folder;
  const auto path = folder.write("made.gguf", made_gguf().bytes());
  WeightsBuilder builder({{.name = "token_embd.weight", .dtype = DType::f32, .shape = {3, 5}}});
  EXPECT_THROW(llama::LlamaModel(read_model(path), std::move(builder).seal()), Error);
}

}  // namespace
}  // namespace tapedeck::tests
