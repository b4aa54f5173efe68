// SPDX-License-Identifier: Apache-2.0
/// @file
/// Shared by the tests of the engine: the real model, generated models, and a complete host for a
/// model.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cli/made_model.hpp"
#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/sampler.hpp"
#include "llama/talk.hpp"
#include "llama/tokenizer.hpp"
#include "model/shared_data.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {

inline const std::filesystem::path kStories = shared_data("stories260K");

/// Returns why a test cannot use a real file or folder of that name, or `nullopt` if it can.
[[nodiscard]] inline std::optional<std::string> no_shared_data(const std::string& name) {
  const std::filesystem::path path = shared_data(name);
  if (std::filesystem::exists(path)) return std::nullopt;
  return "there is no " + path.string();
}

/// The trained checkpoint, and the output of the reference program for it.
#define SKIP_WITHOUT_STORIES() \
  if (const auto why = no_shared_data("stories260K")) GTEST_SKIP() << *why

inline constexpr const char* kStoriesPrompts[] = {"", "Tom had a red car. One day",
                                                  "The dog and the cat went to the park to play."};

[[nodiscard]] inline std::filesystem::path expected_file(int n, const char* what) {
  return kStories / ("expected_" + std::to_string(n) + "_" + what + ".txt");
}

[[nodiscard]] inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

[[nodiscard]] inline std::vector<llama::TokenId> expected_ids(int n) {
  std::ifstream in(expected_file(n, "tokens"));
  return {std::istream_iterator<llama::TokenId>(in), {}};
}

/// Two layers, and two query heads for each KV head; no size is a multiple of a common one.
inline constexpr llama::Shape kSmall = {
    .dim = 24, .ffn = 50, .layers = 2, .heads = 4, .kv_heads = 2, .vocab = 300, .seq_len = 20};

inline const std::atomic<bool> kNeverStop{false};

/// Generates a model with that name in the folder.
inline std::filesystem::path made(const TempFolder& folder, const std::string& name,
                                  const llama::Shape& shape, std::uint64_t seed = 1) {
  std::filesystem::path path = folder / name;
  EXPECT_TRUE(cli::make_model(path, shape, seed, kNeverStop));
  return path;
}

/// A model that is generated once per program, for tests that only read it.
inline std::filesystem::path made_once(const std::string& name, const llama::Shape& shape) {
  static const TempFolder folder;
  std::filesystem::path path = folder / name;
  return std::filesystem::exists(path) ? path : made(folder, name, shape);
}

/// An open model, ready to decode when its weights are in memory.
struct ColdHost {
  explicit ColdHost(const std::filesystem::path& file, unsigned threads = 1, std::size_t talks = 1,
                    std::size_t positions = 0, Way way = Way::automatic)
      : model(file, {.way = way}),
        layout(model.plan(positions, talks), model.options()),
        pool(threads),
        decoder(model, layout, pool) {}

  llama::LlamaModel model;
  Layout layout;
  llama::ThreadPool pool;
  llama::Decoder decoder;
};

/// A warm model, ready to decode.
struct Host : ColdHost {
  explicit Host(const std::filesystem::path& file, unsigned threads = 1, std::size_t talks = 1,
                std::size_t positions = 0, Way way = Way::automatic)
      : ColdHost(file, threads, talks, positions, way) {
    EXPECT_TRUE(model.weights().warm());
  }
};

/// A model whose weights are in memory.
[[nodiscard]] inline std::shared_ptr<const llama::LlamaModel> warm_model(
    const std::filesystem::path& file, Way way = Way::automatic) {
  auto model = std::make_shared<llama::LlamaModel>(file, WeightsOptions{.way = way});
  EXPECT_TRUE(model->weights().warm());
  return model;
}

inline constexpr llama::TokenId kEndAtBos[] = {llama::kBos};

