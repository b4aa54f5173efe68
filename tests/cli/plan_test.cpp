// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

class Planning : public ::testing::Test {
 protected:
  [[nodiscard]] Ran run_on(const std::string& command, const Words& more) const {
    return run(joined({command, model_}, more));
  }
  [[nodiscard]] Json json_on(const std::string& command, const Words& more) const {
    return json_of(joined({command, model_}, more));
  }

  // The results must not depend on a GPU of this machine.
  const Variable no_gpu_{"CUDA_VISIBLE_DEVICES", ""};
  TempFolder folder_;
  std::string model_ = made_large();
};

const std::string kModelText =
    "model     large.bin (llama, llama2c)\n"
    "size      177 K parameters, hidden 64, vocabulary 512, made for 1024 tokens\n"
    "layers    3 layers full\n";

const std::string kPlanText =
    kModelText +
    "plan      profile native, exact; 1 talk of 1024 tokens; K f16, V f16\n\n"
    "weights         692.8 KiB   13 regions\n"
    "history           384 KiB\n"
    "  kv              384 KiB\n"
    "  window              0 B\n"
    "  recurrent           0 B\n"
    "scratch         * KiB\n"
    "  decode        * KiB\n"
    "  prefill       * KiB   peak at the stage: feed-forward\n"
    "overhead              0 B\n"
    "total           * MiB\n\n";

const std::string kRegionsText =
    "tape             offset          bytes  type     role       shape, name\n"
    "weights               0         131072  f32      weight     [512, 64]  token_embedding_table\n"
    "...\n"
    "history          262144          65536  f16      kv         [1024, 32]  layers.2.k\n"
    "history          327680          65536  f16      kv         [1024, 32]  layers.2.v\n";

std::uint64_t bytes_of_role(const Json& regions, const std::string& role) {
  std::uint64_t bytes = 0;
  for (const Json& region : regions) {
    if (region.at("role") == role) bytes += region.at("bytes").get<std::uint64_t>();
  }
  return bytes;
}

TEST_F(Planning, JsonIsTheSumOfItsRegions) {
  const Json plan = json_on("plan", {"--regions", "--context", "512", "--overhead", "1MiB"});
  EXPECT_EQ(plan.at("schema"), 2);
  EXPECT_EQ(plan.at("profile"), "native");
  EXPECT_EQ(plan.at("exact"), true);
  EXPECT_TRUE(plan.at("warnings").empty());
  EXPECT_EQ(plan.at("model").at("architecture"), "llama");
  EXPECT_EQ(plan.at("model").at("layers"), 3);
  const Json& regions = plan.at("regions");
  const Json& history = plan.at("history");
  EXPECT_EQ(plan.at("weights").at("bytes"), bytes_of_role(regions.at("weights"), "weight"));
  EXPECT_EQ(history.at("kv"), bytes_of_role(regions.at("history"), "kv"));
  // K and V of 3 layers, 512 tokens of 4 heads of size 8, in f16.
  EXPECT_EQ(history.at("kv"), 2 * 3 * 512 * 4 * 8 * 2);
  EXPECT_EQ(history.at("bytes"), history.at("kv").get<std::uint64_t>() +
                                     history.at("window").get<std::uint64_t>() +
                                     history.at("recurrent").get<std::uint64_t>());
  EXPECT_EQ(plan.at("overhead").at("bytes"), 1 << 20);
  std::uint64_t total = 0;
  for (const char* part : {"weights", "history", "scratch", "overhead"}) {
    total += plan.at(part).at("bytes").get<std::uint64_t>();
  }
  EXPECT_EQ(plan.at("total").at("bytes"), total);
  EXPECT_FALSE(plan.at("scratch").at("peak_stage").get<std::string>().empty());
}

