// SPDX-License-Identifier: Apache-2.0
/// @file
/// Debian's Chromium without a screen, controlled through its WebDriver (W3C).
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "os/temp_folder.hpp"
#include "telemetry/daemon.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

[[nodiscard]] inline bool has_browser() {
  return shell("command -v chromium && command -v chromedriver").exit_code == 0;
}

class Browser {
 public:
  using Json = nlohmann::json;

  Browser()
      : port_(free_port()),
        driver_({"chromedriver", "--port=" + std::to_string(port_)}, folder_ / "log"),
        session_(begin_session()) {}
  ~Browser() { static_cast<void>(send("DELETE", session_)); }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  void open(const std::string& address) const { ask("POST", "/url", {{"url", address}}); }

  /// Emulates a screen of that width, in light or dark mode.
  void look(unsigned width, unsigned height, bool dark) const {
    devtools("Emulation.setDeviceMetricsOverride",
             {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", false}});
    devtools(
        "Emulation.setEmulatedMedia",
        {{"features",
          Json::array({{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}})}});
  }

  /// Returns the result of a function body that runs in the page.
  [[nodiscard]] Json run(const std::string& script) const {
    return ask("POST", "/execute/sync", {{"script", script}, {"args", Json::array()}});
  }

  /// Returns the console messages of the page since the last call.
  [[nodiscard]] std::vector<std::string> console() const {
    std::vector<std::string> messages;
    for (const Json& line : ask("POST", "/se/log", {{"type", "browser"}})) {
      messages.push_back(line.at("message"));
    }
    return messages;
  }
  /// Returns the addresses requested since the last call, except the browser's own.
  [[nodiscard]] std::vector<std::string> requests() const {
    std::vector<std::string> addresses;
    for (const Json& line : ask("POST", "/se/log", {{"type", "performance"}})) {
      const Json event = Json::parse(line.at("message").get<std::string>()).at("message");
      if (event.at("method") != "Network.requestWillBeSent") continue;
      const std::string address = event.at("params").at("request").at("url");
      const bool its_own = address.starts_with("chrome://") || address.starts_with("data:");
      if (!its_own) addresses.push_back(address);
    }
    return addresses;
  }

  /// Saves the whole page as it is displayed now, as a PNG file.
  void take_picture(const std::string& path) const {
    const Json picture = devtools("Page.captureScreenshot", {{"captureBeyondViewport", true}});
    const std::string coded =
        folder_.write("picture", picture.at("data").get<std::string>()).string();
    const Said said = shell("base64 -d " + coded + " > " + path);
    EXPECT_EQ(said.exit_code, 0) << said.text;
  }

 private:
  // A separate profile, and no network requests by the browser itself.
  [[nodiscard]] std::string begin_session() const {
    const Json arguments = {"--headless=new",
                            "--no-sandbox",
                            "--disable-gpu",
                            "--disable-dev-shm-usage",
                            "--disable-background-networking",
                            "--user-data-dir=" + (folder_ / "profile").string()};
    const Json wanted = {{"browserName", "chrome"},
                         {"goog:chromeOptions", {{"args", arguments}}},
                         {"goog:loggingPrefs", {{"browser", "ALL"}, {"performance", "ALL"}}}};
    const std::string body = Json{{"capabilities", {{"alwaysMatch", wanted}}}}.dump();
    Answer answer;
    const bool begun = comes_true([&] {
      answer = send("POST", "/session", body);
      return answer.good;
    });
    if (!begun) {
      ADD_FAILURE() << "no browser: " << answer.text << driver_.said();
      return "/session/none";
    }
    return "/session/" + Json::parse(answer.text).at("value").at("sessionId").get<std::string>();
  }

  // The driver does not support older versions of HTTP.
  [[nodiscard]] Answer send(const std::string& method, const std::string& path,
                            const std::string& body = {}) const {
    return http(port_, method, path, body, "HTTP/1.1");
  }
  Json ask(const std::string& method, const std::string& path, const Json& body) const {
    const Answer answer = send(method, session_ + path, body.dump());
    if (!answer.good) throw std::runtime_error("the browser refuses " + path + ": " + answer.text);
    return Json::parse(answer.text).at("value");
  }
  Json devtools(const std::string& command, const Json& parameters) const {
    return ask("POST", "/goog/cdp/execute", {{"cmd", command}, {"params", parameters}});
  }

  TempFolder folder_;
  std::uint16_t port_;
  Daemon driver_;
  std::string session_;
};

}  // namespace tapedeck::tests
