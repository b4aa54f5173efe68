#include <gmock/gmock.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/paths.hpp"
#include "cli/models.hpp"
#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class Planning : public ::testing::Test {
 protected:
  // Runs a command on the made model, or on another.
  Ran run_on(const std::string& command, const Words& more, const std::string& model = {}) {
    Words words = {command, model.empty() ? model_ : model};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  Json json_of(const std::string& command, Words more, const std::string& model = {}) {
    more.emplace_back("--json");
    const Ran ran = run_on(command, more, model);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return Json::parse(ran.out);
  }

  // What fits must not depend on a GPU that is here.
  const Variable no_gpu_{"CUDA_VISIBLE_DEVICES", ""};
  TempFolder folder_;
  std::string model_ = made_for_plans();
};

std::uint64_t bytes_of_role(const Json& regions, const std::string& role) {
  std::uint64_t bytes = 0;
  for (const Json& region : regions) {
    if (region.at("role") == role) bytes += region.at("bytes").get<std::uint64_t>();
  }
  return bytes;
}

TEST_F(Planning, JsonIsTheSumOfItsRegions) {
  const Json plan = json_of("plan", {"--regions", "--context", "512", "--overhead", "1MiB"});
  EXPECT_EQ(plan.at("schema"), 1);
  EXPECT_EQ(plan.at("profile"), "native");
  EXPECT_EQ(plan.at("exact"), true);
  EXPECT_TRUE(plan.at("warnings").empty());
  EXPECT_EQ(plan.at("model").at("architecture"), "llama");
  EXPECT_EQ(plan.at("model").at("layers"), 3);
  const Json& regions = plan.at("regions");
  const Json& history = plan.at("history");
  EXPECT_EQ(plan.at("weights").at("bytes"), bytes_of_role(regions.at("weights"), "weight"));
  EXPECT_EQ(history.at("kv"), bytes_of_role(regions.at("history"), "kv"));
  // K and V of 3 layers, 512 tokens of 4 heads of 8, in f16.
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
    return json_of("plan", options).at("history").at("bytes").get<std::uint64_t>();
  };
  const std::uint64_t usual = history({"--context", "1024"});
  EXPECT_EQ(history({}), usual);  // the model's own context
  EXPECT_EQ(history({"--kv", "f32"}), 2 * usual);
  EXPECT_EQ(history({"--kv", "f32,f16"}), usual / 2 * 3);
  EXPECT_EQ(history({"--kv", "q8_0"}), usual / 64 * 34);
  EXPECT_EQ(history({"--context", "2048"}), 2 * usual);
  EXPECT_EQ(history({"--sequences", "3"}), usual / 1024 * 512 * 3);  // 341.3 tokens, in 256s
  EXPECT_EQ(history({"--sequences", "3", "--unified"}), usual);

  const Json with = json_of("plan", {"--flash-attention", "on", "--profile", "llama.cpp"});
  const Json without = json_of("plan", {"--flash-attention", "off", "--profile", "llama.cpp"});
  EXPECT_GT(without.at("scratch").at("prefill"), with.at("scratch").at("prefill"));
  EXPECT_EQ(without.at("profile"), "llama.cpp");
  EXPECT_LT(json_of("plan", {"--ubatch", "64"}).at("scratch").at("prefill"),
            json_of("plan", {"--ubatch", "512"}).at("scratch").at("prefill"));
  const Json ranks = json_of("plan", {"--tp", "2"}).at("tensor_parallel").at("ranks");
  ASSERT_EQ(ranks.size(), 2U);
  EXPECT_EQ(ranks[0].at("kv_heads"), 2);
}

