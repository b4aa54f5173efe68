// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/snapshot/json.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "base/json.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "tapedeck.snapshot";

template <class Figures, class Value>
void add_figures(Json& object, std::span<const StatField<Figures, Value>> fields,
                 const Figures& figures) {
  for (const auto& field : fields) object[field.name] = internal::number_json(field.known(figures));
}

Json unmet_of(const TapeStat& tape) {
  Json unmet = Json::object();
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (tape.unmet[i] != 0) unmet[to_string(static_cast<Wish>(i))] = errno_name(tape.unmet[i]);
  }
  return unmet;
}

Json tapes_of(const Stat& stat) {
  Json tapes = Json::array();
  internal::for_each_tape(stat, [&](Place place, TapeKind kind, const TapeStat& tape) {
    Json one = {{"place", to_string(place)}, {"tape", to_string(kind)}};
    add_figures(one, tape_fields(), tape);
    one["unmet"] = unmet_of(tape);
    tapes.push_back(std::move(one));
  });
  return tapes;
}

Json devices_of(const Snapshot& snapshot) {
  Json devices = Json::array();
  for (std::size_t i = 0; i < snapshot.stat.gpus; ++i) {
    Json one = {{"place", to_string(Place::gpu(i))}};
    add_figures(one, device_fields(), snapshot.stat.gpu[i]);
    if (i < snapshot.devices.size()) {
      one["label"] = snapshot.devices[i].label;
      add_figures(one, device_memory_fields(), snapshot.devices[i]);
    }
    devices.push_back(std::move(one));
  }
  return devices;
}

Json talk_json(const TalkStat& talk) {
  // The talks of a layout made from sizes do not count tokens.
  Json json = {{"tokens", talk.capacity == 0 ? Json() : Json(talk.tokens)}};
  add_figures(json, tape_fields(), talk.history);
  return json;
}

Json phase_json(const PhaseFigures& phase) {
  Json json = {{"name", phase.name}};
  add_figures(json, phase_fields(), phase);
  Json& peaks = json["peaks"] = Json::array();
  const auto add_peak = [&peaks](Place place, TapeKind tape, std::uint64_t bytes) {
    peaks.push_back({{"place", to_string(place)}, {"tape", to_string(tape)}, {"bytes", bytes}});
  };
  internal::for_each_tape(phase.peaks, phase.gpus, add_peak);
  return json;
}

// The schema.

const char* unit_name(StatUnit unit) {
  constexpr std::array names = {"bytes", "tokens", "count", "microseconds", "ten-thousandths"};
  return names[static_cast<std::size_t>(unit)];
}

/// `properties`, with one more for each field of a list.
template <class Figures, class Value>
Json with_figures(Json properties, std::span<const StatField<Figures, Value>> fields) {
  for (const auto& field : fields) {
    const bool known = !field.may_be_unknown();
    const char* const kind = field.kind == StatKind::counter ? "counter" : "gauge";
    properties[field.name] = {{"type", known ? Json("integer") : Json({"integer", "null"})},
                              {"minimum", 0},
                              {"description", std::string(field.help) + " (" + kind + ", " +
                                                  unit_name(field.unit) + ")"}};
  }
  return properties;
}

/// An object that has all of `properties` and may have those in `optional`.
Json object_schema(const Json& properties, const Json& optional = Json::object()) {
  Json required = Json::array();
  for (const auto& [name, schema] : properties.items()) required.push_back(name);
  Json all = properties;
  all.update(optional);
  return {{"type", "object"},
          {"properties", std::move(all)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

Json array_schema(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }

Json text_schema(const char* pattern = "") { return {{"type", "string"}, {"pattern", pattern}}; }

/// The properties that identify a tape of a layout.
Json which_tape() {
  Json tapes = Json::array();
  for (const TapeKind kind : kTapeKinds) tapes.push_back(to_string(kind));
  return {{"place", text_schema("^(host|gpu[0-9]+)$")}, {"tape", {{"enum", std::move(tapes)}}}};
}

Json tape_schema() {
  Json properties = with_figures(which_tape(), tape_fields());
  properties["unmet"] = {{"type", "object"}, {"additionalProperties", {{"type", "string"}}}};
  return object_schema(properties);
}

Json device_schema() {
  return object_schema(with_figures({{"place", text_schema("^gpu[0-9]+$")}}, device_fields()),
                       with_figures({{"label", text_schema()}}, device_memory_fields()));
}

Json talk_schema() {
  return object_schema(
      with_figures({{"tokens", {{"type", {"integer", "null"}}, {"minimum", 0}}}}, tape_fields()));
}

Json phase_schema() {
  Json peak = which_tape();
  peak["bytes"] = {{"type", "integer"},
                   {"minimum", 0},
                   {"description", "The most that was used during the phase. (gauge, bytes)"}};
  Json properties = with_figures({{"name", text_schema()}}, phase_fields());
  properties["peaks"] = array_schema(object_schema(peak));
  return object_schema(properties);
}

}  // namespace

std::string to_json(const Snapshot& snapshot) {
  Json layout = {{"name", snapshot.layout}};
  add_figures(layout, layout_fields(), snapshot.stat);
  Json json = {{"schema", kSchema},
               {"version", kJsonVersion},
               {"layout", std::move(layout)},
               {"tapes", tapes_of(snapshot.stat)},
               {"devices", devices_of(snapshot)}};
  for (const TalkStat& talk : snapshot.talks) json["talks"].push_back(talk_json(talk));
  for (const PhaseFigures& phase : snapshot.phases) json["phases"].push_back(phase_json(phase));
  if (snapshot.process) add_figures(json["process"], process_fields(), *snapshot.process);
  return internal::json_text(json);
}

std::string json_schema() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "The memory of a Tapedeck layout"}};
  schema.update(object_schema(
      {{"schema", {{"const", kSchema}}},
       {"version", {{"const", kJsonVersion}}},
       {"layout", object_schema(with_figures({{"name", text_schema()}}, layout_fields()))},
       {"tapes", array_schema(tape_schema())},
       {"devices", array_schema(device_schema())}},
      {{"talks", array_schema(talk_schema())},
       {"phases", array_schema(phase_schema())},
       {"process", object_schema(with_figures(Json::object(), process_fields()))}}));
  return internal::json_text(schema, 2) + "\n";
}

}  // namespace tapedeck::inline TAPEDECK_ABI