TEST_F(Planning, OptionsChangeWhatTheySay) {
  const auto history = [&](const Words& options) {
    return json_on("plan", options).at("history").at("bytes").get<std::uint64_t>();
  };
  const std::uint64_t usual = history({"--context", "1024"});
  EXPECT_EQ(history({}), usual);  // the model's own context
  EXPECT_EQ(history({"--kv", "f32"}), 2 * usual);
  EXPECT_EQ(history({"--kv", "f32,f16"}), usual / 2 * 3);
  EXPECT_EQ(history({"--kv", "q8_0"}), usual / 64 * 34);
  EXPECT_EQ(history({"--context", "2048"}), 2 * usual);
  // 341.3 tokens, rounded up to a multiple of 256.
  EXPECT_EQ(history({"--sequences", "3"}), usual / 1024 * 512 * 3);
  EXPECT_EQ(history({"--sequences", "3", "--unified"}), usual);

  const Json with = json_on("plan", {"--flash-attention", "on", "--profile", "llama.cpp"});
  const Json without = json_on("plan", {"--flash-attention", "off", "--profile", "llama.cpp"});
  EXPECT_GT(without.at("scratch").at("prefill"), with.at("scratch").at("prefill"));
  EXPECT_EQ(without.at("profile"), "llama.cpp");
  EXPECT_LT(json_on("plan", {"--ubatch", "64"}).at("scratch").at("prefill"),
            json_on("plan", {"--ubatch", "512"}).at("scratch").at("prefill"));
  const Json ranks = json_on("plan", {"--tp", "2"}).at("tensor_parallel").at("ranks");
  ASSERT_EQ(ranks.size(), 2U);
  EXPECT_EQ(ranks[0].at("kv_heads"), 2);
}

TEST_F(Planning, TextIsForPeople) {
  const Ran ran = run_on("plan", {"--regions", "--tp", "2"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, Like(kPlanText +
                            "rank      weights    history    scratch      total  KV heads\n"
                            "0       347.2 KiB    192 KiB  * KiB  * KiB  2  (largest)\n"
                            "1       347.2 KiB    192 KiB  * KiB  * KiB  2\n\n" +
                            kRegionsText));
}

TEST_F(Planning, KindsOfLayersAreSummedUp) {
  if (const auto why = no_shared_data("configs")) GTEST_SKIP() << *why;
  for (const auto& [file, kinds] :
       {std::pair("configs/google--gemma-3-1b-it.json", "22 layers window 512, 4 layers full"),
        std::pair("engine_figures/nemotron-h-8b.header-only.gguf",
                  "24 layers mamba2, 24 layers without attention, 4 layers full")}) {
    EXPECT_EQ(json_of({"plan", shared_data(file)}).at("model").at("layer_kinds"), kinds);
  }
}

TEST_F(Planning, FitIsExactAtTheEdge) {
  const Json choice = json_on("fit", {"--host-memory", "1TiB"}).at("choices").at(0);
  EXPECT_EQ(choice.at("mode"), "host only");
  const auto needed = choice.at("host").at("needed").get<std::uint64_t>();
  EXPECT_EQ(needed, json_on("plan", {}).at("total").at("bytes"));
  EXPECT_EQ(run_on("fit", {"--host-memory", std::to_string(needed)}).exit_code, 0);
  const Words less = {"fit", model_, "--host-memory", std::to_string(needed - 1)};
  const Json missing = json_of(less, 3).at("choices").at(0);
  EXPECT_EQ(missing.at("fits"), false);
  EXPECT_EQ(missing.at("shortfall"), 1);
  EXPECT_TRUE(run(less).err.starts_with("tapedeck: nothing fits: ")) << run(less).err;
}

TEST_F(Planning, FitRanksTheWaysOfADevice) {
  const Json fits =
      json_on("fit", {"--gpu-memory", "24GiB", "--host-memory", "24G", "--context", "256"});
  std::vector<std::string> modes;
  for (const Json& choice : fits.at("choices")) modes.push_back(choice.at("mode"));
  EXPECT_THAT(modes, ElementsAre("full cache on the device", "layer streaming through two slots",
                                 "first layers on the device", "host only"));
  EXPECT_EQ(fits.at("choices")[0].at("device").at("available"), std::uint64_t{24} << 30);
  EXPECT_EQ(fits.at("choices")[0].at("reference_decoder"), true);
}

std::uint64_t number(const Json& json, const char* key) {
  return json.at(key).get<std::uint64_t>();
}

Json streaming_choice(const Json& fits) {
  for (const Json& choice : fits.at("choices")) {
    if (choice.at("mode") == "layer streaming through two slots") return choice;
  }
  ADD_FAILURE() << "unknown way";
  return {};
}

TEST_F(Planning, StreamingIsPlannedBesideTheRest) {
  const Json plan = json_on("plan", {"--streaming", "--slots", "3", "--regions"});
  const Json& streaming = plan.at("streaming");
  EXPECT_EQ(streaming.at("layers"), 3);
  EXPECT_EQ(streaming.at("resident_layers"), 0);
  EXPECT_EQ(streaming.at("slots"), 3);
  EXPECT_EQ(streaming.at("staging_buffers"), 4);
  EXPECT_EQ(streaming.at("staging"), 32 << 20);
  // Attention, feed-forward and two norms of 3 layers, in f32.
  EXPECT_EQ(streaming.at("token_bytes"), 3 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 172 + 128) * 4);
  EXPECT_EQ(number(streaming, "device"),
            number(streaming, "outer") + 3 * number(streaming, "slot_bytes"));
  EXPECT_EQ(number(streaming, "one_slot"),
            number(streaming, "outer") + number(streaming, "slot_bytes"));
  EXPECT_EQ(bytes_of_role(plan.at("regions").at("device"), "weight"), number(streaming, "device"));
  EXPECT_EQ(plan.at("regions").at("staging").at(0).at("name"), "staging.0");

  // h·V·4 + h·4 + layer + kv_cache, with h = 64, kv = 32, f = 172 and 1024 tokens.
  const int layer = (64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 172 + 2 * 64) * 4;
  EXPECT_EQ(streaming.at("closed_form"), 64 * 512 * 4 + 64 * 4 + layer + 2 * 3 * 1024 * 32 * 4);
  EXPECT_FALSE(json_on("plan", {}).contains("streaming"));
}

