// SPDX-License-Identifier: Apache-2.0
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

/// A file of the weights, and how its bytes get into memory.
struct WeightsFile {
  std::filesystem::path path{};
  std::uint64_t bytes = 0;
  Way way = Way::map;                     ///< Never `automatic`.
  std::string why{};                      ///< For people: "0 % in the page cache, ext4".
  std::optional<std::uint64_t> cached{};  ///< Bytes in the page cache when it was opened.
};

/// Where weights are now. Querying costs system calls; what the kernel does not report is empty.
struct WeightsResidency {
  std::uint64_t bytes = 0;                 ///< Size of what was queried.
  std::optional<std::uint64_t> present{};  ///< Bytes in RAM and mapped by this process.
  std::optional<std::uint64_t> huge{};     ///< Bytes of `present` in huge pages.
  std::optional<std::uint64_t> swapped{};  ///< Bytes in swap.
  /// Bytes of mapped files in the page cache. The kernel reports them only for files that this
  /// process owns or may write, not for file systems with caches of their own, and not for DAX.
  std::optional<std::uint64_t> cached{};
  /// Bytes changed and not on disk. Known only for all weights together.
  std::optional<std::uint64_t> dirty{};
  std::vector<std::uint64_t> nodes{};  ///< Bytes by NUMA node; empty if unknown.
};

/// The tensors of a model: one reserved range of addresses that holds the image of each of its
/// files, mapped or read. Opening checks everything but reads only headers; `warm` brings in the
/// bytes. Mapped tensors can be read from the start, with page faults; tensors that are read into
/// memory hold zeros until they are `readable`. Addresses never move.
///
/// Thread-safety: `warm`, `start_warm`, `lock` and `decommit` from one thread at a time; everything
/// else from any thread. Bytes may be read during a warm as soon as they are `readable`. Every
/// function throws WrongState (`empty`) if the object was moved from.
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
  /// Opens all files of a model: GGUF (all parts of a split one), safetensors (a file, an index, or
  /// a folder), or llama2.c. Each file costs a descriptor for the object's lifetime. `unmet` lists
  /// the huge pages and NUMA placement that the host cannot provide.
  /// @throws what `read_model` throws; FormatError for a tensor outside its file, before any is
  /// accessed; InvalidArgument for a model without tensors or `Way::shared`; SystemError.
  [[nodiscard]] static Weights open(const std::filesystem::path& path,
                                    const WeightsOptions& options = {});
  /// Opens a model that was already read.
  /// @throws what the other `open` throws; FormatError also if a file has changed since.
  [[nodiscard]] static Weights open(const Model& model, const WeightsOptions& options = {});

  /// Receives sealed weights that `send` sent to this Unix socket. Nothing is copied, and they
  /// remain when the sender exits.
  /// @throws SystemError; FormatError if what arrived is not sealed weights.
  [[nodiscard]] static Weights receive(int socket);
  /// Opens sealed weights by a descriptor that the host passed on by itself (inheritance,
  /// SCM_RIGHTS), and duplicates it. @throws what `receive` throws.
  [[nodiscard]] static Weights adopt(int descriptor);

  Weights(Weights&&) noexcept;
  Weights& operator=(Weights&&) noexcept;
  ~Weights() override;

  /// Sends these weights to the process at the other end of a Unix socket (connected, or one of a
  /// pair), which calls `receive`.
  /// @throws InvalidArgument if they are not in sealed memory (`WeightsBuilder`); SystemError.
  void send(int socket) const;
  /// The memfd of sealed weights, owned by this object; -1 for all others.
  [[nodiscard]] int descriptor() const;

  [[nodiscard]] const TensorDirectory& tensors() const;
  [[nodiscard]] std::size_t size() const;  ///< Number of tensors.
  /// @pre index < size()
  [[nodiscard]] TensorView operator[](std::size_t index) const;
  /// Returns nothing if the model has no tensor of this name. O(log n).
  [[nodiscard]] std::optional<TensorView> find(std::string_view name) const;
  /// @throws InvalidArgument if the model has no tensor of this name.
  [[nodiscard]] TensorView at(std::string_view name) const;

  /// The bytes of every tensor, in the order of `tensors()`: the source of a `LayerStreamer`.
  /// @throws WrongState (`not_resident`) if a tensor is not `readable`.
  [[nodiscard]] std::vector<std::span<const std::byte>> all_bytes() const;

  /// In the order of `tensors().files()`.
  [[nodiscard]] std::span<const WeightsFile> files() const;
  [[nodiscard]] std::span<const std::byte> range() const override;
  [[nodiscard]] std::optional<Tensor> tensor(std::string_view name) const override;
  /// Requests that the host could not fulfill: huge pages, locks, NUMA placement.
  [[nodiscard]] const std::vector<Unmet>& unmet() const;

  /// Whether a tensor's bytes can be read. Always true for mapped and sealed tensors; unless they
  /// are `warmed`, a read may wait for the disk. O(chunks of the tensor), no system call.
  /// @pre tensor < size()
  [[nodiscard]] bool readable(std::size_t tensor) const;
  /// Whether a warm has made the tensor resident since it was opened or last decommitted.
  /// @pre tensor < size()
  [[nodiscard]] bool warmed(std::size_t tensor) const;

  /// Brings in what is missing, and waits: `start_warm` and `WarmJob::wait` in one call.
  /// @param order  tensors (indices into the directory) whose bytes come first, in this order; the
  /// others follow in the order of their files. `layer_order` returns such an order.
  [[nodiscard]] WarmResult warm(WarmOptions options = {},
                                const std::vector<std::uint32_t>& order = {});
  /// Starts what `warm` does, without waiting. The weights must outlive the job, but may be moved.
  /// @throws WrongState (`busy`) if a job runs already; InvalidArgument if an index in `order` is
  /// not a tensor's.
  [[nodiscard]] WarmJob start_warm(WarmOptions options = {},
                                   const std::vector<std::uint32_t>& order = {});

  /// The residency of all weights.
  [[nodiscard]] WeightsResidency residency() const;
  /// The residency of one file. @throws InvalidArgument if `file` is not an index into `files()`.
  [[nodiscard]] WeightsResidency residency_of_file(std::size_t file) const;
  /// The residency of some tensors together, for example those of a layer.
  /// @throws InvalidArgument if an index is not a tensor's.
  [[nodiscard]] WeightsResidency residency_of(std::span<const std::uint32_t> tensors) const;

  /// Locks all weights in RAM (mlock), bringing in what is missing. Returns false if the host
  /// refuses; `unmet` then has the size and the limit.
  bool lock();

  /// Releases all pages and keeps the addresses, for example after an upload to a device. Returns
  /// the bytes that had been present; 0 for sealed weights, of which only the mapping is dropped.
  /// @pre no job runs, and no thread reads tensors that were read into memory: they are not
  /// readable until they are warmed again.
  std::uint64_t decommit();
  /// Does what `decommit()` does, but only for the chunks (8 MiB) that are entirely within these
  /// tensors, for example those of a layer. A chunk with padding between tensors is kept.
  /// @throws InvalidArgument if an index is not a tensor's; nothing is then released.
  std::uint64_t decommit(std::span<const std::uint32_t> tensors);

 private:
  friend class WeightsBuilder;
  explicit Weights(std::unique_ptr<internal::WeightsState> state) noexcept;
  [[nodiscard]] internal::WeightsState& opened() const;

  std::unique_ptr<internal::WeightsState> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