TEST_F(Planning, TextIsForPeople) {
  const Ran ran = run_on("plan", {"--regions", "--tp", "2"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, HasSubstr("3 layers full"));
  EXPECT_THAT(ran.out, HasSubstr("layers.2.v"));
  EXPECT_THAT(ran.out, HasSubstr("token_embedding_table"));
  EXPECT_THAT(ran.out, HasSubstr("peak at the stage"));
  EXPECT_THAT(ran.out, HasSubstr("(largest)"));
}

TEST_F(Planning, KindsOfLayersAreSummedUp) {
  if (const auto why = no_shared_data("configs")) GTEST_SKIP() << *why;
  const Ran ran = run({"plan", shared_data("configs") / "google--gemma-3-1b-it.json"});
  EXPECT_THAT(ran.out, HasSubstr("22 layers window 512, 4 layers full"));
  const Ran state = run({"plan", shared_data("engine_figures") / "nemotron-h-8b.header-only.gguf"});
  EXPECT_THAT(state.out, HasSubstr("24 layers mamba2"));
  EXPECT_THAT(state.out, HasSubstr("4 layers full"));
}

TEST_F(Planning, FitIsExactAtTheEdge) {
  const Json all = json_of("fit", {"--host-memory", "1TiB"});
  const Json& choice = all.at("choices").at(0);
  EXPECT_EQ(choice.at("mode"), "host only");
  const auto needed = choice.at("host").at("needed").get<std::uint64_t>();
  EXPECT_EQ(needed, json_of("plan", {}).at("total").at("bytes"));
  EXPECT_EQ(run_on("fit", {"--host-memory", std::to_string(needed)}).exit_code, 0);
  const Ran nothing = run_on("fit", {"--host-memory", std::to_string(needed - 1)});
  EXPECT_EQ(nothing.exit_code, 3);
  EXPECT_THAT(nothing.err, HasSubstr("nothing fits"));
  EXPECT_THAT(nothing.out, HasSubstr("1 B missing"));
  const Ran json = run_on("fit", {"--host-memory", "1K", "--json"});
  EXPECT_EQ(json.exit_code, 3);
  EXPECT_EQ(Json::parse(json.out).at("choices").at(0).at("fits"), false);
}

TEST_F(Planning, FitRanksTheWaysOfADevice) {
  const Json fits =
      json_of("fit", {"--gpu-memory", "24GiB", "--host-memory", "24G", "--context", "256"});
  std::vector<std::string> modes;
  for (const Json& choice : fits.at("choices")) modes.push_back(choice.at("mode"));
  EXPECT_THAT(modes, ::testing::SizeIs(4));
  EXPECT_THAT(modes.front(), HasSubstr("full cache"));
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
  ADD_FAILURE() << "no such way";
  return {};
}

TEST_F(Planning, StreamingIsPlannedBesideTheRest) {
  const Json plan = json_of("plan", {"--streaming", "--slots", "3", "--regions"});
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
  EXPECT_FALSE(json_of("plan", {}).contains("streaming"));
}

TEST_F(Planning, LayersStayInTheMemoryThatTheRestLeaves) {
  const Json plan = json_of("plan", {"--streaming"});
  const std::uint64_t beside =
      number(plan.at("total"), "bytes") - number(plan.at("weights"), "bytes");
  const std::uint64_t needed = beside + number(plan.at("streaming"), "device");
  const auto with = [&](std::uint64_t bytes) {
    return run_on("plan", {"--streaming", "--json", "--gpu-memory", std::to_string(bytes)});
  };
  EXPECT_EQ(Json::parse(with(needed).out).at("streaming").at("resident_layers"), 0);
  const std::string at_least =
      "layer streaming needs " + std::to_string(needed) + " bytes at least (weights ";
  for (const std::uint64_t less : {needed - 1, beside, beside - 1, std::uint64_t{0}}) {
    const Ran ran = with(less);
    EXPECT_TRUE(refuses(ran, at_least));
    EXPECT_THAT(ran.err, HasSubstr("; --gpu-memory is " + std::to_string(less) + ";"));
  }
  const Json all = Json::parse(with(std::uint64_t{1} << 30).out).at("streaming");
  EXPECT_EQ(all.at("resident_layers"), 3);
  EXPECT_EQ(all.at("slots"), 0);
  EXPECT_EQ(all.at("token_bytes"), 0);
}

// All three layers take less than nine slots.
TEST_F(Planning, WhatStreamingNeedsAtLeastIsWithLayersThatStay) {
  const auto with = [&](std::uint64_t bytes) {
    return run_on("plan", {"--streaming", "--slots", "9", "--gpu-memory", std::to_string(bytes)});
  };
  const Ran refused = with(0);
  const std::uint64_t needed = std::stoull(refused.err.substr(refused.err.find("needs ") + 6));
  const Json plenty = json_of("plan", {"--streaming", "--slots", "9", "--gpu-memory", "1GiB"});
  const auto of = [&](const char* part, const char* key) { return number(plenty.at(part), key); };
  EXPECT_EQ(needed, of("total", "bytes") - of("weights", "extent") + of("streaming", "device"));
  EXPECT_EQ(with(needed).exit_code, 0);
  EXPECT_THAT(with(needed).out, HasSubstr("3 of 3 layers stay"));
  EXPECT_TRUE(refuses(with(needed - 1), "layer streaming needs " + std::to_string(needed) + " "));
}

TEST_F(Planning, StreamingTextIsForPeople) {
  const Ran ran = run_on("plan", {"--streaming", "--regions"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  for (const char* says : {"0 of 3 layers stay", "in which 3 layers take turns", "4 pinned buffers",
                           "StreamingConfig", "slot.1", "staging.3"}) {
    EXPECT_THAT(ran.out, HasSubstr(says));
  }
  const Ran all = run_on("plan", {"--streaming", "--gpu-memory", "1GiB"});
  EXPECT_THAT(all.out, HasSubstr("3 of 3 layers stay"));
  EXPECT_THAT(all.out, HasSubstr("no layer takes turns"));
}

TEST_F(Planning, TheClosedFormIsOfDenseModels) {
  if (const auto why = no_shared_data("engine_figures")) GTEST_SKIP() << *why;
  const auto closed_form = [&](const char* file) {
    return json_of("plan", {"--streaming", "--context", "2048"},
                   shared_data("engine_figures") / file)
        .at("streaming")
        .at("closed_form");
  };
  EXPECT_TRUE(closed_form("llama-8b-gqa.header-only.gguf").is_number());
  for (const char* other : {"qwen3-30b-a3b", "mixtral-8x7b", "mamba-2.8b", "deepseek-v2-lite",
                            "gemma2-9b", "command-r7b"}) {
    EXPECT_TRUE(closed_form((std::string(other) + ".header-only.gguf").c_str()).is_null()) << other;
  }
}

// The header of a GGUF model of one layer, with heads of this width, and of one tensor or none.
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

TEST_F(Planning, TheClosedFormIsOfHeadsThatShareOutTheWidth) {
  const auto closed_form = [&](std::uint32_t head) {
    GgufBytes file = gguf_header(head, 1);
    file.tensor("blk.0.attn_norm.weight", {64}, kF32, 0).pad().zeros(256);
    const std::string path = folder_.write("heads.gguf", file.bytes());
    return json_of("plan", {"--streaming"}, path).at("streaming").at("closed_form");
  };
  EXPECT_TRUE(closed_form(16).is_number());
  EXPECT_TRUE(closed_form(32).is_null());
}

TEST_F(Planning, AModelWithoutTensorsIsNotStreamed) {
  const std::string path = folder_.write("none.gguf", gguf_header(16, 0).pad().bytes());
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming"}, path),
                      "no tensors to stream; give the file that has its weights\n"));
}

TEST_F(Planning, FitSaysWhatTheBusCarries) {
  const Json plenty = json_of("fit", {"--gpu-memory", "1GiB", "--host-memory", "1GiB"});
  EXPECT_TRUE(plenty.at("device").at("bus_bytes_per_second").is_null());
  const Json streamed = streaming_choice(plenty);
  EXPECT_EQ(streamed.at("resident_layers"), 3);
  EXPECT_GE(streamed.at("resident_needed"), streamed.at("device").at("needed"));
  EXPECT_THAT(run_on("fit", {"--gpu-memory", "1GiB", "--host-memory", "1GiB"}).out,
              HasSubstr("with 3 layers that stay"));
  const std::string needed = std::to_string(number(streamed.at("device"), "needed"));
  const std::string host = std::to_string(number(streamed.at("host"), "needed"));

  const Words least = {"--gpu-memory", needed, "--host-memory", host, "--bus", "64MiB"};
  const Json fits = json_of("fit", least);
  EXPECT_EQ(fits.at("device").at("bus_bytes_per_second"), 64 << 20);
  const Json slow = fits.at("choices").at(0);
  EXPECT_EQ(slow.at("mode"), "layer streaming through two slots");
  const double ceiling = slow.at("ceiling_tokens_per_second");
  EXPECT_DOUBLE_EQ(ceiling, (64 << 20) / slow.at("token_bytes").get<double>());
  EXPECT_FALSE(slow.at("too_slow"));
  EXPECT_THAT(run_on("fit", least).out, HasSubstr("tokens a second at most"));

  const auto asked = [&](double rate, const char* format) {
    Words words = least;
    words.insert(words.end(), {"--tokens-per-second", std::to_string(rate)});
    if (format[0] != 0) words.emplace_back(format);
    return run_on("fit", words);
  };
  const Json fast = Json::parse(asked(ceiling * 0.99, "--json").out);
  EXPECT_TRUE(fast.at("choices").at(0).at("fits"));
  EXPECT_NEAR(fast.at("least_tokens_per_second"), ceiling * 0.99, 1e-5);
  const Ran refused = asked(ceiling * 1.01, "");
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, HasSubstr("is too slow, the bus carries "));
  EXPECT_THAT(refused.out, HasSubstr(" are asked"));
  const Ran json = asked(ceiling * 1.01, "--json");
  EXPECT_EQ(json.exit_code, 3);
  EXPECT_TRUE(streaming_choice(Json::parse(json.out)).at("too_slow"));
  EXPECT_FALSE(streaming_choice(Json::parse(json.out)).at("fits"));
}