TEST_F(Planning, LayersStayInTheMemoryThatTheRestLeaves) {
  const Json plan = json_on("plan", {"--streaming"});
  const std::uint64_t beside =
      number(plan.at("total"), "bytes") - number(plan.at("weights"), "bytes");
  const std::uint64_t needed = beside + number(plan.at("streaming"), "device");
  const auto with = [&](std::uint64_t bytes) {
    return run_on("plan", {"--streaming", "--json", "--gpu-memory", std::to_string(bytes)});
  };
  EXPECT_EQ(Json::parse(with(needed).out).at("streaming").at("resident_layers"), 0);
  for (const std::uint64_t less : {needed - 1, beside, beside - 1, std::uint64_t{1}}) {
    const Ran ran = with(less);
    EXPECT_TRUE(
        refuses(ran, "layer streaming needs at least " + std::to_string(needed) + " bytes "));
    EXPECT_THAT(
        ran.err,
        Like("* (weights *, history 384 KiB, scratch and overhead *), but --gpu-memory is " +
             std::to_string(less) + "; raise it, *\n"));
  }
  const Json all = Json::parse(with(std::uint64_t{1} << 30).out).at("streaming");
  EXPECT_EQ(all.at("resident_layers"), 3);
  EXPECT_EQ(all.at("slots"), 0);
  EXPECT_EQ(all.at("token_bytes"), 0);
}

