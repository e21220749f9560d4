// For tests of lowering: images without a registry, and short ways to say what is expected.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "dockerfile/lower.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {

// Answers at once and remembers what it was asked.
class FakeImages : public ImageResolver {
 public:
  static constexpr std::string_view kBaseConfig = R"({
    "architecture": "amd64", "os": "linux",
    "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
               "Cmd": ["/bin/sh"]},
    "rootfs": {"type": "layers", "diff_ids": [
      "sha256:1111111111111111111111111111111111111111111111111111111111111111"]},
    "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "ADD rootfs.tar / # buildkit"}]
  })";

  // By normalised reference. Every other image is kBaseConfig for the platform that is asked for.
  std::map<std::string, oci::ImageConfig> images;
  std::string missing;  // a reference that no registry has
  Code missing_code = Code::kNotFound;

  static oci::ImageConfig Config(std::string_view json) {
    auto config = oci::ImageConfig::Parse(json);
    CHECK(config.has_value());
    return *config;
  }
  // kBaseConfig with these members of "config".
  void AddImage(const std::string& reference, std::string_view members) {
    oci::ImageConfig config = Config(kBaseConfig);
    auto json = Json::Parse(members);
    CHECK(json.has_value());
    for (const auto& [key, value] : json->as_object()) config.SetConfig(key, value);
    images[reference] = config;
  }

  Result<ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform,
                                graph::ResolveMode) override {
    asked_.Lock()->push_back(reference + " " + platform.ToString());
    if (reference == missing) return MakeError(missing_code, "{}: not found", reference);
    ResolvedImage image;
    auto it = images.find(reference);
    image.config = it == images.end() ? Config(kBaseConfig) : it->second;
    if (it == images.end()) image.config.set_platform(platform);
    image.platform = image.config.platform();
    image.manifest_digest = Digest::Of(reference + platform.ToString());
    image.pinned_reference = reference + "@" + image.manifest_digest.ToString();
    return image;
  }

  Result<ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout, const oci::Platform& platform) override {
    asked_.Lock()->push_back("layout " + layout.path + ":" + layout.reference);
    ResolvedImage image;
    image.config = Config(kBaseConfig);
    image.config.set_platform(platform);
    image.platform = platform;
    image.manifest_digest = Digest::Of(layout.path);
    image.pinned_reference = layout.path;
    return image;
  }

  std::vector<std::string> asked() {
    std::vector<std::string> out = *asked_.Lock();
    std::ranges::sort(out);
    return out;
  }

 private:
  Guarded<std::vector<std::string>> asked_;
};

class LowerTest : public testing::Test {
 protected:
  LowerTest() {
    options.target_platform = {.os = "linux", .architecture = "amd64"};
    options.build_platform = {.os = "linux", .architecture = "amd64"};
  }

  Parsed<Lowered> Try(const std::string& text) {
    auto file = ParseDockerfile(text);
    if (!file) return std::unexpected(file.error());
    file_ = std::move(*file);
    return Lower(file_, options, images, &warnings);
  }
  // Lowers what must be accepted.
  Lowered Do(const std::string& text) {
    auto lowered = Try(text);
    if (!lowered) {
      ADD_FAILURE() << lowered.error().error.ToString() << " (line " << lowered.error().span.start_line << ")";
      return {};
    }
    return std::move(*lowered);
  }
  // The message of what must be refused, with its line: "3: no such stage".
  std::string Error(const std::string& text) {
    auto lowered = Try(text);
    if (lowered) return "accepted";
    return fmt::format("{}: {}", lowered.error().span.start_line, lowered.error().error.message);
  }

  static std::vector<std::string> Names(const Lowered& lowered) {
    std::vector<std::string> out;
    for (const graph::Step& step : lowered.graph.steps) {
      std::string name = step.name;
      if (size_t at = name.find("@sha256:"); at != name.npos) name.resize(at);
      out.push_back(name);
    }
    return out;
  }
  // created_by of the history after the base image's, "-" in front of entries without a layer.
  static std::vector<std::string> History(const Lowered& lowered) {
    std::vector<std::string> out;
    for (size_t i = lowered.base_history; i < lowered.history.size(); ++i) {
      const HistoryEntry& entry = lowered.history[i];
      EXPECT_EQ(entry.history.empty_layer, !entry.step.has_value());
      out.push_back((entry.step ? "" : "-") + entry.history.created_by);
    }
    return out;
  }
  std::vector<std::string> Warnings() const {
    std::vector<std::string> out;
    for (const Warning& warning : warnings) out.push_back(warning.Short());
    return out;
  }
  // The last step's operation.
  template <class T>
  static const T& Last(const Lowered& lowered) {
    return std::get<T>(lowered.graph.steps.back().op);
  }
  static std::string ConfigText(const Lowered& lowered, std::string_view member) {
    const Json* value = lowered.config.FindConfig(member);
    return value == nullptr ? "absent" : value->DumpCanonical();
  }
  static std::optional<std::string> EnvOf(const graph::Exec& exec, std::string_view name) {
    for (const std::string& entry : exec.env) {
      if (entry.starts_with(std::string(name) + "=")) return entry.substr(name.size() + 1);
    }
    return {};
  }

  LowerOptions options;
  FakeImages images;
  std::vector<Warning> warnings;

 private:
  Dockerfile file_;
};

using Texts = std::vector<std::string>;

}  // namespace varve::dockerfile
