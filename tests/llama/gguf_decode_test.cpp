// SPDX-License-Identifier: Apache-2.0
// GGUF models decode like the reference programs: the tokens of trained models, and the logits of
// generated models compared with a simple computation in double.
#include <gmock/gmock.h>

#include <cmath>
#include <optional>
#include <ostream>

#include "llama/gguf_model.hpp"
#include "llama/support.hpp"
#include "model/shared_data.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using llama::TokenId;
using llama::Tokenizer;

class GgufStories : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_STORIES();
    if (const auto why = no_shared_data(std::string("gguf/") + GetParam())) GTEST_SKIP() << *why;
  }
  const std::filesystem::path file_ = shared_data("gguf") / GetParam();
};

INSTANTIATE_TEST_SUITE_P(Files, GgufStories,
                         ::testing::Values("stories260K.gguf", "stories260K-F16.gguf",
                                           "tinyllamas-stories-260k-f32.v1.gguf"));

TEST_P(GgufStories, TokensAndTextAreThoseOfTheReference) {
  for (const unsigned threads : {1U, 3U}) {
    if (kThreadSanitized && threads == 1) continue;  // no races are possible, and it is slow
    Host host(file_, threads, 1, 256);
    const Tokenizer tokenizer(host.model.model(), host.model.shape().vocab);
    for (int n = 1; n <= 3; ++n) {
      const std::vector<TokenId> ids =
          ids_of_talk(host.decoder, tokenizer.encode(kStoriesPrompts[n - 1]), 256);
      EXPECT_EQ(ids, expected_ids(n));
      EXPECT_EQ(text_of_ids(tokenizer, ids) + "\n", content_of(expected_file(n, "text")));
    }
  }
}

class GgufTypes : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kThreadSanitized) GTEST_SKIP() << kOneThread;
  }

  std::vector<float> logits(const GgufModel& model, const std::vector<TokenId>& ids,
                            Way way = Way::automatic) {
    Host host(folder_.write("m.gguf", model.bytes()), 2, 1, ids.size(), way);
    return logits_of(host.decoder, ids);
  }

  TempFolder folder_;
};

TEST_F(GgufTypes, ATypeComputesAsItsValuesInF32) {
  SKIP_WITHOUT_STORIES();
  std::vector<TokenId> ids = expected_ids(1);
  ids.resize(40);
  const GgufModel f32 = GgufModel::of(shared_data("gguf") / "stories260K.gguf");
  const std::vector<float> exact = logits(f32, ids);
  for (const DType type : {DType::f16, DType::bf16, DType::q8_0}) {
    const GgufModel stored = f32.quantised(type);
    EXPECT_EQ(stored.tensors[3].dtype, type);
    const std::vector<float> found = logits(stored, ids);
    EXPECT_EQ(found, logits(stored.dequantised(), ids)) << to_string(type);
    EXPECT_THAT(found, ::testing::Pointwise(::testing::FloatNear(2.0F), exact));
    EXPECT_NE(found, exact);
  }
}

TEST_F(GgufTypes, QuantisedFilesOfLlamaCppComputeAsTheirValuesInF32) {
  SKIP_WITHOUT_STORIES();
  std::vector<TokenId> ids = expected_ids(2);
  ids.resize(40);
  for (const char* name : {"stories260K-F16.gguf", "stories260K-BF16.gguf"}) {
    const auto path = shared_data("gguf") / name;
    Host host(path, 1, 1, 40);
    EXPECT_EQ(logits_of(host.decoder, ids), logits(GgufModel::of(path).dequantised(), ids)) << name;
  }
}

TEST_F(GgufTypes, TypesMayBeMixed) {
  GgufModel model = made_gguf();
  int n = 0;
  for (GgufTensor& tensor : model.tensors) {
    if (tensor.shape.size() < 2) continue;
    const DType type = llama::kMatrixTypes[static_cast<std::size_t>(n++) % 4];
    const bool divides = tensor.shape.back() % traits(type).block_elements == 0;
    tensor.store(divides ? type : DType::bf16, tensor.values());
  }
  const std::vector<TokenId> ids = {1, 259, 70, 5, 299, 0};
  EXPECT_EQ(logits(model, ids), logits(model.dequantised(), ids));
}

// The simple computation.

using Row = std::vector<double>;

class PlainLlama {
 public:
  PlainLlama(GgufModel model, const GgufFigures& figures, Row frequencies, double epsilon)
      : model_(std::move(model)),
        f_(figures),
        frequencies_(std::move(frequencies)),
        epsilon_(epsilon),
        keys_(f_.layers),
        values_(f_.layers) {}

  Row forward(TokenId token) {
    const std::vector<float> table = model_.tensor("token_embd.weight").values();
    Row hidden(table.begin() + static_cast<std::ptrdiff_t>(token) * f_.dim,
               table.begin() + static_cast<std::ptrdiff_t>(token + 1) * f_.dim);
    for (std::uint32_t layer = 0; layer < f_.layers; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      add(hidden, attention(layer, blk, norm(hidden, blk + "attn_norm")));
      const Row normed = norm(hidden, blk + "ffn_norm");
      Row gate = times(blk + "ffn_gate", normed);
      const Row up = times(blk + "ffn_up", normed);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      add(hidden, times(blk + "ffn_down", gate));
    }
    return times(f_.tied ? "token_embd" : "output", norm(hidden, "output_norm"));
  }

