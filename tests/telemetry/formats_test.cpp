// SPDX-License-Identifier: Apache-2.0
// Formats that are generated from the list of figures, except Prometheus.
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"
#include "tapedeck/telemetry/snapshot/json.hpp"
#include "telemetry/every_figure.hpp"
#include "telemetry/live/stat_segment.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::tests {
namespace {

/// "scratch: used 512 B, page size 7 B,
///   spills 9
/// ". All values are below a KiB.
struct AsText {
  static EveryFigure told(const Stat& stat) {
    const std::string text = std::regex_replace(stat.text(), std::regex(",\n "), ",");
    std::istringstream lines(text);
    EveryFigure told;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t colon = line.find(':');
      std::string owner = line.substr(0, colon);
      if (owner != "layout" && !owner.starts_with("gpu")) owner.insert(0, "host.");
      std::replace(owner.begin(), owner.end(), ' ', '.');
      const std::regex figure("([a-z ]*[a-z]) ([0-9]+)( B)?(,|$)");
      const auto end = std::sregex_iterator();
      for (std::sregex_iterator at(line.begin() + 1 + static_cast<long>(colon), line.end(), figure);
           at != end; ++at) {
        std::string name = at->str(1).substr(1);
        std::replace(name.begin(), name.end(), ' ', '_');
        told[std::string(owner).append(".").append(name)] = std::stoull(at->str(2));
      }
    }
    return told;
  }
};

struct AsJson {
  static EveryFigure told(const Stat& stat) {
    const auto json = nlohmann::json::parse(to_json({.layout = "chat", .stat = stat}));
    EveryFigure told;
    const auto note = [&told](const std::string& owner, const nlohmann::json& object) {
      for (const auto& [name, value] : object.items()) {
        if (value.is_number()) told[std::string(owner).append(".").append(name)] = value;
      }
    };
    note("layout", json.at("layout"));
    for (const auto& tape : json.at("tapes")) {
      note(tape.at("place").get<std::string>() + "." + tape.at("tape").get<std::string>(), tape);
    }
    for (const auto& device : json.at("devices")) note(device.at("place"), device);
    return told;
  }
};

struct AsPublished {
  static EveryFigure told(const Stat& stat) {
    std::vector<std::uint64_t> words;
    internal::segment::for_each_word(stat, [&](std::uint64_t word) { words.push_back(word); });
    Stat read;
    EXPECT_TRUE(internal::segment::read_stat(words, read));
    return every_figure(read);
  }
};

/// Uses the names in the recording's lines. Computed figures are not written.
struct AsRecording {
  static EveryFigure told(const Stat& stat) {
    Recording recording = {.gpus = stat.gpus};
    recording.words.resize(internal::words::count(stat.gpus));
    internal::words::put(recording.words, {.at = 1, .stat = stat});
    std::ostringstream out;
    recording.write(out);
    const TempFolder folder;
    EveryFigure told =
        every_figure(read_recording(folder.write("recording", out.str())).sample(0).stat);
    const std::string lines = out.str();
    const auto names = nlohmann::json::parse(lines.substr(0, lines.find('\n'))).at("figures");
    const auto values = nlohmann::json::parse(lines.substr(lines.find('\n'))).at("figures");
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string name = names[i];
      if (!name.ends_with(".most_in_use")) told[name] = values.at(i);
    }
    return told;
  }
};

using Formats = ::testing::Types<AsText, AsJson, AsPublished, AsRecording>;
INSTANTIATE_TYPED_TEST_SUITE_P(OurOwn, EveryFormat, Formats);

}  // namespace
}  // namespace tapedeck::tests
