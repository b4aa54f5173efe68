// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <utility>

#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/weights/warm_job.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

/// The weights of one layout, and the job that brings them in.
class OpenedWeights final : public OwnedWeights {
 public:
  OpenedWeights(const Model& model, const OpenLayoutOptions& options)
      : weights_(Weights::open(model, options.weights)),
        job_(weights_.start_warm(options.warm, layer_order(weights_.tensors()))) {}

  [[nodiscard]] std::span<const std::byte> range() const override { return weights_.range(); }
  [[nodiscard]] std::optional<Tensor> tensor(std::string_view name) const override {
    return weights_.tensor(name);
  }
  [[nodiscard]] bool wait_for(std::string_view tensor) override {
    const std::span<const TensorEntry> entries = weights_.tensors().entries();
    const TensorEntry* const entry = weights_.tensors().find(tensor);
    if (entry == nullptr) {
      throw InvalidArgument({.argument = "tensor"},
                            "the model has no tensor " + std::string(tensor));
    }
    return job_.wait_for(static_cast<std::size_t>(entry - entries.data()));
  }
  [[nodiscard]] WarmResult wait() override { return job_.wait(); }
  [[nodiscard]] WarmProgress progress() const override { return job_.progress(); }

 private:
  Weights weights_;
  WarmJob job_;  // destroyed first, so its threads end before the weights go
};

}  // namespace

Layout Layout::open(const std::filesystem::path& path, OpenLayoutOptions options) {
  if (options.layout.loaded_weights != nullptr) {
    throw InvalidArgument({.argument = "LayoutOptions::loaded_weights"},
                          "opening " + path.string() + " loads its weights, so others have no use",
                          "leave loaded_weights out, or make the layout from a plan");
  }
  const Model model = read_model(path);
  Plan plan = make_plan(model, options.plan);
  auto weights = std::make_unique<OpenedWeights>(model, options);
  if (!options.while_arriving) weights->wait().or_throw("bringing in " + path.string());
  options.layout.loaded_weights = weights.get();
  return Layout(std::move(plan), std::move(options.layout), std::move(weights));
}

}  // namespace tapedeck::inline TAPEDECK_ABI