// All three layers need less memory than nine slots.
TEST_F(Planning, WhatStreamingNeedsAtLeastIsWithLayersThatStay) {
  const auto with = [&](std::uint64_t bytes) {
    return run_on("plan", {"--streaming", "--slots", "9", "--gpu-memory", std::to_string(bytes)});
  };
  const Ran refused = with(1);
  const std::uint64_t needed = std::stoull(refused.err.substr(refused.err.find("at least ") + 9));
  const Json plenty = json_on("plan", {"--streaming", "--slots", "9", "--gpu-memory", "1GiB"});
  const auto of = [&](const char* part, const char* key) { return number(plenty.at(part), key); };
  EXPECT_EQ(needed, of("total", "bytes") - of("weights", "extent") + of("streaming", "device"));
  EXPECT_EQ(plenty.at("streaming").at("resident_layers"), 3);
  EXPECT_EQ(with(needed).exit_code, 0);
  EXPECT_TRUE(
      refuses(with(needed - 1), "layer streaming needs at least " + std::to_string(needed) + " "));
}

TEST_F(Planning, StreamingTextIsForPeople) {
  const Ran ran = run_on("plan", {"--streaming", "--regions"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(
      ran.out,
      Like(kPlanText +
           "layer streaming\n"
           "device          517.2 KiB   weights, with padding\n"
           "  outer         160.2 KiB   4 tensors outside the layers\n"
           "  resident            0 B   0 of 3 layers\n"
           "  slots           357 KiB   2 of 178.5 KiB, shared in turn by 3 layers\n"
           "staging            32 MiB   4 pinned buffers, for weights that are not pinned\n"
           "token           532.5 KiB   copied for each token\n"
           "one slot        338.8 KiB   weights on the device with one slot\n"
           "estimate            1 MiB   from the shape alone: one slot with K and V, all in f32"
           " (StreamingConfig)\n\n" +
           kRegionsText + "device *\n...\ndevice * slot.1\nstaging *\n...\nstaging * staging.3\n"));
  EXPECT_THAT(run_on("plan", {"--streaming", "--gpu-memory", "1GiB"}).out,
              Like("...\n  resident        534 KiB   3 of 3 layers\n"
                   "  slots               0 B   no layer takes turns\n...\n"));
}

TEST_F(Planning, TheClosedFormIsOnlyForDenseModels) {
  if (const auto why = no_shared_data("engine_figures")) GTEST_SKIP() << *why;
  for (const std::string name : {"llama-8b-gqa", "qwen3-30b-a3b", "mixtral-8x7b", "mamba-2.8b",
                                 "deepseek-v2-lite", "gemma2-9b", "command-r7b"}) {
    const std::string file = shared_data("engine_figures") / (name + ".header-only.gguf");
    const Json plan = json_of({"plan", file, "--streaming", "--context", "2048"});
    EXPECT_EQ(plan.at("streaming").at("closed_form").is_number(), name == "llama-8b-gqa") << name;
  }
}

// The header of a GGUF model of one layer, with this head width, and with one tensor or none.
GgufBytes gguf_header(std::uint32_t head, std::uint64_t tensors) {
  GgufBytes file;
  file.header(tensors, 8).key("general.architecture", "llama");
  for (const auto& [key, value] :
       {std::pair("block_count", 1U), std::pair("context_length", 128U),
        std::pair("embedding_length", 64U), std::pair("feed_forward_length", 96U),
        std::pair("attention.head_count", 4U), std::pair("attention.key_length", head),
        std::pair("attention.value_length", head)}) {
    file.key(std::string("llama.") + key, gguf_type::u32, value);
  }
  return file;
}

TEST_F(Planning, TheClosedFormNeedsHeadsThatDivideTheWidth) {
  for (const std::uint32_t head : {16U, 32U}) {
    GgufBytes file = gguf_header(head, 1);
    file.tensor("blk.0.attn_norm.weight", {64}, kF32, 0).pad().zeros(256);
    const Json plan = json_of({"plan", folder_.write("heads.gguf", file.bytes()), "--streaming"});
    EXPECT_EQ(plan.at("streaming").at("closed_form").is_number(), head == 16) << head;
  }
}

TEST_F(Planning, AModelWithoutTensorsIsNotStreamed) {
  const std::string path = folder_.write("none.gguf", gguf_header(16, 0).pad().bytes());
  EXPECT_TRUE(refuses(run({"plan", path, "--streaming"}), ""));
}

TEST_F(Planning, FitSaysWhatTheBusCarries) {
  const Json plenty = json_on("fit", {"--gpu-memory", "1GiB", "--host-memory", "1GiB"});
  EXPECT_TRUE(plenty.at("device").at("bus_bytes_per_second").is_null());
  const Json streamed = streaming_choice(plenty);
  EXPECT_EQ(streamed.at("resident_layers"), 3);
  EXPECT_GE(streamed.at("resident_needed"), streamed.at("device").at("needed"));

  const Words least = {"fit",           model_,
                       "--bus",         "64MiB",
                       "--gpu-memory",  std::to_string(number(streamed.at("device"), "needed")),
                       "--host-memory", std::to_string(number(streamed.at("host"), "needed"))};
  const Json fits = json_of(least);
  EXPECT_EQ(fits.at("device").at("bus_bytes_per_second"), 64 << 20);
  const Json slow = fits.at("choices").at(0);
  EXPECT_EQ(slow.at("mode"), "layer streaming through two slots");
  const double ceiling = slow.at("ceiling_tokens_per_second");
  EXPECT_DOUBLE_EQ(ceiling, (64 << 20) / slow.at("token_bytes").get<double>());
  EXPECT_FALSE(slow.at("too_slow"));

  const auto asked = [&](double rate) {
    return joined(least, {"--tokens-per-second", std::to_string(rate)});
  };
  const Json fast = json_of(asked(ceiling * 0.99));
  EXPECT_TRUE(fast.at("choices").at(0).at("fits"));
  EXPECT_NEAR(fast.at("least_tokens_per_second"), ceiling * 0.99, 1e-5);
  const Json refused = streaming_choice(json_of(asked(ceiling * 1.01), 3));
  EXPECT_TRUE(refused.at("too_slow"));
  EXPECT_FALSE(refused.at("fits"));
  const Ran text = run(asked(ceiling * 1.01));
  EXPECT_THAT(text.err, Like("tapedeck: nothing fits: * is too slow: the bus carries *\n"));
  EXPECT_THAT(
      text.out,
      Like(kModelText +
           "host      692.8 KiB left, limited by --host-memory\n"
           "device    1.4 MiB free, --gpu-memory, copies 64 MiB a second\n\n"
           "1. full cache on the device: does not fit\n"
           "    device: * MiB, which is * KiB (* bytes) more than the 1.4 MiB of --gpu-memory\n"
           "    would fit with --context *\n"
           "    would fit with --ubatch *\n"
           "    would fit with --kv *\n"
           "    would fit with --weights-type f16\n"
           "2. layer streaming through two slots: does not fit\n"
           "    device, at least: * MiB, which is * KiB (* bytes) more than the *\n"
           "    host: 692.8 KiB of 692.8 KiB, 0 B left\n"
           "    with 0 resident layers, 1.4 MiB on the device: each token copies 532.5 KiB,"
           " at most 123.1 tokens a second, fewer than the 124.3 requested\n"
           "...\n"
           "3. first layers on the device: does not fit\n"
           "    2 layers on the device; the reference decoder does not run this\n"
           "...\n"
           "4. host only: does not fit\n"
           "...\n"));
}

TEST_F(Planning, FitSaysHowManyBytesAreMissing) {
  const std::uint64_t total = number(json_on("plan", {}).at("total"), "bytes");
  const std::string host =
      kModelText + "host      * left, limited by --host-memory\n\n1. host only: does not fit\n";
  const std::string needs = "    host: " + to_iec(total) + ", which is ";
  const auto text = [&](std::uint64_t memory) {
    return run_on("fit", {"--host-memory", std::to_string(memory)}).out;
  };
  const auto missing = [&](std::uint64_t bytes) {
    return needs + to_iec(bytes) + " (" + std::to_string(bytes) + " bytes) more than the ";
  };
  // Nothing helps, and so nothing is suggested.
  EXPECT_THAT(text(0), Like(host + missing(total) + "0 B of --host-memory\n"));
  EXPECT_THAT(text(1000), Like(host + missing(total - 1000) + "1000 B of --host-memory\n"));
  EXPECT_THAT(text(total - 1), Like(host + needs + "1 B more than the * MiB of --host-memory\n" +
                                    "    would fit with --context 768\n"
                                    "    would fit with --ubatch 511\n"
                                    "    would fit with --kv q8_0\n"
                                    "    would fit with --weights-type f16\n"));
  EXPECT_THAT(
      text(total),
      Like(kModelText +
           "host      * left, limited by --host-memory\n\n1. host only: fits\n    host: " +
           to_iec(total) + " of " + to_iec(total) + ", 0 B left\n" +
           "    room, if one option alone changes: --context up to 1024, --ubatch up to 512, "
           "--decode-batch up to 150\n"));
  EXPECT_THAT(run_on("fit", {"--host-memory", "1GiB", "--batch", "1000"}).out,
              Like("...\n    room, *, --ubatch up to 1024 (and --batch), *\n"));
}

TEST_F(Planning, WarnsOfATalkThatIsLongerThanTheModelWasMadeFor) {
  const std::string warning =
      "a talk of 1025 tokens is longer than the 1024 that the model was made for; reduce "
      "--context, or check that the engine can extend the model's positions";
  EXPECT_THAT(json_on("plan", {"--context", "1025"}).at("warnings"), ElementsAre(warning));
  EXPECT_THAT(run_on("plan", {"--context", "1025"}).out,
              ::testing::EndsWith("\nwarning: " + warning + "\n"));
  EXPECT_THAT(json_on("fit", {"--host-memory", "1GiB", "--context", "1025"}).at("warnings"),
              ElementsAre(warning));
  EXPECT_EQ(json_on("plan", {"--context", "1025"}).at("exact"), true);
  for (const Words& fine :
       {Words{"--context", "1024"}, {"--context", "2048", "--sequences", "2"}}) {
    EXPECT_THAT(json_on("plan", fine).at("warnings"), ::testing::IsEmpty());
  }
  EXPECT_EQ(
      json_on("plan", {"--context", "2048", "--sequences", "2", "--unified"}).at("warnings").size(),
      1U);
}

TEST_F(Planning, WarningsNameOptions) {
  EXPECT_THAT(json_on("plan", {"--sequences", "2"}).at("warnings"),
              ElementsAre("the model's context of 1024 tokens is divided among 2 sequences, which "
                          "leaves each 512 tokens; set --context to give each more"));
}

TEST_F(Planning, FitAsksTheHostWhereNothingIsSaid) {
  const Json fits = json_on("fit", {});
  EXPECT_GT(fits.at("host").at("available").get<std::uint64_t>(), 0U);
  EXPECT_FALSE(fits.at("host").at("limit").get<std::string>().empty());
}

TEST_F(Planning, SizesAreReadAsPeopleWriteThem) {
  for (const auto& [text, bytes] :
       std::vector<std::pair<const char*, std::uint64_t>>{{"3GiB", 3_GiB},
                                                          {"3G", 3_GiB},
                                                          {"3 GiB", 3_GiB},
                                                          {"3gib", 3_GiB},
                                                          {"3GB", 3'000'000'000},
                                                          {"3tb", 3'000'000'000'000},
                                                          {"2T", 2048_GiB},
                                                          {"5KB", 5'000},
                                                          {"5k", 5_KiB},
                                                          {"7B", 7},
                                                          {"7 b", 7},
                                                          {"1.5G", 1536_MiB},
                                                          {"1.2GiB", 1'288'490'189},
                                                          {"0.25MB", 250'000},
                                                          {"512MiB", 512_MiB},
                                                          {"123456789", 123'456'789},
                                                          {"18446744073709551615", UINT64_MAX}}) {
    // Nothing fits for some of them.
    const Ran ran = run_on("fit", {"--host-memory", text, "--json"});
    EXPECT_EQ(Json::parse(ran.out).at("host").at("available"), bytes) << text << ran.err;
  }
}

}  // namespace
}  // namespace tapedeck::tests