 private:
  static void add(Row& to, const Row& what) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += what[i];
  }

  Row times(const std::string& name, const Row& x) {
    const GgufTensor& tensor = model_.tensor(name + ".weight");
    const std::vector<float> matrix = tensor.values();
    Row out(tensor.shape[0], 0);
    for (std::size_t i = 0; i < matrix.size(); ++i) {
      out[i / x.size()] += static_cast<double>(matrix[i]) * x[i % x.size()];
    }
    return out;
  }

  Row norm(const Row& x, const std::string& name) {
    const std::vector<float> weight = model_.tensor(name + ".weight").values();
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon_);
    Row out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      out.push_back(static_cast<double>(weight[i]) * scale * x[i]);
    }
    return out;
  }

  void rotate(Row& heads) const {
    const auto position = static_cast<double>(keys_.back().size());
    for (std::size_t i = 0; i < heads.size(); i += 2) {
      const double angle = position * frequencies_[i % f_.key / 2];
      const double a = heads[i];
      const double b = heads[i + 1];
      heads[i] = a * std::cos(angle) - b * std::sin(angle);
      heads[i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  }

  Row attention(std::uint32_t layer, const std::string& blk, const Row& x) {
    Row query = times(blk + "attn_q", x);
    Row key = times(blk + "attn_k", x);
    rotate(query);
    rotate(key);
    keys_[layer].push_back(key);
    values_[layer].push_back(times(blk + "attn_v", x));
    Row mixed(std::size_t{f_.heads} * f_.value, 0);
    for (std::size_t head = 0; head < f_.heads; ++head) {
      const std::size_t kv = head / (f_.heads / f_.kv_heads);
      Row weights;
      double sum = 0;
      for (const Row& cached : keys_[layer]) {
        double score = 0;
        for (std::size_t i = 0; i < f_.key; ++i) {
          score += query[head * f_.key + i] * cached[kv * f_.key + i];
        }
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(f_.key))));
        sum += weights.back();
      }
      for (std::size_t p = 0; p < weights.size(); ++p) {
        for (std::size_t i = 0; i < f_.value; ++i) {
          mixed[head * f_.value + i] += weights[p] / sum * values_[layer][p][kv * f_.value + i];
        }
      }
    }
    return times(blk + "attn_output", mixed);
  }

  GgufModel model_;
  GgufFigures f_;
  Row frequencies_;
  double epsilon_;
  // The last layer's size gives the number of earlier positions.
  std::vector<std::vector<Row>> keys_;
  std::vector<std::vector<Row>> values_;
};

struct Variant {
  const char* name;
  GgufFigures figures{};
  std::optional<float> base{};
  const char* scaling = nullptr;
  std::optional<float> factor{};
  std::optional<float> old_factor{};
  bool pair_factors = false;
  float epsilon = 1e-5F;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

class GgufVariants : public ::testing::TestWithParam<Variant> {
 protected:
  static GgufModel model() {
    const Variant& v = GetParam();
    GgufModel model = made_gguf(v.figures);
    model.set("llama.attention.layer_norm_rms_epsilon", gguf_type::f32, v.epsilon);
    if (v.base) model.set("llama.rope.freq_base", gguf_type::f32, *v.base);
    if (v.scaling != nullptr) model.set("llama.rope.scaling.type", v.scaling);
    if (v.factor) model.set("llama.rope.scaling.factor", gguf_type::f32, *v.factor);
    if (v.old_factor) model.set("llama.rope.scale_linear", gguf_type::f32, *v.old_factor);
    if (v.pair_factors) {
      std::vector<float> factors;
      for (std::uint32_t i = 0; i < v.figures.key / 2; ++i) {
        factors.push_back(1 + static_cast<float>(i) / 2);
      }
      model.add("rope_freqs.weight", {v.figures.key / 2}, factors);
    }
    return model;
  }

