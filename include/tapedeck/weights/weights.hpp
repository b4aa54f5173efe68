/// @file
/// `Weights`: the tensors of a model in memory, however they get there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/weights/tensor_view.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What became of a file.
struct WeightsFile {
  std::filesystem::path path{};
  std::uint64_t bytes = 0;
  Way way = Way::map;                     ///< Never `automatic`.
  std::string why{};                      ///< For people: "cold (0 % in the page cache), ext4".
  std::optional<std::uint64_t> cached{};  ///< Bytes in the page cache when it was opened.
};

/// Where weights are now. Costs system calls; "nothing" means the kernel did not tell.
struct WeightsResidency {
  std::uint64_t bytes = 0;                 ///< That were asked about.
  std::optional<std::uint64_t> present{};  ///< In RAM and mapped by this process.
  std::optional<std::uint64_t> huge{};     ///< Of these, in huge pages.
  std::optional<std::uint64_t> swapped{};
  /// Of mapped files: in the page cache, for whomever. The kernel tells only who may write a file.
  std::optional<std::uint64_t> cached{};
  /// Changed, and not on disk. Known for all weights together only.
  std::optional<std::uint64_t> dirty{};
  std::vector<std::uint64_t> nodes{};  ///< Bytes by NUMA node; empty where the kernel has none.
};

/// The tensors of a model: one reserved range of addresses that holds the image of each of its
/// files, mapped or read. Opening checks everything and reads only headers; `warm` brings the
/// bytes. Tensors that are mapped can be read from the start (and fault); tensors that are read
/// into memory hold zeros until they are `readable`. Addresses never move.
///
/// Thread-safety: `warm`, `start_warm`, `lock` and `decommit` by one thread at a time; everything
/// else from any thread. Bytes may be read beside a running warm once they are `readable`. Every
/// function throws WrongState (`empty`) where the object was moved from.
///
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// Weights weights = Weights::open("models/llama", {.way = Way::map});
/// weights.warm().or_throw("bringing in the weights");
/// const TensorView head = weights.at("output.weight");
/// Layout layout(make_plan(read_model("models/llama")), {.loaded_weights = &weights});
/// @endcode
class Weights final : public WeightsOwner {
 public:
  /// Opens all files of a model: a GGUF file (all parts of a split one), safetensors (single, by
  /// an index, or a folder), llama2.c. Each file costs a descriptor as long as the object lives.
  /// @throws as `read_model`; FormatError for a tensor outside its file, before anything is
  /// touched; InvalidArgument for a model without tensors; SystemError. What the host does not have
  /// of huge pages or nodes is in `unmet`.
  [[nodiscard]] static Weights open(const std::filesystem::path& path,
                                    const WeightsOptions& options = {});
  /// Of a model that was read already. @throws also FormatError where a file changed meanwhile.
  [[nodiscard]] static Weights open(const Model& model, const WeightsOptions& options = {});

  /// Takes over sealed weights that `send` gave away at the other end of a Unix socket. Nothing is
  /// copied, and they stay when the sender goes.
  /// @throws SystemError; FormatError where what came is no sealed weights.
  [[nodiscard]] static Weights receive(int socket);
  /// The same, of a descriptor that came another way (inherited, SCM_RIGHTS of the host's own). It
  /// is duplicated.
  [[nodiscard]] static Weights adopt(int descriptor);

  Weights(Weights&&) noexcept;
  Weights& operator=(Weights&&) noexcept;
  ~Weights() override;

  /// Gives these weights to the process at the other end of a Unix socket (connected, or one of a
  /// pair), which takes them with `receive`.
  /// @throws InvalidArgument where they are not in sealed memory (`WeightsBuilder`); SystemError.
  void send(int socket) const;
  /// The memfd of sealed weights; -1 for others. Owned by the object.
  [[nodiscard]] int descriptor() const;

  [[nodiscard]] const TensorDirectory& tensors() const;
  [[nodiscard]] std::size_t size() const;  ///< Number of tensors.
  /// @pre index < size()
  [[nodiscard]] TensorView operator[](std::size_t index) const;
  /// Nothing where there is no such tensor. O(log n).
  [[nodiscard]] std::optional<TensorView> find(std::string_view name) const;
  /// @throws InvalidArgument where there is no such tensor.
  [[nodiscard]] TensorView at(std::string_view name) const;

  /// The bytes of every tensor, in the order of `tensors()`: what a `LayerStreamer` copies.
  /// @throws InvalidArgument where some are not `readable`.
  [[nodiscard]] std::vector<std::span<const std::byte>> all_bytes() const;

  /// In the order of `tensors().files()`.
  [[nodiscard]] std::span<const WeightsFile> files() const;
  [[nodiscard]] std::span<const std::byte> range() const override;
  [[nodiscard]] std::optional<Tensor> tensor(std::string_view name) const override;
  /// What was asked and could not be had: huge pages, locks, NUMA.
  [[nodiscard]] const std::vector<Unmet>& unmet() const;

  /// Whether a tensor's bytes are there. Of mapped tensors they always are; without `warmed`,
  /// reading them may have to wait for the disk. O(chunks of the tensor), no system call.
  /// @pre tensor < size()
  [[nodiscard]] bool readable(std::size_t tensor) const;
  /// Whether a warm has made it resident since it was opened, or last decommitted.
  [[nodiscard]] bool warmed(std::size_t tensor) const;

  /// Brings in what is not there yet, and waits. `start_warm` and `wait` in one.
  /// @param order  tensors (indices into the directory) whose bytes come first, in this order; the
  /// others follow as they lie in their files. `layer_order` makes one.
  [[nodiscard]] WarmResult warm(WarmOptions options = {},
                                const std::vector<std::uint32_t>& order = {});
  /// The same beside the caller's own work. The weights must outlive the job, and may be moved.
  /// @throws WrongState where a job runs already; InvalidArgument where `order` names no tensor.
  [[nodiscard]] WarmJob start_warm(WarmOptions options = {},
                                   const std::vector<std::uint32_t>& order = {});

  /// Of everything.
  [[nodiscard]] WeightsResidency residency() const;
  /// Of one file, by its place in `files()`. @throws InvalidArgument
  [[nodiscard]] WeightsResidency residency_of_file(std::size_t file) const;
  /// Of some tensors together, say a layer's. @throws InvalidArgument
  [[nodiscard]] WeightsResidency residency_of(std::span<const std::uint32_t> tensors) const;

  /// Keeps everything in RAM (mlock): it is brought in where it is not. False where the host
  /// refuses; `unmet` then says how much was asked, and the limit.
  bool lock();

  /// Gives all pages back and keeps the addresses, after an upload to a device, say. Tensors that
  /// were read are not readable until they are warmed again; and nothing may be reading them.
  /// Returns bytes that had been present; 0 for sealed weights, of which only the mapping is
  /// dropped. @pre no job runs.
  std::uint64_t decommit();
  /// The same for the chunks (8 MiB) that lie wholly in these tensors, say a layer's: a chunk with
  /// padding between tensors stays. @throws InvalidArgument for no tensor, and nothing is given
  /// back
  std::uint64_t decommit(std::span<const std::uint32_t> tensors);

 private:
  friend class WeightsBuilder;
  explicit Weights(std::unique_ptr<internal::WeightsState> state) noexcept;
  [[nodiscard]] internal::WeightsState& opened() const;

  std::unique_ptr<internal::WeightsState> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
