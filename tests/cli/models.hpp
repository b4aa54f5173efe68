// SPDX-License-Identifier: Apache-2.0
/// @file
/// Models that tests generate to warm, plan and decode them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <regex>
#include <string>
#include <system_error>
#include <utility>

#include "cli/program.hpp"
#include "model/gguf_bytes.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {

inline constexpr std::uint64_t kTensorBytes = 1 << 20;

/// A llama2.c model of three layers, to plan, and for long talks: its output is larger than a pipe
/// of 4 KiB, and takes long enough to be interrupted.
inline std::string made_large() {
  return made_once("large.bin", {.dim = 64,
                                 .ffn = 172,
                                 .layers = 3,
                                 .heads = 8,
                                 .kv_heads = 4,
                                 .vocab = 512,
                                 .seq_len = 1024});
}

/// A llama2.c model whose talks have 20 tokens.
inline std::string made_small() { return made_once("small.bin", kSmall); }

/// A command line that continues "bo" in the given number of conversations.
[[nodiscard]] inline Words with_talks(int talks, Words words) {
  for (; talks > 0; --talks) words.insert(words.end(), {"-p", "bo"});
  return words;
}

/// Joins wrapped lines of `Stat::text`, so that it has one line for each tape.
[[nodiscard]] inline std::string unwrapped(const std::string& text) {
  return std::regex_replace(text, std::regex(",\n  "), ", ");
}

/// A GGUF file of five f32 tensors of `kTensorBytes` each: one before two layers, two after them.
/// The layers are not in order.
inline std::filesystem::path write_gguf(const TempFolder& folder, const std::string& name) {
  GgufBytes file;
  file.header(5, 0);
  std::uint64_t offset = 0;
  for (const char* tensor :
       {"token_embd.weight", "blk.1.w", "blk.0.w", "output_norm.weight", "output.weight"}) {
    file.tensor(tensor, {kTensorBytes / 4}, kF32, offset);
    offset += kTensorBytes;
  }
  file.pad().zeros(offset);
  return folder.write(name, file.bytes());
}

/// A GGUF model of three layers to plan, made for 1024 tokens, or a part of one.
inline GgufBytes gguf_model(std::uint32_t version = 3, std::uint16_t part = 0,
                            std::uint16_t parts = 1) {
  GgufBytes file(version);
  file.header(1, 9).key("general.architecture", "llama");
  file.key("split.no", gguf_type::u16, part).key("split.count", gguf_type::u16, parts);
  for (const auto& [key, value] :
       {std::pair("block_count", 3U), std::pair("context_length", 1024U),
        std::pair("embedding_length", 64U), std::pair("feed_forward_length", 172U),
        std::pair("attention.head_count", 8U), std::pair("attention.head_count_kv", 4U)}) {
    file.key(std::string("llama.") + key, gguf_type::u32, value);
  }
  file.tensor(part == 0 ? "token_embd.weight" : "output.weight", {64, 512}, kF32, 0);
  return file.pad().zeros(std::size_t{64} * 512 * 4);
}

/// A GGUF file of one tensor that takes no space on the disk; `nullopt` if the file system cannot
/// do that.
inline std::optional<std::filesystem::path> write_sparse(const TempFolder& folder,
                                                         std::uint64_t bytes) {
  GgufBytes file;
  file.header(1, 0).tensor("blk.0.w", {bytes / 4}, kF32, 0).pad();
  std::filesystem::path path = folder.write("sparse.gguf", file.bytes());
  std::error_code error;
  std::filesystem::resize_file(path, file.at() + bytes, error);
  if (error) return std::nullopt;
  return path;
}

}  // namespace tapedeck::tests
