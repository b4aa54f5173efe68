/// @file
/// Models to warm, to plan and to decode, made for a test.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "cli/program.hpp"
#include "model/gguf_bytes.hpp"
#include "os/pages.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace os = internal::os;

inline constexpr std::uint64_t kTensorBytes = 1 << 20;

/// A llama2.c model of three layers, to plan.
inline std::string made_for_plans() {
  return made_once("plan.bin", {.dim = 64,
                                .ffn = 172,
                                .layers = 3,
                                .heads = 8,
                                .kv_heads = 4,
                                .vocab = 512,
                                .seq_len = 1024});
}

/// A llama2.c model whose talks are of 20 tokens.
inline std::string made_small() { return made_once("small.bin", kSmall); }

/// A llama2.c model whose talks are of 1000 tokens: it says more than a pipe of 4 KiB holds, and
/// for long enough to be stopped.
inline std::string made_for_long_talks() {
  return made_once("long.bin", {.dim = 64,
                                .ffn = 172,
                                .layers = 3,
                                .heads = 4,
                                .kv_heads = 4,
                                .vocab = 512,
                                .seq_len = 1000});
}

/// A GGUF file of five tensors of f32, `kTensorBytes` each: one before two layers, two after them.
/// The layers are not in their order.
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

/// A GGUF file of one tensor that takes no room on the disk; nothing where the file system cannot.
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

/// Takes a file out of the page cache, and gives the bytes that stay; nothing where the kernel does
/// not tell.
[[nodiscard]] inline std::optional<std::uint64_t> make_cold(const std::filesystem::path& path) {
  const End file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ::fsync(file.get());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return os::cached_file_bytes(file.get(), 0, std::filesystem::file_size(path));
}

}  // namespace tapedeck::tests
