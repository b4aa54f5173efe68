// SPDX-License-Identifier: Apache-2.0
// What errors and warnings quote of a file stays short, however long the file's texts are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "model/gguf_bytes.hpp"
#include "model/safetensors_bytes.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

/// The longest error or warning, or fact of an error.
std::size_t longest_of(const std::filesystem::path& path) {
  std::size_t most = 0;
  try {
    for (const std::string& text : read_model(path).shape.warnings) {
      most = std::max(most, text.size());
    }
  } catch (const Error& error) {
    most = std::string_view(error.what()).size();
    for (const ErrorFact& fact : error.facts()) most = std::max(most, fact.value.size());
  }
  return most;
}

// Regression: a number of 10 MB was quoted whole.
TEST(LongTexts, AreNotQuotedWhole) {
  const std::string digits(1'000'000, '1');
  const std::string word(100'000, 'w');
  const std::string start = R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":2,)"
                            R"("num_attention_heads":4,"intermediate_size":128,"vocab_size":)";
  const std::string gguf_word(60'000, 'w');
  const std::vector<std::pair<const char*, std::string>> files = {
      {"config.json", start + digits + "}"},
      {"config.json", start + digits + ".5}"},
      {"config.json", start + "1e" + digits + "}"},
      {"config.json", start + "\"" + word + "\"}"},
      {"config.json", start + "100,\"" + word + "_layers\":7}"},
      {"config.json", start + "100,\"" + word + "\":}"},
      {"config.json", R"({"model_type":")" + word + R"(","hidden_size":64})"},
      {"config.json", start + R"(100,"layer_types":[")" + word + R"("]})"},
      {"config.json", start + R"(100,"quantization_config":{"quant_method":")" + word + "\"}}"},
      {"config.json", start + R"(100,"torch_dtype":")" + word + "\"}"},
      {"config.json", start + R"(100,"hidden_act":")" + word + "\"}"},
      {"m.safetensors", safetensors(R"({"a":{"dtype":"U8","shape":[)" + digits + "]}}", 8)},
      {"m.safetensors", safetensors(R"({"a":{"dtype":")" + word + R"(","shape":[1]}})", 8)},
      {"m.safetensors", safetensors(R"({")" + word + R"(":{"dtype":7}})", 8)},
      {"m.safetensors", safetensors(R"({"a":{")" + word + R"(":7}})", 8)},
      {"m.safetensors.index.json", R"({"weight_map":{"a":")" + word + R"("}})"},
      {"m.safetensors.index.json", R"({"weight_map":{")" + word + R"(":"../b"}})"},
      {"m.safetensors.index.json", R"({"weight_map":{"a":)" + digits + "}}"},
      {"m.gguf", GgufBytes().header(0, 1).key("general.architecture", gguf_word).pad().bytes()},
      {"m.gguf", GgufBytes().header(0, 2).key(gguf_word, "x").key(gguf_word, "x").pad().bytes()},
  };
  for (const auto& [name, bytes] : files) {
    const TempFolder folder;
    EXPECT_LE(longest_of(folder.write(name, bytes)), 1000U) << name << ": " << bytes.substr(0, 200);
  }
}

}  // namespace
}  // namespace tapedeck::tests