/// Returns the ids of one talk, including those of the prompt and a final BOS. Clears the talk.
[[nodiscard]] inline std::vector<llama::TokenId> ids_of_talk(
    llama::TalkDecoder& decoder, const std::vector<llama::TokenId>& prompt,
    std::size_t positions = 0, llama::Sampler sampler = llama::Sampler(0)) {
  std::vector<llama::TokenId> ids = {prompt[0]};
  llama::hold_talk(decoder, sampler, prompt, positions, kEndAtBos, kNeverStop,
                   [&](llama::TokenId, llama::TokenId token) {
                     ids.push_back(token);
                     return true;
                   });
  decoder.clear_talk();
  return ids;
}

/// Decodes one token, with everything that a step includes.
inline std::vector<float> next_logits(llama::TalkDecoder& decoder, llama::TokenId token) {
  decoder.prepare(1);
  const std::span<float> logits = decoder.forward(token);
  decoder.clear_pass();
  return {logits.begin(), logits.end()};
}

/// Returns all logits of a text, one after the other. Clears the talk.
[[nodiscard]] inline std::vector<float> logits_of(llama::TalkDecoder& decoder,
                                                  const std::vector<llama::TokenId>& ids) {
  std::vector<float> all;
  for (const llama::TokenId id : ids) {
    const std::vector<float> logits = next_logits(decoder, id);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  decoder.clear_talk();
  return all;
}

/// Returns the text of ids, without that of the first one.
[[nodiscard]] inline std::string text_of_ids(const llama::Tokenizer& tokenizer,
                                             const std::vector<llama::TokenId>& ids) {
  std::string text;
  for (std::size_t i = 1; i < ids.size(); ++i) text += tokenizer.decode(ids[i - 1], ids[i]);
  return text;
}

/// The name of a byte in tokenizers, such as "<0x0A>".
[[nodiscard]] inline std::string piece_of_byte(int byte) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
  return text;
}

/// Why a file was refused. Empty if it was accepted.
struct Refusal {
  std::string field{};
  std::optional<FormatFault> fault{};
  std::optional<std::uint64_t> offset{};  ///< Compared only if both sides have one.

  friend bool operator==(const Refusal& a, const Refusal& b) {
    return a.field == b.field && a.fault == b.fault &&
           (!a.offset || !b.offset || a.offset == b.offset);
  }
  friend std::ostream& operator<<(std::ostream& out, const Refusal& one) {
    out << '"' << one.field << "\" " << (one.fault ? to_string(*one.fault) : "taken");
    return one.offset ? out << " at " << *one.offset : out;
  }
};
inline const Refusal kTaken{};

/// Returns why `open(file)` refuses the file.
[[nodiscard]] Refusal refusal_of(const std::filesystem::path& file, const auto& open) {
  try {
    open(file);
    return {};
  } catch (const FormatError& error) {
    EXPECT_EQ(error.path(), file.string());
    EXPECT_LE(error.offset(), std::filesystem::file_size(file));
    EXPECT_EQ(std::string_view(error.what()).find('\x1b'), std::string_view::npos);
    return {error.field(), error.fault(), error.offset()};
  }
}

/// Overwrites some bytes with a value.
template <class T>
void overwrite(std::string& bytes, std::size_t at, T value) {
  ASSERT_LE(at + sizeof value, bytes.size());
  std::memcpy(&bytes[at], &value, sizeof value);
}

/// Flips a few random bits, and sometimes cuts off the end. The first `header` bytes are hit as
/// often as all others together.
[[nodiscard]] inline std::string damaged(std::string bytes, std::size_t header,
                                         std::mt19937_64& random) {
  for (std::size_t flips = 1 + random() % 4; flips != 0; --flips) {
    char& byte = bytes[random() % (random() % 2 == 0 ? header : bytes.size())];
    byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << random() % 8));
  }
  if (random() % 4 == 0) bytes.resize(random() % bytes.size());
  return bytes;
}

}  // namespace tapedeck::tests
