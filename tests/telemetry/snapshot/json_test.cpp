// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using Json = nlohmann::json;
using ::testing::Each;
using ::testing::ElementsAre;

template <class Figures, class Value>
void expect_figures(const Json& object, std::span<const StatField<Figures, Value>> fields,
                    const Figures& figures) {
  for (const auto& field : fields) {
    const std::optional<std::uint64_t> value = field.known(figures);
    EXPECT_EQ(object.at(field.name), value ? Json(*value) : Json()) << field.name;
  }
}

TEST(ToJson, SaysWhatItIs) {
  Snapshot now = {.layout = "chat"};
  now.stat.passes = ~std::uint64_t{0};
  now.stat.history.unmet[static_cast<std::size_t>(Wish::lock)] = ENOMEM;
  const Json json = Json::parse(to_json(now));
  EXPECT_EQ(json.at("schema"), "tapedeck.snapshot");
  EXPECT_EQ(json.at("version"), kJsonVersion);
  EXPECT_EQ(json.at("layout").at("name"), "chat");
  EXPECT_EQ(json.at("layout").at("passes").dump(), "18446744073709551615");  // exactly
  EXPECT_EQ(json.at("tapes").at(0).at("unmet"), Json::object());
  EXPECT_EQ(json.at("tapes").at(2).at("unmet"), Json({{"lock", "ENOMEM"}}));
  EXPECT_EQ(json.at("tapes").at(2).at("unmet_wishes"), 1);
  for (const char* const other : {"talks", "process", "phases"}) EXPECT_FALSE(json.contains(other));
}

