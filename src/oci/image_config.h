// The configuration of an image (image-spec config.md, and Docker's extensions: Shell, Healthcheck,
// OnBuild, ArgsEscaped).
//
// The document is kept as it was read, so that members which varve does not know survive; the
// accessors read and write the known ones. Absent, null and empty are different and are kept apart
// (a null Entrypoint, an empty Cmd).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

namespace varve::oci {

struct History {
  std::optional<Timestamp> created = {};
  std::string created_by = {};
  std::string author = {};
  std::string comment = {};
  bool empty_layer = false;
  bool operator==(const History&) const = default;
};

struct Healthcheck {
  std::vector<std::string> test = {};  // {"NONE"}, {"CMD", …}, {"CMD-SHELL", text}
  Nanos interval{0}, timeout{0}, start_period{0}, start_interval{0};
  int64_t retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

class ImageConfig {
 public:
  ImageConfig() = default;                                  // an empty document
  static Result<ImageConfig> Parse(std::string_view text);  // kInvalid; at most 4 MiB
  // What FROM scratch starts from (reference exporters.md §10).
  static ImageConfig Scratch(const Platform& platform);

  // Compact, members sorted, <>& escaped: as Go writes a map (reference exporters.md §4.2).
  std::string Serialise() const;
  const Json& document() const { return json_; }
  Json& document() { return json_; }

  Platform platform() const;
  void set_platform(const Platform& platform);
  std::optional<Timestamp> created() const;
  void set_created(Timestamp time);
  void set_author(const std::string& author) { json_.Set("author", author); }
  std::string author() const { return json_.GetString("author"); }

  // Members of "config". A null pointer from Find: absent.
  const Json* FindConfig(std::string_view key) const;
  void SetConfig(std::string_view key, Json value);
  void EraseConfig(std::string_view key);

  std::string user() const { return ConfigString("User"); }
  std::string working_dir() const { return ConfigString("WorkingDir"); }
  std::string stop_signal() const { return ConfigString("StopSignal"); }
  std::vector<std::string> env() const;  // "K=V", in order
  std::optional<std::string> GetEnv(std::string_view name) const;
  void SetEnv(std::string_view name, std::string_view value);  // in place, else appended
  // Absent and null give nothing; [] is a list.
  std::optional<std::vector<std::string>> entrypoint() const { return ConfigList("Entrypoint"); }
  std::optional<std::vector<std::string>> cmd() const { return ConfigList("Cmd"); }
  bool args_escaped() const;
  std::vector<std::pair<std::string, std::string>> labels() const;  // sorted
  std::vector<std::string> exposed_ports() const { return ConfigKeys("ExposedPorts"); }
  std::vector<std::string> volumes() const { return ConfigKeys("Volumes"); }
  std::optional<Healthcheck> healthcheck() const;
  std::vector<std::string> shell() const;
  std::vector<std::string> on_build() const;
  void SetLabel(const std::string& key, const std::string& value);
  std::optional<std::string> GetLabel(std::string_view key) const;
  void AddToSet(std::string_view member, const std::string& key);  // ExposedPorts, Volumes
  void SetHealthcheck(const Healthcheck& check);

  std::vector<DiffId> diff_ids() const;  // entries that are no digest are left out
  void set_diff_ids(const std::vector<DiffId>& ids);
  std::vector<History> history() const;
  void set_history(const std::vector<History>& history);
  void AddHistory(const History& entry);

 private:
  std::string ConfigString(std::string_view key) const;
  std::optional<std::vector<std::string>> ConfigList(std::string_view key) const;
  std::vector<std::string> ConfigKeys(std::string_view key) const;
  Json json_ = Json::EmptyObject();
};

// The chain of all layers; empty for none.
ChainId ChainOf(const std::vector<DiffId>& layers);

}  // namespace varve::oci