  static Row frequencies() {
    const Variant& v = GetParam();
    double factor = static_cast<double>(v.factor.value_or(v.old_factor.value_or(1)));
    if (v.scaling != nullptr && std::string_view(v.scaling) == "none") factor = 1;
    Row out;
    for (std::uint32_t i = 0; i < v.figures.key / 2; ++i) {
      const double turn = 2.0 * i / v.figures.key;
      const double pair = v.pair_factors ? 1 + i / 2.0 : 1;
      out.push_back(1 / std::pow(static_cast<double>(v.base.value_or(10'000)), turn) / factor /
                    pair);
    }
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Llama, GgufVariants,
    ::testing::Values(Variant{.name = "plain"},
                      Variant{.name = "untied", .figures = {.tied = false}},
                      Variant{.name = "one_kv_head", .figures = {.kv_heads = 1}},
                      Variant{.name = "wide_heads", .figures = {.key = 32, .value = 32}},
                      Variant{.name = "values_of_another_size", .figures = {.key = 8, .value = 20}},
                      Variant{.name = "heads_that_do_not_divide",
                              .figures = {.dim = 70, .heads = 3, .kv_heads = 3}},
                      Variant{.name = "base", .base = 500'000},
                      Variant{.name = "pair_factors", .pair_factors = true},
                      Variant{.name = "linear", .scaling = "linear", .factor = 4},
                      Variant{.name = "linear_by_default", .factor = 4},
                      Variant{.name = "scale_linear", .old_factor = 2},
                      Variant{.name = "none", .scaling = "none", .factor = 4},
                      Variant{.name = "epsilon", .epsilon = 0.1F},
                      Variant{.name = "all", .base = 1000, .factor = 2, .pair_factors = true}),
    [](const auto& one) { return std::string(one.param.name); });

TEST_P(GgufVariants, LogitsAreThoseOfThePlainComputation) {
  const TempFolder folder;
  const GgufModel written = model();
  Host host(folder.write("m.gguf", written.bytes()));
  PlainLlama plain(written, GetParam().figures, frequencies(),
                   static_cast<double>(GetParam().epsilon));
  double largest = 0;
  for (const TokenId token : {1U, 280U, 65U, 7U, 280U, 299U, 0U, 33U}) {
    const Row expected = plain.forward(token);
    const std::vector<float> logits = next_logits(host.decoder, token);
    ASSERT_EQ(logits.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(logits[i]), expected[i], 1e-4) << i;
      largest = std::max(largest, std::fabs(expected[i]));
    }
  }
  EXPECT_GT(largest, 0.5);
}

TEST(GgufDecode, APartOfASplitModelOpensAllOfIt) {
  const TempFolder folder;
  GgufModel whole = made_gguf();
  const std::vector<TokenId> ids = {1, 280, 65};
  Host host(folder.write("whole.gguf", whole.bytes()));
  const std::vector<float> expected = logits_of(host.decoder, ids);

  const auto part = [](GgufModel& model, std::uint16_t number) {
    model.set("split.no", gguf_type::u16, number)
        .set("split.count", gguf_type::u16, std::uint16_t{2});
  };
  GgufModel first = whole;
  const auto half = static_cast<std::ptrdiff_t>(whole.tensors.size() / 2);
  first.tensors.erase(first.tensors.begin() + half, first.tensors.end());
  part(first, 0);
  GgufModel second;
  second.tensors.assign(whole.tensors.begin() + half, whole.tensors.end());
  part(second, 1);
  const auto one = folder.write("m-00001-of-00002.gguf", first.bytes());
  const auto other = folder.write("m-00002-of-00002.gguf", second.bytes());
  for (const auto& path : {one, other}) {
    Host split(path);
    EXPECT_EQ(logits_of(split.decoder, ids), expected);
    const Tokenizer tokenizer(split.model.model(), split.model.shape().vocab);
    EXPECT_EQ(tokenizer.piece(260), "a");
  }
}

TEST(GgufDecode, MisalignedTensorsAreReadAndNotMapped) {
  const TempFolder folder;
  const std::vector<TokenId> ids = {1, 280, 65};
  GgufModel model = made_gguf().quantised(DType::f16);
  Host aligned(folder.write("aligned.gguf", model.bytes()));
  const std::vector<float> expected = logits_of(aligned.decoder, ids);

  model.alignment = 1;
  model.set("general.alignment", gguf_type::u32, std::uint32_t{1});
  std::filesystem::path file;
  std::uint64_t data = 0;
  for (std::string pad; data % 2 == 0; pad += 'x') {
    model.set("pad", pad);
    file = folder.write("odd.gguf", model.bytes());
    data = read_model(file).tensors.files()[0].data_begin;
  }
  for (const Way way : {Way::automatic, Way::read, Way::direct}) {
    Host host(file, 1, 1, 3, way);
    EXPECT_EQ(logits_of(host.decoder, ids), expected);
  }
  EXPECT_THROW(llama::LlamaModel(file, {.way = Way::map}), InvalidArgument);
}

TEST(GgufDecode, RandomDamageNeverCrashes) {
  const TempFolder folder;
  GgufModel model = made_gguf({.dim = 32, .ffn = 16, .layers = 1, .key = 8, .value = 8});
  const std::string good = model.quantised(DType::q8_0).bytes();
  const std::size_t header = read_model(folder.write("m.gguf", good)).tensors.files()[0].data_begin;
  std::mt19937_64 random(20'261'124);
  int taken = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    const auto file = folder.write("m.gguf", damaged(good, header, random));
    try {
      llama::LlamaModel damaged_model(file);
      const Tokenizer tokenizer(damaged_model.model(), damaged_model.shape().vocab);
      const std::vector<TokenId> ids = tokenizer.encode("ab \xE2\x96\x81 c\xFF");
      Host host(file, 1, 1, 4);
      static_cast<void>(logits_of(host.decoder, {ids.at(0), ids.back()}));
      ++taken;
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
    }
  }
  EXPECT_GT(taken, kRounds / 20);
  EXPECT_LT(taken, kRounds * 3 / 4);
}

}  // namespace
}  // namespace tapedeck::tests