TEST(ToJson, HasWhatWasAskedFor) {
  const BusyLayout busy;
  const Snapshot now = busy.snapshot("chat");
  const Json json = Json::parse(to_json(now));
  ASSERT_EQ(json.at("talks").size(), 2U);
  EXPECT_EQ(json.at("talks").at(0).at("tokens"), 3);
  EXPECT_EQ(json.at("talks").at(1).at("tokens"), 0);
  expect_figures(json.at("talks").at(0), tape_fields(), now.talks[0].history);
  EXPECT_EQ(json.at("devices").at(1).at("label"), now.devices[1].label);
  EXPECT_EQ(json.at("devices").at(1).at("memory_total"), 32_MiB);
  EXPECT_EQ(json.at("process").at("rss_anon"), *now.process->rss_anon);
  EXPECT_TRUE(json.at("process").at("model_file").is_null());

  const Json& phases = json.at("phases");
  ASSERT_EQ(phases.size(), 2U);
  EXPECT_EQ(phases.at(0).at("name"), "talk");
  EXPECT_EQ(phases.at(1).at("name"), "prefill");
  EXPECT_EQ(phases.at(1).at("entered"), 1);
  expect_figures(phases.at(1), phase_fields(), now.phases[1]);
  const Json& peaks = phases.at(1).at("peaks");
  ASSERT_EQ(peaks.size(), 9U);
  const auto peak = [](const char* place, const char* tape, std::uint64_t bytes) {
    return Json({{"place", place}, {"tape", tape}, {"bytes", bytes}});
  };
  EXPECT_EQ(peaks.at(1), peak("host", "scratch", now.phases[1].peaks.scratch));
  EXPECT_EQ(peaks.at(8), peak("gpu1", "history", now.phases[1].peaks.gpu[1].history));
  EXPECT_GE(peaks.at(1).at("bytes"), 10'000);
}

// Regression: these were 0.
TEST(ToJson, WhatIsUnknownIsNull) {
  const auto nulls = [](const Json& object) {
    std::vector<std::string> names;
    for (const auto& [name, value] : object.items()) {
      if (value.is_null()) names.push_back(name);
    }
    return names;
  };
  const Layout of_sizes({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const Json sizes = Json::parse(to_json(snapshot_of(of_sizes, "sizes", {.talks = true})));
  EXPECT_THAT(nulls(sizes.at("layout")), ElementsAre("capacity", "cleared_tokens", "history_budget",
                                                     "longest_talk", "room", "tokens"));
  EXPECT_THAT(nulls(sizes.at("talks").at(0)), ElementsAre("tokens"));
  EXPECT_THAT(nulls(sizes.at("tapes").at(2)), ElementsAre());
  const Layout planned(BusyLayout::plan(), {.commit = Commit::with_talks, .history_budget = 1_MiB});
  const Json plan = Json::parse(to_json(snapshot_of(planned, "plan", {.talks = true})));
  EXPECT_THAT(nulls(plan.at("layout")), ElementsAre());
  EXPECT_THAT(nulls(plan.at("talks").at(0)), ElementsAre("page_size"));
  EXPECT_THAT(nulls(plan.at("tapes").at(2)), ElementsAre("page_size"));
  EXPECT_EQ(plan.at("layout").at("history_budget"), 1_MiB);
}

const std::vector<std::string> kNames = {"",
                                         "\"",
                                         "\\",
                                         "a\nb\tc",
                                         std::string("\0x", 2),
                                         "\x7f\x1b[31m",
                                         "\xff\xfe",
                                         "\xc3",
                                         "\xe2\x82",
                                         "\xed\xa0\x80",
                                         "日本",
                                         "</script>",
                                         "\",\"version\":2,\""};

TEST(ToJson, StandsAnyName) {
  for (const std::string& name : kNames) {
    Snapshot now;
    now.layout = name;
    now.devices = {{.label = name}};
    now.phases = {{.name = name}};
    now.stat.gpus = 1;
    const Json json = Json::parse(to_json(now));
    EXPECT_EQ(json.at("version"), kJsonVersion);
    EXPECT_EQ(json.at("tapes").size(), 6U);
  }
  Snapshot now;
  now.layout = "日本 \"a\" \\ \n";
  EXPECT_EQ(Json::parse(to_json(now)).at("layout").at("name"), now.layout);
}

/// Python's jsonschema, an independent validator.
class Validator : public ::testing::Test {
 protected:
  void SetUp() override {
    if (shell("python3 -c 'import jsonschema'").exit_code != 0) {
      GTEST_SKIP() << "Python's jsonschema is not installed (Debian: python3-jsonschema)";
    }
    folder_.write("schema.json", json_schema());
    folder_.write("validate.py",
                  "import json, sys, jsonschema\n"
                  "schema = json.load(open(sys.argv[1]))\n"
                  "jsonschema.Draft202012Validator.check_schema(schema)\n"
                  "validator = jsonschema.Draft202012Validator(schema)\n"
                  "for name in sys.argv[2:]:\n"
                  "    errors = list(validator.iter_errors(json.load(open(name))))\n"
                  "    print('bad' if errors else 'good')\n"
                  "    for error in errors: print(error.message, file=open('errors', 'a'))\n");
  }

  /// Returns "good" or "bad" for each document.
  [[nodiscard]] std::vector<std::string> verdicts(const std::vector<std::string>& documents) const {
    std::string command = "cd " + folder_.path().string() + " && python3 validate.py schema.json";
    for (std::size_t i = 0; i < documents.size(); ++i) {
      const std::string name = std::to_string(i) + ".json";
      folder_.write(name, documents[i]);
      command += " " + name;
    }
    std::vector<std::string> lines = split_lines(shell(command).text);
    EXPECT_EQ(lines.size(), documents.size());
    return lines;
  }
  [[nodiscard]] std::string errors() const { return text_of((folder_ / "errors").string()); }

  TempFolder folder_;
};

TEST_F(Validator, AgreesWithRealLayouts) {
  const BusyLayout busy;
  const Layout small({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB}, {.talks = 2});
  std::vector<std::string> documents = {to_json(snapshot_of(busy.layout, "chat")),
                                        to_json(busy.snapshot("chat")), to_json(Snapshot{})};
  for (const std::string& name : kNames) documents.push_back(to_json(snapshot_of(small, name)));
  EXPECT_THAT(verdicts(documents), Each("good")) << errors();
}

TEST_F(Validator, RefusesWhatIsBroken) {
  const BusyLayout busy;
  const Json good = Json::parse(to_json(busy.snapshot("chat")));
  std::vector<std::string> broken;
  const auto breaks = [&](auto change) {
    Json json = good;
    change(json);
    broken.push_back(json.dump());
  };
  breaks([](Json& json) { json["version"] = kJsonVersion + 1; });
  breaks([](Json& json) { json["schema"] = "other"; });
  breaks([](Json& json) { json["more"] = 1; });
  breaks([](Json& json) { json["layout"].erase("passes"); });
  breaks([](Json& json) { json["layout"]["name"] = nullptr; });
  breaks([](Json& json) { json["layout"]["passes"] = nullptr; });
  breaks([](Json& json) { json["layout"]["tokens"] = "many"; });
  breaks([](Json& json) { json["tapes"][0]["tape"] = "other"; });
  breaks([](Json& json) { json["tapes"][0]["place"] = "gpu"; });
  breaks([](Json& json) { json["tapes"][0]["used"] = "12"; });
  breaks([](Json& json) { json["tapes"][0]["used"] = -1; });
  breaks([](Json& json) { json["tapes"][0]["used"] = 0.5; });
  breaks([](Json& json) { json["tapes"][0].erase("unmet"); });
  breaks([](Json& json) { json["tapes"][0]["unmet"]["lock"] = 12; });
  breaks([](Json& json) { json["devices"][1]["memory_free"] = "all"; });
  breaks([](Json& json) { json["devices"][1].erase("pool_free"); });
  breaks([](Json& json) { json["talks"][0].erase("tokens"); });
  breaks([](Json& json) { json["phases"][0].erase("passes"); });
  breaks([](Json& json) { json["phases"][0]["more"] = 1; });
  breaks([](Json& json) { json["phases"][1].erase("peaks"); });
  breaks([](Json& json) { json["phases"][1]["peaks"][2]["place"] = "disk"; });
  breaks([](Json& json) { json["phases"][1]["peaks"][2]["bytes"] = nullptr; });
  breaks([](Json& json) { json["process"].erase("rss_anon"); });
  breaks([](Json& json) { json["process"]["rss_anon"] = true; });
  EXPECT_THAT(verdicts(broken), Each("bad"));
  EXPECT_THAT(verdicts({good.dump()}), ElementsAre("good"));
}

TEST(JsonSchema, SaysWhatEachFigureIs) {
  const Json schema = Json::parse(json_schema());
  const Json& used = schema.at("properties").at("tapes").at("items").at("properties").at("used");
  EXPECT_EQ(used.at("description"), "Bytes taken from the tape. (gauge, bytes)");
  const Json& phase = schema.at("properties").at("phases").at("items").at("properties");
  EXPECT_EQ(phase.at("entered").at("description"),
            "How often the phase was entered. (counter, count)");
  const Json& process = schema.at("properties").at("process").at("properties");
  EXPECT_EQ(process.size(), process_fields().size());
  EXPECT_EQ(process.at("rss_anon").at("type"), Json({"integer", "null"}));
}

}  // namespace
}  // namespace tapedeck::tests