TEST_F(Planning, FitAsksTheHostWhereNothingIsSaid) {
  const Json fits = json_of("fit", {});
  EXPECT_GT(fits.at("host").at("available").get<std::uint64_t>(), 0U);
  EXPECT_FALSE(fits.at("host").at("limit").get<std::string>().empty());
}

TEST_F(Planning, SizesAreReadAsPeopleWriteThem) {
  for (const auto& [text, bytes] : {std::pair{"3GiB", std::uint64_t{3} << 30},
                                    {"3G", std::uint64_t{3} << 30},
                                    {"3 GiB", std::uint64_t{3} << 30},
                                    {"3gib", std::uint64_t{3} << 30},
                                    {"3GB", std::uint64_t{3'000'000'000}},
                                    {"3tb", std::uint64_t{3'000'000'000'000}},
                                    {"2T", std::uint64_t{2} << 40},
                                    {"5KB", std::uint64_t{5'000}},
                                    {"5k", std::uint64_t{5} << 10},
                                    {"7B", std::uint64_t{7}},
                                    {"7 b", std::uint64_t{7}},
                                    {"1.5G", std::uint64_t{3} << 29},
                                    {"1.2GiB", std::uint64_t{1'288'490'189}},
                                    {"0.25MB", std::uint64_t{250'000}},
                                    {"18446744073709551615", ~std::uint64_t{0}},
                                    {"512MiB", std::uint64_t{512} << 20},
                                    {"123456789", std::uint64_t{123'456'789}}}) {
    const Ran ran = run_on("fit", {"--host-memory", text, "--json"});
    EXPECT_EQ(Json::parse(ran.out).at("host").at("available"), bytes) << text << ran.err;
  }
}

TEST_F(Planning, WhatIsNoSizeIsSaidInOneWay) {
  for (const std::string text : {"G",
                                 "-1G",
                                 "+1G",
                                 "1.5",
                                 "1.5B",
                                 "1.G",
                                 ".5G",
                                 "1.5.5G",
                                 "1e12GB",
                                 "1.5e3G",
                                 "2GiBB",
                                 "2Gi",
                                 "2X",
                                 "25GB/s",
                                 "2  G",
                                 "2G ",
                                 " 2G",
                                 "0x10",
                                 "99999999999999999999",
                                 "18446744073709551616",
                                 "16777216TiB",
                                 "16777215.99999999999999999T"}) {
    EXPECT_TRUE(refuses(run_on("fit", {"--host-memory", text}),
                        "--host-memory: no size: " + text + " (24GiB, 1.5G, 512M, 1000)\n"));
  }
}

TEST_F(Planning, ShowTellsWhatAModelIsMadeOf) {
  const Ran ran = run_on("show", {});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("n_kv_heads = 4"));
  EXPECT_THAT(ran.out, HasSubstr("[3, 172, 64]  w1"));
  if (const auto why = no_shared_data("gguf")) GTEST_SKIP() << *why;
  const Ran cut = run({"show", shared_data("gguf") / "llama-2-7b-chat-Q4_0.header-only.gguf"});
  EXPECT_EQ(cut.exit_code, 0);
  EXPECT_THAT(cut.out, HasSubstr("TRUNCATED"));
  EXPECT_THAT(cut.out, HasSubstr("291 tensors"));
  EXPECT_THAT(cut.out, HasSubstr("llama.block_count = 32"));
  EXPECT_THAT(cut.out, HasSubstr("tokenizer.ggml.tokens = [32000 items]"));
}

TEST_F(Planning, ShowSaysWhatIsBrokenAndWhere) {
  std::string bytes = content_of(model_);
  bytes[8] = 0;  // no layers
  const std::string broken = folder_.write("broken.bin", bytes);
  for (const char* command : {"show", "plan", "fit"}) {
    EXPECT_TRUE(refuses(run({command, broken}), "broken.bin")) << command;
  }
  if (const auto why = no_shared_data("malformed")) GTEST_SKIP() << *why;
  for (const auto& entry : std::filesystem::directory_iterator(shared_data("malformed"))) {
    if (entry.path().filename() == "INDEX.csv") continue;
    EXPECT_TRUE(refuses(run({"show", entry.path()}), ", byte ")) << entry.path();
  }
}

TEST_F(Planning, BadInputIsOneLine) {
  const Words none;
  EXPECT_TRUE(refuses(run({"plan"}), "MODEL is required"));
  EXPECT_TRUE(refuses(run({"show", folder_ / "missing"}), "ENOENT"));
  EXPECT_TRUE(refuses(run_on("plan", {"--kv", "f17"}), "f17"));
  EXPECT_TRUE(refuses(run_on("plan", {"--kv", "f16,"}), "no type"));
  EXPECT_TRUE(refuses(run_on("plan", {"--kv", "q4_k"}), "q4_k"));
  EXPECT_TRUE(refuses(run_on("plan", {"--weights-type", "x"}), "no type"));
  EXPECT_TRUE(refuses(run_on("plan", {"--context", "-1"}), "--context"));
  EXPECT_TRUE(refuses(run_on("plan", {"--context", "99999999999999999999"}), "--context"));
  EXPECT_TRUE(refuses(run_on("plan", {"--context", "9999999999999999999"}), "64 bits"));
  EXPECT_TRUE(refuses(run_on("plan", {"--sequences", "0"}), "sequences"));
  EXPECT_TRUE(refuses(run_on("plan", {"--ubatch", "0"}), "0"));
  EXPECT_TRUE(refuses(run_on("plan", {"--profile", "vllm"}),
                      "--profile: vllm not in {native,llama.cpp}\n"));
  EXPECT_TRUE(refuses(run_on("plan", {"--flash-attention", "maybe"}), "--flash-attention"));
  EXPECT_TRUE(refuses(run_on("plan", {"--tp", "0"}), "0"));
  EXPECT_TRUE(refuses(run_on("plan", {"--tp", "9"}), "9"));
  EXPECT_TRUE(refuses(run_on("plan", {"--slots", "2"}), "--streaming"));
  EXPECT_TRUE(refuses(run_on("plan", {"--gpu-memory", "2G"}), "--streaming"));
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming", "--slots", "0"}), "0 slots"));
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming", "--slots", "-1"}), "--slots"));
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming", "--gpu-memory", "x"}), "--gpu-memory"));
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming", "--tp", "2"}), "--tp"));
  EXPECT_TRUE(refuses(run_on("plan", {"--streaming", "--weights-type", "q8_0"}), "--weights-type"));
  for (const char* rate : {"0", "-1", "fast", "nan", "inf", "1e999", "3x", ""}) {
    EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "1G", "--bus", "1G",  //
                                       "--tokens-per-second", rate}),
                        "--tokens-per-second"))
        << rate;
  }
  EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "1G", "--tokens-per-second", "3"}), "--bus"));
  EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "1G", "--bus", "0"}),
                      "no bus copies 0 bytes a second"));
  EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "1G", "--bus", "25XB"}), "--bus"));
  EXPECT_TRUE(refuses(run_on("fit", {"--tokens-per-second", "3"}), "there is none"));
  EXPECT_TRUE(refuses(run_on("fit", {"--bus", "1G"}), "there is none"));
  EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "12XB"}), "--gpu-memory"));
  EXPECT_TRUE(refuses(run_on("fit", {"--gpu-memory", "-1G"}), "--gpu-memory"));
  EXPECT_TRUE(refuses(run_on("fit", {"--host-memory", "99999999999999999999"}), "--host-memory"));
  EXPECT_TRUE(refuses(run({"plan", folder_.path()}), folder_.path().filename().string()));
}

}  // namespace
}  // namespace tapedeck::tests
