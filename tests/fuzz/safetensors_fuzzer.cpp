#include <cstddef>
#include <cstdint>
#include <utility>

#include "fuzz/checks.hpp"
#include "fuzz/memory_file.hpp"
#include "model/safetensors/safetensors.hpp"
#include "model/tensor_directory_builder.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/error.hpp"

// libFuzzer looks for this name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tapedeck;
  static const fuzz::MemoryFile input;
  const std::filesystem::path path = input.hold(data, bytes);
  try {
    internal::FileReader file(path);
    internal::TensorDirectoryBuilder builder;
    Metadata metadata;
    internal::read_safetensors_header(file, builder, metadata);
    fuzz::check(std::move(builder).finish());
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}
