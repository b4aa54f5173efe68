#include "tapedeck/layout/stat_fields.hpp"

#include <algorithm>
#include <array>

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

constexpr auto kBytes = StatUnit::bytes;
constexpr auto kTokens = StatUnit::tokens;
constexpr auto kCount = StatUnit::count;
constexpr auto kGauge = StatKind::gauge;
constexpr auto kCounter = StatKind::counter;

template <auto kMember, class Figures>
std::uint64_t member(const Figures& figures) noexcept {
  return figures.*kMember;
}

template <auto kMember, class Figures>
void set(Figures& figures, std::uint64_t value) noexcept {
  figures.*kMember = value;
}

// Clamped, since a reader may see an older reserve than use of a sum over talks.
std::uint64_t headroom(const TapeStat& tape) noexcept {
  return tape.reserved - std::min(tape.reserved, tape.used);
}

std::uint64_t unmet_wishes(const TapeStat& tape) noexcept {
  return static_cast<std::uint64_t>(std::count_if(tape.unmet.begin(), tape.unmet.end(),
                                                  [](std::int32_t error) { return error != 0; }));
}

std::uint64_t committed(const DeviceStat& device) noexcept {
  return device.weights.committed + device.scratch.committed + device.history.committed;
}

using TapeField = StatField<TapeStat>;
using LayoutField = StatField<Stat>;
using DeviceField = StatField<DeviceStat>;

constexpr std::array kTapeFields = {
    TapeField{"used", kBytes, kGauge, "Taken from the tape.", member<&TapeStat::used>,
              set<&TapeStat::used>},
    TapeField{"reserved", kBytes, kGauge, "Addresses held.", member<&TapeStat::reserved>,
              set<&TapeStat::reserved>},
    TapeField{"headroom", kBytes, kGauge, "Reserved and not used.", headroom},
    TapeField{"peak", kBytes, kGauge, "The most that was ever used.", member<&TapeStat::peak>,
              set<&TapeStat::peak>},
    TapeField{"committed", kBytes, kGauge, "Usable without another system call.",
              member<&TapeStat::committed>, set<&TapeStat::committed>},
    TapeField{"planned", kBytes, kGauge, "Below the floor: stays through every clear.",
              member<&TapeStat::planned>, set<&TapeStat::planned>},
    TapeField{"spilled", kBytes, kGauge, "In blocks outside the tape, now.",
              member<&TapeStat::spilled>, set<&TapeStat::spilled>},
    TapeField{"spilled_peak", kBytes, kGauge, "The most that was ever spilled at a time.",
              member<&TapeStat::spilled_peak>, set<&TapeStat::spilled_peak>},
    TapeField{"spills", kCount, kCounter, "Takes that were spilled.", member<&TapeStat::spills>,
              set<&TapeStat::spills>},
    TapeField{"refused", kCount, kCounter, "Takes that found no room.", member<&TapeStat::refused>,
              set<&TapeStat::refused>},
    TapeField{"grows", kCount, kCounter, "Commit steps made by a take, or for a talk.",
              member<&TapeStat::grows>, set<&TapeStat::grows>},
    TapeField{"clears", kCount, kCounter, "Clears.", member<&TapeStat::clears>,
              set<&TapeStat::clears>},
    TapeField{"page_size", kBytes, kGauge, "Of the pages obtained.", member<&TapeStat::page_size>,
              set<&TapeStat::page_size>},
    TapeField{"unmet_wishes", kCount, kGauge, "Options asked for that the host did not have.",
              unmet_wishes},
};

constexpr std::array kLayoutFields = {
    LayoutField{"talks", kCount, kGauge, "Conversations that there is room for.",
                member<&Stat::talks>, set<&Stat::talks>},
    LayoutField{"tokens", kTokens, kGauge, "In all talks.", member<&Stat::tokens>,
                set<&Stat::tokens>},
    LayoutField{"longest_talk", kTokens, kGauge, "The most that one talk has ever had at a time.",
                member<&Stat::longest_talk>, set<&Stat::longest_talk>},
    LayoutField{"largest_talk", kBytes, kGauge, "The most that one talk's history has ever used.",
                member<&Stat::largest_talk>, set<&Stat::largest_talk>},
    LayoutField{"passes", kCount, kCounter, "Forward passes that ended.", member<&Stat::passes>,
                set<&Stat::passes>},
    LayoutField{"conversations", kCount, kCounter, "Conversations that ended.",
                member<&Stat::conversations>, set<&Stat::conversations>},
    LayoutField{"gpus", kCount, kGauge, "Devices.", member<&Stat::gpus>, set<&Stat::gpus>},
};

constexpr std::array kDeviceFields = {
    DeviceField{"tokens", kTokens, kGauge, "In all talks, on this device.",
                member<&DeviceStat::tokens>, set<&DeviceStat::tokens>},
    DeviceField{"longest_talk", kTokens, kGauge,
                "The most that one talk has ever had at a time, on this device.",
                member<&DeviceStat::longest_talk>, set<&DeviceStat::longest_talk>},
    DeviceField{"largest_talk", kBytes, kGauge,
                "The most that one talk's history has ever used, on this device.",
                member<&DeviceStat::largest_talk>, set<&DeviceStat::largest_talk>},
    DeviceField{"pool_held", kBytes, kGauge, "Physical pages below growing or aligned tapes.",
                member<&DeviceStat::pool_held>, set<&DeviceStat::pool_held>},
    DeviceField{"pool_free", kBytes, kGauge, "Of the pool's pages, in use by nobody.",
                member<&DeviceStat::pool_free>, set<&DeviceStat::pool_free>},
    DeviceField{"committed", kBytes, kGauge, "Committed by this layout's tapes.", committed},
};

}  // namespace

std::span<const StatField<TapeStat>> tape_fields() noexcept { return kTapeFields; }
std::span<const StatField<Stat>> layout_fields() noexcept { return kLayoutFields; }
std::span<const StatField<DeviceStat>> device_fields() noexcept { return kDeviceFields; }

TAPEDECK_ABI_END
}  // namespace tapedeck
